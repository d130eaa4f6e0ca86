"""Nothing on a program's way imports torch: each command here runs where it can't be imported, and
so do the workers that it starts."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import NAME, write_sweep
from tests.without import hiding

Run = Callable[..., subprocess.CompletedProcess[str]]

CODE = ("--code", ".")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the command in a folder of its own, without torch."""
    without = tmp_path_factory.mktemp("without")
    (without / "sitecustomize.py").write_text(hiding(["torch"]))
    folder = tmp_path_factory.mktemp("light")
    own = {key: value for key, value in os.environ.items() if not key.startswith("BATCHFRONT_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "batchfront.cli.main", *arguments],
            cwd=folder,
            env={**own, "PYTHONPATH": str(without)},
            capture_output=True,
            text=True,
        )

    write_sweep(folder)
    timed = f"workload,device,devices,batch_size,seconds_per_step\n{NAME},cpu,1,8,0.5\n"
    (folder / "timings.csv").write_text(timed)
    return run


@pytest.fixture(scope="module")
def ran(light: Run) -> Run:
    """The same, where a sweep file has been run."""
    done = light("run", "./sweep.toml", "--trials", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert f"{NAME}: steps to target, val_loss < 0.2" in done.stdout
    timed = light("import", "timings", "timings.csv")
    assert timed.returncode == 0, timed.stderr
    return light


def test_torch_is_not_there(light: Run) -> None:
    done = light("plan", "digits/mlp/momentum")
    assert done.returncode == 1
    assert done.stderr.startswith("batchfront: this needs torch, which is not installed")


def test_more_trials_are_planned_and_worked_on(ran: Run) -> None:
    planned = ran("plan", "./sweep.toml", "--trials", "6")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith(f"{NAME}/b8: 6 trials, 2 new\n")
    worked = ran("work", "./sweep.toml", "--quiet")
    assert worked.returncode == 0, worked.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("logs", NAME, "--batch-size", "8", "--trial", "1", "--follow"),
        ("frontier", NAME),
        ("curve",),
        ("recipe", NAME, "--batch-size", "8", "--devices", "2"),
        ("analyze", "rules", NAME),
        ("confirm", NAME, "--seeds", "1", "--candidates", "1", "--workers", "1", *CODE),
        ("confirm", NAME, "--rule", "linear", "--seeds", "1", "--workers", "1", *CODE),
        ("time", "./sweep.toml"),
        ("launch", "local", "--workers", "1", *CODE),
        ("launch", "debug", *CODE),
        ("plan", "./sweep.toml", "--extend"),
        ("run", "./sweep.toml", "--variant", "other", "--trials", "1", "--workers", "1"),
        ("advise", NAME, "--price", "2.5"),
        ("report", "--output", "page.html"),
        ("export", "--output", "exported"),
        ("track", "--to", "tensorboard:runs"),
        ("track", "--to", "mlflow:mlruns"),
        ("delete", f"{NAME}@other", "--yes"),
    ],
    ids=" ".join,
)
def test_a_command_on_programs_needs_no_torch(ran: Run, command: tuple[str, ...]) -> None:
    done = ran(*command)
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stderr


def test_trials_are_asked_for_and_told(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(hiding(["torch"]))
    code = """
import batchfront
from batchfront import Goal, Log, Loop

goal = Goal("error", 0.5, better="lower")
space = {"learning_rate": Log(0.1, 1.0)}
mine = Loop(name="a/b/c", goal=goal, search_space=space, step_budget=99, batch_sizes=(8,))
opened = batchfront.open("sqlite:///asked.db")
for trial in opened.trials(opened.plan(mine, trials=2)):
    with trial:
        trial.report(1, 0.1)
    print(trial.outcome)
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("reached\nreached\n", "")
