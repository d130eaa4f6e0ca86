"""The guide to training code that calls back runs as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchfront.frontier.frontier import load_frontier
from tests.docs.pages import blocks

PAGE = "docs/guides/frameworks.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that has the page's files."""
    for block in blocks(PAGE, "python") + blocks(PAGE, "toml"):
        if named := re.match(r"# (\w+\.\w+)\n", block):
            (tmp_path / named[1]).write_text(block)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "workload"),
    [
        ("./sweep.toml", "toy/line/sgd"),
        ("line.py:line", "toy/line/sgd"),
        ("objective.py:line", "toy/line/optuna"),
    ],
)
def test_its_files_run_to_a_frontier(folder: Path, spec: str, workload: str) -> None:
    url = f"sqlite:///{folder}/x.db"
    options = ["--storage", url, "--trials", "2", "--batch-sizes", "4"]
    command = [sys.executable, "-m", "batchfront.cli.main", "run", spec, *options]
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for its `python`
    ran = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": here}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (point,) = load_frontier(url, workload).points
    assert point.best is not None
    assert sum(point.outcomes.values()) == 2


def test_its_script_may_be_started_by_hand(folder: Path) -> None:
    command = [sys.executable, "train.py"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr, len(lines)) == (0, "", 10)
    assert re.fullmatch(r"step 5: \d\.\d+", lines[0])


def test_its_other_code_is_python() -> None:
    for block in blocks(PAGE, "python"):
        compile(block, PAGE, "exec")
