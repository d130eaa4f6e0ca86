"""`batchfront new`"""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import click

from batchfront.cli.help import Group
from batchfront.cli.output.lines import put
from batchfront.errors import UsageError
from batchfront.printable import shell_word
from batchfront.whole_file import write_files

_PROGRAM = "least_squares.py"
"""The program that the starting sweep file runs: a name that few projects have already."""

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  batchfront new program
  batchfront new loop experiments/gan.py
""",
)
def command() -> None:
    """Write a file to start from, which runs as it is.

    A program is any command, a loop is a function that trains, and of a workload batchfront does
    the training itself.
    """


def _path(default: str) -> Callable[[F], F]:
    kind = click.Path(path_type=Path)
    return click.argument("path", type=kind, default=Path(default), metavar="[PATH]")


@command.command(
    epilog="\b\nExamples:\n  batchfront new program sweep.toml\n"
    "  batchfront new program --from wandb_sweep.yaml"
)
@_path("sweep.toml")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="Translate this sweep of Weights & Biases, for its own program.",
)
def program(path: Path, source: Path | None) -> None:
    """Write a sweep file, and a small program that it runs.

    PATH is sweep.toml unless given. The program, in Python, stands beside it.
    """
    _require(path, ".toml")
    if source is not None:
        from batchfront.exchange.wandb_sweep import sweep_file_from

        _write({path: sweep_file_from(source)}, first="write what its lines with #! leave open")
        return
    _write({path: _text("sweep.toml"), path.with_name(_PROGRAM): _text(_PROGRAM)})


@command.command(epilog="\b\nExample:\n  batchfront new loop loop.py")
@_path("loop.py")
def loop(path: Path) -> None:
    """Write a loop: a function that trains, and yields.

    PATH is loop.py unless given. Where the function yields, it is evaluated, and may be paused.
    """
    _require(path, ".py")
    _write({path: _text("loop.py")})


@command.command(epilog="\b\nExample:\n  batchfront new workload workload.py")
@_path("workload.py")
def workload(path: Path) -> None:
    """Write a workload, which batchfront trains.

    PATH is workload.py unless given. It has data, a model, a loss, an algorithm and a goal.
    """
    _require(path, ".py")
    _write({path: _text("workload.py")})


def _text(name: str) -> str:
    return files("batchfront.cli").joinpath("starting_files", name).read_text(encoding="utf-8")


def _require(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise UsageError(f"{path}: must end in {suffix}, by which it is known what it is")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def _write(texts: Mapping[Path, str], first: str = "") -> None:
    """Write new files, all or none, and say what to do next with the first of them.

    first -- what to do before that

    Raises UsageError if one of them is there, and BatchfrontError if one can't be written.
    """
    for path in texts:
        if path.exists():
            raise UsageError(f"{path}: is there already, and stays; name another file")
    write_files({path: text.encode() for path, text in texts.items()}, "new file")
    path, *others = texts
    beside = "".join(f" and {other}, which it runs" for other in others)
    spec = shell_word(str(path) if len(path.parts) > 1 else f"./{path}")
    steps = "; then ".join(filter(None, [first, f"batchfront run {spec}"]))
    put(f"Wrote {path}{beside}. Next: {steps}")
