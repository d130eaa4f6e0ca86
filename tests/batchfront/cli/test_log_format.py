"""With --log-format json, standard error is an object a line, whatever prints there."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.batchfront.cli.test_streams import shell
from tests.programs import write_sweep

pytestmark = pytest.mark.slow

NOISY = """
import os, subprocess, sys
from batchfront import Goal, Loop, Log

def train(trial):
    os.write(2, b"libfoo: donn\\xe9es\\n")
    print("said by the loop", file=sys.stderr)
    if "--leash" in sys.argv and not os.path.exists("helper"):
        with open("helper", "w") as file:
            file.write(str(subprocess.Popen(["sleep", "1000"]).pid))
    for step, _ in trial.batches(100):
        if trial["learning_rate"] > 0.4:
            raise ValueError("out of luck")
        if trial.evaluates(step):
            yield trial.measured(step, trial["learning_rate"] / step)

loop = Loop(
    name="a/loop/sgd",
    train=train,
    goal=Goal("error", 0.02, better="lower"),
    search_space={"learning_rate": Log(0.1, 1.0)},
    step_budget=60,
    batch_sizes=(4,),
)
"""


def said(errors: bytes) -> list[dict[str, Any]]:
    """Each line of standard error, which must be an object."""
    return [json.loads(line) for line in errors.decode().splitlines()]


@pytest.fixture
def noisy(folder: Path) -> Path:
    (folder / "noisy.py").write_text(NOISY)
    return folder


def test_a_run_says_everything_in_objects_also_what_its_workers_print(noisy: Path) -> None:
    ended = shell("$BF run ./noisy.py:loop --trials 4 --workers 1 --log-format json")
    os.kill(int((noisy / "helper").read_text()), signal.SIGKILL)
    lines = said(ended.stderr)
    assert ended.returncode == 0
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    workers = [line for line in lines if "worker" in line]
    printed = {line["message"] for line in workers}
    assert {"libfoo: donn\ufffdes", "said by the loop"} <= printed
    failed = next(line for line in workers if line["level"] == "warning")
    assert (failed["study"], type(failed["trial"])) == ("a/loop/sgd/b4", int)
    assert "out of luck" in failed["message"]
    assert lines[-1]["message"] == "Report: report.html"


def test_a_worker_of_a_program_says_who_it_is_and_why_it_ends(folder: Path) -> None:
    write_sweep(folder)
    assert shell("$BF plan sweep.toml --trials 2 --batch-sizes 8").returncode == 0
    ended = shell("BATCHFRONT_LOG_FORMAT=json $BF work --code nowhere --worker-id me")
    (*_, last) = said(ended.stderr)
    assert ended.returncode != 0
    assert (last["level"], last["worker"]) == ("error", "me")
