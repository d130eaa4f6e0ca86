"""docs/reference.md, made of the commands and options themselves: python -m tests.docs.reference"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from batchfront.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"

_INTRODUCTION = """\
# Reference

Every command with its options, as the program itself describes them; `batchfront COMMAND --help`
prints the same. This page is generated: `python -m tests.docs.reference` writes it.

An option can be set in the environment too: `--batch-sizes` as `BATCHFRONT_BATCH_SIZES`, and so on;
where that is not so, the option says it. A DURATION is written `90s`, `30m`, `12h` or `1d`, and
SIZES `2,8,32`, or `2..1024` for the powers of two between, or both. `BATCHFRONT_PASSWORD_FILE`
names a file that holds the database's password. `--debug`, with any command, or
`BATCHFRONT_DEBUG=1` shows the traceback of an error.

A shell completes commands, options and their values, the workloads of the catalog and of the
database, and sweep files, once it has the script for it:

```sh
_BATCHFRONT_COMPLETE=bash_source batchfront > ~/.local/share/bash-completion/completions/batchfront
_BATCHFRONT_COMPLETE=zsh_source batchfront > ~/.zsh/completions/_batchfront  # a folder of $fpath
_BATCHFRONT_COMPLETE=fish_source batchfront > ~/.config/fish/completions/batchfront.fish
```

Results go to standard output, progress and messages to standard error; with `--log-format json` as
[an object a line](guides/workers.md#logs). Exit codes: 0 done, 1 failed, 2 wrong usage, 130
interrupted, 141 where whoever read standard output has gone. What can't be seen in a name or an
error is printed as Python writes it, such as `\\x1b` or `\\u202e`; `--format json`, and the files
of `export`, have it exactly.
"""


def commands(
    command: click.Command = cli, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """Every command below this one, each after the group that it belongs to, in `--help`'s order.

    Returns contexts: `context.command_path` is what a user types, `context.command` the command.
    """
    context = click.Context(
        command, info_name=command.name if parent else "batchfront", parent=parent
    )
    if parent is not None:
        yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            found.name = name
            yield from commands(found, context)


def options(context: click.Context) -> list[click.Option]:
    """What a command can be told, without what it hides and without --help."""
    parameters = context.command.params
    return [one for one in parameters if isinstance(one, click.Option) and not one.hidden]


def reference() -> str:
    """The whole page, as Markdown."""
    found = list(commands())
    contents = [f"- [`{one.command_path}`](#{one.command_path.replace(' ', '-')})" for one in found]
    return "\n".join([_INTRODUCTION, *contents, *map(_section, found)])


def _section(context: click.Context) -> str:
    usage = " ".join(context.command.collect_usage_pieces(context))
    pieces = [
        f"\n## {context.command_path}",
        f"```\n{context.command_path} {usage}\n```",
        inspect.cleandoc(context.command.help or ""),
    ]
    if options(context):
        rows = [_row(one, context) for one in options(context)]
        pieces.append("\n".join(["| option | meaning | default |", "|---|---|---|", *rows]))
    examples = re.findall(r"(?m)^  (.+)$", context.command.epilog or "")
    if examples:
        pieces.append("\n".join(["```sh", *examples, "```"]))
    return "\n\n".join(pieces) + "\n"


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = re.sub(r" RANGE$|^\[|\]$", "", option.make_metavar(context))
    if not option.is_flag:
        names = f"`{option.opts[0]} {value}`" + "".join(f", `{one}`" for one in option.opts[1:])
    text, default = _split(option, context)
    cells = [names, " ".join([text, *_environment(option)]), default]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells).rstrip() + " |"


def _split(option: click.Option, context: click.Context) -> tuple[str, str]:
    """What an option means, and its default: click's own, or what its help ends with."""
    extra = option.get_help_extra(context)
    text, _, written = " ".join((option.help or "").split()).partition("[default: ")
    default = extra.get("default", written.removesuffix("]"))
    if "default" in extra or default in getattr(option.type, "choices", ()) or default.isdigit():
        default = f"`{default}`"
    if "required" in extra:
        default = "required"
    within = f" ({extra['range']})" if "range" in extra else ""
    return text.strip() + within, default


def _environment(option: click.Option) -> list[str]:
    """Said only where the environment variable is not the one that the option's name makes."""
    usual = "BATCHFRONT_" + option.opts[0].lstrip("-").replace("-", "_").upper()
    if option.envvar is None:
        return ["Not from the environment."]
    return [] if option.envvar == usual else [f"In the environment `{option.envvar}`."]


if __name__ == "__main__":
    PAGE.write_text(reference())
