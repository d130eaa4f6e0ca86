"""What is wrong with a sweep file, a program or a loop is said in one line, and what is stored
stays."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from batchfront.store.schema import slots
from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.programs import NAME, write_sweep

Run = Callable[..., Result]

DATABASE = "sqlite:///batchfront.db"


def states() -> list[tuple[str, str | None, int]]:
    """State, outcome and attempts of each slot that is stored here."""
    storage = open_storage(DATABASE)
    query = select(slots.c.state, slots.c.outcome, slots.c.attempts).order_by(slots.c.id)
    with storage.read() as conn:
        found = [(state, outcome, attempts) for state, outcome, attempts in conn.execute(query)]
    storage.close()
    return found


# A sweep file


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (sys.executable, "no-such-program", "[workload] command: no-such-program isn't found"),
        ("train.py --lr", "trane.py --lr", "[workload] command: there is no file trane.py in"),
        (
            "(?P<step>\\d+)",
            "\\d+",
            '[workload] output: "step \\d+: .*val_loss (?P<value>\\S+)" has',
        ),
        ("(?P<value>\\S+)", "\\S+", "has no group for the goal metric; write (?P<value>...)"),
        ("(?P<value>\\S+)", "(?P<value>\\S+", "is no regular expression: missing )"),
        (
            "--seed {seed}",
            "--seed {sed}",
            "[workload] command: nothing fills {sed}",
        ),
        ("{learning_rate}", "0.1", "[search_space] learning_rate: no placeholder uses it"),
        (
            "step_budget = 90",
            "step_bugdet = 90",
            "step_budget: is missing (step_bugdet isn't known)",
        ),
        ("output = ", "outptu = ", "[workload] output: is missing (outptu isn't known)"),
        (
            "at_once",
            "at_onec",
            "[resources] at_onec: is no key that is known; did you mean at_once?",
        ),
        (
            "[resources]",
            "[resorces]",
            "[resorces]: is no table that is known; did you mean resources?",
        ),
        ("{log =", "{logg =", "learning_rate: logg is no dimension; did you mean log?"),
        (
            "[1e-3, 2.0]",
            "[2.0, 1e-3]",
            "learning_rate: the ends are swapped; write log = [0.001, 2.0]",
        ),
        ("[workload]", "[workload", "sweep.toml: isn't TOML"),
        ("goal = 0.2", 'goal = "0.2"', '[workload] goal: "0.2" is no number; without quotes'),
        ("[8, 32]", "[0, 32]", "[workload] batch_sizes: 0 is too small; the least is 1"),
        ('code = ["train.py"]', 'code = ["model.py"]', "code: there is no file model.py in"),
    ],
)
def test_a_sweep_file_that_says_what_can_not_be_is_refused(
    batchfront: Run, folder: Path, old: str, new: str, says: str
) -> None:
    write_sweep(folder, (old, new))
    refused(batchfront("plan", "./sweep.toml"), "sweep.toml", says)
    assert not (folder / "batchfront.db").exists() or states() == []


def test_a_sweep_file_that_is_not_there_is_refused(batchfront: Run) -> None:
    refused(batchfront("plan", "./sweep.toml"), "sweep.toml")


def test_a_changed_sweep_file_leaves_what_was_planned(batchfront: Run, folder: Path) -> None:
    write_sweep(folder)
    assert batchfront("plan", "./sweep.toml", "--trials", "2").code == 0
    write_sweep(folder, ("goal = 0.2", "goal = 0.1"))
    refused(batchfront("plan", "./sweep.toml"), f"study {NAME}/b8 exists under another definition")
    refused(batchfront("work", "--quiet"), f"study {NAME}/b8 exists under another definition")
    assert states() == [("free", None, 0)] * 4


# What a program tells


def work(batchfront: Run, folder: Path, every: str, *changes: tuple[str, str]) -> Result:
    """Plan two trials at one batch size, and run them."""
    write_sweep(folder, *changes, every=every)
    planned = batchfront("plan", "./sweep.toml", "--trials", "2", "--batch-sizes", "8")
    assert planned.code == 0, planned.err
    return batchfront("work", "--quiet")


@pytest.mark.parametrize(
    ("every", "changes", "says"),
    [
        (
            "",
            [("val_loss (?P", "valid_loss (?P")],
            "the program ended without a line that matches 'step (?P<step>\\d+): .*valid_loss "
            "(?P<value>\\S+)'; its last lines: step 70: train_loss",
        ),
        (
            "import time; time.sleep(100)",
            [("at_once = 3", "at_once = 3\ntimeout_without_output = 0.3")],
            "the program has printed nothing for 0.3 s, and before not a line that matches 'step",
        ),
        (
            "print(f'step {step}: val_loss low')",
            [],
            "'low' is no number, in what the program tells: 'step 1: val_loss low'",
        ),
    ],
)
def test_a_program_that_tells_nothing_of_use_is_left_with_its_trials_free(
    batchfront: Run, folder: Path, every: str, changes: list[tuple[str, str]], says: str
) -> None:
    refused(work(batchfront, folder, every, *changes), f"batchfront: {NAME}: {says}")
    assert states() == [("free", None, 0)] * 2


@pytest.mark.parametrize(
    ("every", "says"),
    [
        (
            "print(f'step {50 - step}: val_loss 1')",
            "step 48 comes after step 49, in what the program tells: 'step 48: val_loss 1'",
        ),
        (
            "sys.exit('no such data set: imagenet')",
            "the program ended with exit code 1; its last line: no such data set: imagenet",
        ),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "the program ended with signal 11",
        ),
    ],
)
def test_a_trial_that_goes_wrong_fails_in_a_line_for_each_attempt(
    batchfront: Run, folder: Path, every: str, says: str
) -> None:
    write_sweep(folder, every=every)
    planned = batchfront("plan", "./sweep.toml", "--trials", "2", "--batch-sizes", "8")
    assert planned.code == 0, planned.err
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "work", "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert sorted(ran.stderr.splitlines()) == [
        f"batchfront: {NAME}/b8 trial {trial} failed (attempt {attempt} of 3): {says}"
        for trial in (0, 1)
        for attempt in (1, 2, 3)
    ]
    assert states() == [("done", "failed", 3)] * 2


def test_that_nothing_is_evaluated_within_the_step_budget_is_said_of_each_trial(
    batchfront: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = work(batchfront, folder, "print(f'step {1000 * step}: val_loss 1')")
    assert (result.code, result.out) == (0, "")
    beyond = "the first evaluation is at step 1,000, beyond the step budget of 90"
    said = sorted(record.message for record in caplog.records)
    assert said == [f"{NAME}/b8 trial {trial}: {beyond}" for trial in (0, 1)]
    assert states() == [("done", "exhausted", 1)] * 2


@pytest.mark.parametrize(
    "printed",
    [
        "os.write(1, bytes(range(256)) * 100)",
        "os.write(2, b'.' * 200_000)",
        "print('\\r'.join(['10 %'] * 1000), end='\\r')",
    ],
)
def test_what_else_a_program_prints_disturbs_nothing(
    batchfront: Run, folder: Path, printed: str
) -> None:
    told = "print(f'\\nstep {step}: val_loss {1 / step}')"
    result = work(batchfront, folder, f"{printed}; {told}")
    assert (result.code, result.err) == (0, "")
    assert {(state, outcome) for state, outcome, _ in states()} <= {
        ("done", "reached"),
        ("done", "capped"),
    }


LEFT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if step == 1:
    for own in (False, True):
        code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'
        subprocess.Popen([sys.executable, '-c', code, MARK], start_new_session=own)
"""


def test_nothing_is_left_of_a_program_that_ignores_sigterm_and_has_children(
    batchfront: Run, folder: Path
) -> None:
    mark = f"mark-of-{folder}"
    every = f"MARK = {mark!r}; exec({LEFT!r})"
    result = work(batchfront, folder, every, ("at_once = 3", "at_once = 3\ngrace = 0.2"))
    assert (result.code, result.err) == (0, "")
    assert {state for state, *_ in states()} == {"done"}
    there = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    assert not [command for command in there if mark in command]


# A loop

LOOP = """
from batchfront import Goal, Log, Loop


def train(trial):
    for step in range(1, trial.step_budget + 1):
        trial.batch_size
        if trial.evaluates(step):
            yield trial.measured(step, 1 - trial["learning_rate"] * step / 100)


mine = Loop(
    name="mine/loop/sgd",
    train=train,
    goal=Goal("error", 0.5, better="lower"),
    search_space={"learning_rate": Log(0.1, 1.0)},
    step_budget=400,
    batch_sizes=(8,),
)
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("trial.step_budget + 1", "2", "train() returns"),
        (
            "yield trial.measured(step, ",
            "yield (step, ",
            "yields a tuple; write yield trial.measured",
        ),
        ("yield trial.measured", "print", "mine/loop/sgd"),
        ('trial["learning_rate"]', 'trial["lr"]', "no metaparameter 'lr'"),
        ('trial["learning_rate"]', "0.5", "learning_rate"),
        ("        trial.batch_size\n", "", "batch_size"),
        ("step / 100", "step / 100 < 1", "value is True, not a number"),
        ("trial.measured(step,", "trial.measured(5 - step,", "step"),
        ("trial.measured(step,", "1 / 0; yield trial.measured(step,", "division by zero"),
    ],
)
def test_a_loop_that_does_not_hold_together_is_refused_before_it_is_planned(
    batchfront: Run, folder: Path, old: str, new: str, says: str
) -> None:
    assert old in LOOP
    (folder / "mine.py").write_text(LOOP.replace(old, new))
    refused(batchfront("plan", "./mine.py:mine"), says)
    assert not (folder / "batchfront.db").exists()
