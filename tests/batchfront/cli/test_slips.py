"""Slips are answered before torch is imported, and leave no database behind."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.store.url import init_storage
from tests.batchfront.cli.conftest import WORKLOAD, Result
from tests.batchfront.cli.test_bad_input import refused
from tests.schemas import hold
from tests.without import hiding

Run = Callable[..., Result]

NAME = "digits/mlp/momentum"


@pytest.fixture
def without_torch(folder: Path) -> Run:
    """Runs the command where torch can't be imported."""
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(hiding(["torch"]))
    (folder / "mine.py").write_text(WORKLOAD)

    def run(*arguments: str) -> Result:
        command = [sys.executable, "-P", "-m", "batchfront.cli.main", *arguments]
        env = {**os.environ, "PYTHONPATH": str(folder / "hidden")}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("run", "digits/mlp/momentun"), f"the nearest are {NAME}"),
        (("run", NAME, "--goal", "97"), "goal 97: error rate lies between 0 and 1; 97 % is 0.97"),
        (("run", NAME, "--goal", "3%"), "'3%' is not a number; write 0.03"),
        (("run", NAME, "--batch-sizes", "2048"), "than the training set of 1,297 examples"),
        (("run", NAME, "--continuing", "2"), "--continuing 2: needs --after-goal continue"),
        (("run", NAME, "--trials", "auto", "--batch-sizes", "2,4"), "needs at least 4 batch sizes"),
        (("run", NAME, "--device", "cuda:99"), "--device cuda:99: this machine has "),
        (("run", NAME, "--code", "no"), "--code no: there is no such file or folder"),
        (("time", NAME, "--code", "no"), "--code no: there is no such file or folder"),
        (("probe", NAME, "--code", "no"), "--code no: there is no such file or folder"),
        (("run", NAME, "--workers", "0"), "--workers 0: must be at least 1"),
        (("run", "mine.py:other"), "no function 'other'; its workloads: my_workload"),
        (
            ("run", "mine.py:my_workload", "--goal", "97"),
            "error rate lies between 0 and 1; 97 % is",
        ),
        (("run", "mine:other"), "mine.py has no function 'other'; its workloads: my_workload"),
        (("plan", NAME, "--goal", "0"), "no error rate can be strictly better"),
        (("plan", "mine.py:other"), "no function 'other'; its workloads: my_workload"),
        (("time", "digits/mlp/momentun"), f"the nearest are {NAME}"),
        (("time", NAME, "--batch-sizes", "2048"), "than the training set of 1,297 examples"),
        (("time", "mine.py:other"), "no function 'other'; its workloads: my_workload"),
        (("probe", "digits/mlp/momentun"), f"the nearest are {NAME}"),
        (("probe", NAME, "--batch-size", "2048"), "than the training set of 1,297 examples"),
        (("probe", NAME, "--device", "cuda:99"), "--device cuda:99: this machine has "),
        (
            ("workloads", "show", "digits/mlp"),
            "catalog; there are digits/mlp/adamw, digits/mlp/mom",
        ),
        (("workloads", "show", "digits/mlp/momentun"), f"the nearest are {NAME}"),
    ],
    ids=lambda said: " ".join(said) if isinstance(said, tuple) else "",
)
def test_a_slip_is_answered_without_torch_and_leaves_nothing_behind(
    without_torch: Run, folder: Path, command: tuple[str, ...], says: str
) -> None:
    if command[0] in ("time", "probe"):  # which take a second of scipy, when they have numbers
        (folder / "hidden" / "sitecustomize.py").write_text(hiding(["torch", "scipy"]))
    before = sorted(folder.iterdir())
    refused(without_torch(*command), says)
    assert sorted(folder.iterdir()) == before


def test_workloads_are_shown_without_torch(without_torch: Run) -> None:
    shown = without_torch("workloads", "show", NAME, "--format", "json")
    told = json.loads(shown.out)
    hold("workloads-show", told)
    assert told["goal"]["value"] == 0.03
    assert NAME in without_torch("workloads").out


def test_what_can_only_be_seen_by_computing_leaves_no_database_either(
    batchfront: Run, workload_file: Callable[..., str], folder: Path
) -> None:
    refused(batchfront("plan", workload_file(), "--goal", "97"), "lies between 0 and 1")
    assert not (folder / "batchfront.db").exists()


EMPTY = (
    "database sqlite:///empty.db holds no studies: `batchfront run digits/mlp/momentum --storage"
)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("curve",), 1),
        (("curve", "--goal", "0.1"), 1),
        (("analyze", "compare"), 1),
        (("report",), 1),
        (("export", "--output", "exported"), 1),
        (("work",), 0),
        (("status",), 0),
    ],
    ids=lambda said: " ".join(said) if isinstance(said, tuple) else "",
)
def test_a_database_without_studies_is_told_with_what_makes_some(
    batchfront: Run, command: tuple[str, ...], code: int
) -> None:
    init_storage("sqlite:///empty.db")
    done = batchfront(*command, "--storage", "sqlite:///empty.db")
    assert done.code == code
    assert EMPTY in done.err


PRINTING = """
import os

from batchfront import Goal, Log, Loop

print("imported")
os.system("echo started")


def train(trial):
    print("trained")
    for step in range(1, 10):
        yield trial.measured(step, 1 / step + (trial.batch_size + trial["learning_rate"]) / 100)


mine = Loop(
    name="a/b/c", train=train, goal=Goal("error", 0.5, better="lower"), step_budget=9,
    search_space={"learning_rate": Log(0.1, 1.0)}, batch_sizes=(8,),
)
"""


def test_what_a_workloads_code_prints_goes_to_standard_error(
    without_torch: Run, folder: Path
) -> None:
    (folder / "printing.py").write_text(PRINTING)
    shown = without_torch("workloads", "show", "printing.py:mine", "--format", "json")
    assert json.loads(shown.out)["name"] == "a/b/c"
    assert sorted(shown.err.split()) == ["imported", "started"]
    planned = without_torch("plan", "printing.py:mine", "--trials", "1")
    assert planned.out == "a/b/c/b8: 1 trials, 1 new\n"
    assert "trained" in planned.err


def test_metaparameters_named_as_other_columns_have_columns_of_their_own(
    batchfront: Run, folder: Path
) -> None:
    (folder / "points.csv").write_text(
        "workload,batch_size,steps,param:steps,param:trial,param:reached,param:x\n"
        "a/b,8,100,1,2,3,4\na/b,16,60,5,6,7,8\n"
    )
    batchfront("import", "points", "points.csv")
    rows = csv.reader(batchfront("frontier", "a/b", "--format", "csv").out.splitlines())
    titles, first, _ = rows
    assert len(set(titles)) == len(titles)
    told = dict(zip(titles, first, strict=True))
    named = ("steps", "param:steps", "param:trial", "param:reached", "x")
    assert [told[name] for name in named] == ["100", "1", "2", "3", "4"]
