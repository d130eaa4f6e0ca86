"""`batchfront new` writes what runs as it is, and overwrites nothing."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result

Run = Callable[..., Result]

FEW = ("--trials", "4", "--workers", "1")


@pytest.mark.parametrize(
    ("kind", "path", "sizes", "workload"),
    [
        ("program", "sweep.toml", "4,16", "line/least_squares/momentum"),
        ("loop", "loop.py", "64,256", "shell/mlp/momentum"),
        ("workload", "workload.py", "64,256", "shell/mlp/momentum"),
    ],
)
def test_what_is_written_runs_to_a_frontier_by_the_command_that_is_printed(
    batchfront: Run, folder: Path, kind: str, path: str, sizes: str, workload: str
) -> None:
    written = batchfront("new", kind)
    assert written.code == 0, written.err
    assert written.out.startswith(f"Wrote {path}")
    command = shlex.split(written.out.partition("Next: ")[2])
    assert f"    {shlex.join(command)}" in (folder / path).read_text()
    result = batchfront(*command[1:], "--batch-sizes", sizes, *FEW)
    assert result.code == 0, result.err
    assert f"{workload}: steps to target" in result.out
    assert len(re.findall(r"[12345] reached", result.out)) == 2


@pytest.mark.parametrize("kind", ["program", "loop", "workload"])
def test_nothing_that_is_there_is_overwritten(batchfront: Run, folder: Path, kind: str) -> None:
    path = "mine.toml" if kind == "program" else "mine.py"
    (folder / path).write_text("mine")
    refused = batchfront("new", kind, path)
    assert refused.code == 2
    assert refused.err == f"batchfront: {path}: is there already, and stays; name another file\n"
    assert (folder / path).read_text() == "mine"
    assert [one.name for one in folder.iterdir()] == [path]


def test_a_program_that_is_there_is_not_overwritten_either(batchfront: Run, folder: Path) -> None:
    (folder / "least_squares.py").write_text("mine")
    refused = batchfront("new", "program")
    assert refused.code == 2
    assert "least_squares.py: is there already, and stays" in refused.err
    assert not (folder / "sweep.toml").exists()


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("program", "sweep.yaml", "must end in .toml"),
        ("loop", "loop", "must end in .py"),
        ("workload", "nowhere/workload.py", "the folder nowhere does not exist"),
    ],
)
def test_a_path_that_can_be_no_such_file_is_refused(
    batchfront: Run, folder: Path, kind: str, path: str, wrong: str
) -> None:
    refused = batchfront("new", kind, path)
    assert refused.code == 2
    assert refused.err.startswith(f"batchfront: {path}: {wrong}")
    assert list(folder.iterdir()) == []


def test_a_path_with_a_space_is_quoted_in_the_command(batchfront: Run, folder: Path) -> None:
    written = batchfront("new", "workload", "my workload.py")
    assert "Next: batchfront run './my workload.py'" in written.out
    assert (folder / "my workload.py").exists()
