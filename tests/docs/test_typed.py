"""What the pages type: each command is run by a test, and each that a sentence names is understood.

Of a block of commands either another test runs all, or the lines run here, or it is said why not.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest

from batchfront.cli.main import cli
from tests.batchfront.cli.conftest import Result, batchfront, folder  # noqa: F401
from tests.docs.pages import PAGES, ROOT, blocks, prose

RUN_BY = {
    "CONTRIBUTING.md": "tests/docs/test_commands.py",
    "README.md": "tests/batchfront/cli/test_documentation.py",
    "docs/benchmarks.md": "tests/benchmarks/test_benchmarks_run.py",
    "docs/examples/README.md": "tests/docs/test_examples.py",
    "docs/guides/hours.md": "tests/docs/test_hours.py",
    "docs/guides/model.md": "tests/docs/test_model.py",
    "docs/reference.md": "tests/docs/test_typed.py",
    "docs/tutorial.md": "tests/docs/test_tutorial.py",
}
"""Which test runs what a page types: all that can be had here."""

ONLY_READ = {
    r"docker |for role|chmod|mkdir|for image|digest|echo|export COMPOSE|psql": "test_compose_up.py",
    r"#|srun": "needs many nodes of Slurm: test_ask_and_tell.py runs its Python",
    r"kubectl|batchfront launch kubernetes": "needs a cluster: test_kubernetes.py has its manifest",
    r"\(umask": "openssl and the shell",
    r".*-m venv|uv |\.venv/bin/pip": "downloads gigabytes: test_install.py installs the same wheel",
    r"export BATCHFRONT_STORAGE": "a PostgreSQL of the reader's own",
    r"batchfront (report --serve|status --watch)": "until it is stopped: test_report.py serves",
    r"batchfront .*--token-file": "until it is stopped: tests/batchfront/report/web",
    r"batchfront (doctor|work) --checkpoint-dir /shared": "a folder that many machines share",
    r"batchfront run .* --batch-sizes 64..512": "docs/guides/search.md types it of all",
    r"batchfront run (books|mnist)/": "an hour each: docs/runs/README.md says when it was",
}
"""How lines begin that no test of a page runs, and why."""

SETTINGS = {
    "BATCHFRONT_TRIALS": "4",
    "BATCHFRONT_BATCH_SIZES": "64,128,256,512",
    "BATCHFRONT_GOAL": "0.2",
    "BATCHFRONT_WORKERS": "1",
}
"""What searches are told beside the pages' words, so that they are short."""

ITS_OWN = ("BATCHFRONT_BATCH_SIZES", "BATCHFRONT_GOAL")
"""Of these, what a sweep file says."""

STANDS_FOR = {
    "WORKLOAD": "digits/mlp/momentum",
    "STUDY": "digits/mlp/momentum/b64",
    "DIR": "folder",
    "FILE": "file.csv",
    "VALUE": "0.3",
    "B": "64",
    "COMMAND": "run",
    "N": "0",
}
"""What a reader puts in the place of a word in capitals."""

FILES = ("file.csv", "wandb_sweep.yaml")

READERS = ("analyze", "curve", "doctor", "export", "frontier", "recipe", "report", "status")
"""Commands that read, and can be run as a sentence says them once there was a search."""


def lines(page: str) -> list[str]:
    """The lines that a page has typed, whole where they go on in the next."""
    found = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    bare = re.findall(r"(?m)^```\n(batchfront .*)\n```", PAGES[page])
    return [re.sub(r"\s+# .*", "", line).strip() for line in [*found, *bare] if line.strip()]


HERE = {
    page: [line for line in lines(page) if not any(re.match(one, line) for one in ONLY_READ)]
    for page in PAGES
    if page not in RUN_BY
}

SAID = {
    " ".join(code.split())
    for page in PAGES
    if page != "CHANGELOG.md"
    for code in re.findall(r"`(batchfront [^`]+)`", prose(page))
}
"""Commands within sentences."""

EXAMPLES = {
    line.partition(" | ")[0]
    for block in blocks("docs/reference.md", "sh")
    for line in block.splitlines()
    if line.startswith("batchfront ")
}
"""Those that `--help` has."""

STARTED = ROOT / "service" / "batchfront" / "cli" / "starting_files"
"""What `batchfront new` writes."""


def test_the_test_that_runs_a_pages_commands_is_there_and_of_that_page() -> None:
    for page, test in RUN_BY.items():
        assert blocks(page, "sh"), page
        assert (ROOT / test).exists(), test


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in HERE if HERE[page]])
def test_what_a_page_types_works_as_printed(
    page: str,
    batchfront: Callable[..., Result],  # noqa: F811
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (workload,) = [one for one in blocks("README.md", "python") if "# my_workload.py" in one]
    (folder / "my_workload.py").write_text(workload)
    for line in HERE[page]:
        program, *told = shlex.split(line)
        assert program == "batchfront", f"{line}: no test runs it, and nothing says why"
        with monkeypatch.context() as patched:
            for name, value in SETTINGS.items():
                if "sweep.toml" not in line or name not in ITS_OWN:
                    patched.setenv(name, value)
            if "--trials auto" in line:  # minutes; what ran by then is shown
                patched.setenv("BATCHFRONT_MAX_TIME", "5s")
            done = batchfront(*told)
        assert done.code == 0, (line, done.err)
    if page == "docs/guides/search.md":  # and so there is what sentences speak of
        for told in READING:
            done = batchfront(*told)
            assert done.code == 0, (told, done.err)


def understood(told: list[str]) -> click.Context:
    """A command as it was told, without running it. Raises click's error where it can't be."""
    context = click.Context(cli, info_name="batchfront")
    while isinstance(context.command, click.Group):
        if told[0].startswith("-"):  # a group's own option
            return context.command.make_context(context.info_name, told, parent=context.parent)
        name, command, told = context.command.resolve_command(context, told)
        assert command is not None
        if not told:  # it is named, not typed
            return click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
        else:
            return command.make_context(name, told, parent=context)
    return context


def as_typed(code: str) -> list[str]:
    """The words of a command after `batchfront`, with something for those in capitals."""
    words = shlex.split(re.sub(r"\[.*?\]|\.\.\.$", "", code))[1:]
    return [STANDS_FOR.get(word, word) for word in words]


@pytest.mark.parametrize("code", sorted(SAID | EXAMPLES))
def test_a_command_in_a_sentence_is_one_that_there_is(code: str, folder: Path) -> None:  # noqa: F811
    shutil.copytree(STARTED, folder, dirs_exist_ok=True)
    for name in FILES:
        (folder / name).touch()
    (folder / "folder").mkdir()
    with suppress(click.exceptions.Exit, click.MissingParameter, click.BadOptionUsage):  # in part
        understood(as_typed(code))


def _reads(told: list[str]) -> bool:
    """Whether a command reads, and is told all that it has to be."""
    if told[0] not in READERS or {"--serve", "--first", "effect"} & {*told}:
        return False  # `effect` is of a space with choices
    try:
        return understood(told).command.make_context("", told[_depth(told) :]) is not None
    except click.UsageError:
        return False


def _depth(told: list[str]) -> int:
    """How many of its first words name a command."""
    return 2 if told[0] == "analyze" else 1


READING = [told for code in sorted(SAID) for told in [as_typed(code)] if _reads(told)]
"""What sentences say that reads."""


def test_sentences_have_commands_that_read() -> None:
    assert {told[0] for told in READING} == {*READERS}
