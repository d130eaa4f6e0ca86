"""What a program can say to its worker, by itself and as one of several ranks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import torch

import batchfront
from batchfront import UsageError
from batchfront.reporting import (
    GRID,
    METAPARAMETERS_FILE,
    SOCKET,
    TRIAL_DIR,
    _known_trial,
    _line,
)
from batchfront.training.programs.report_channel import Report, ReportChannel
from batchfront.workload.evaluation_grid import EvaluationGrid
from tests.waiting import LONG


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SOCKET, TRIAL_DIR, GRID):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("outside")
def test_a_report_outside_of_a_trial_says_how_to_run_one() -> None:
    with pytest.raises(
        UsageError, match=r"^report\(step=10\): no trial runs here; `batchfront run"
    ):
        batchfront.report(10, 0.5)


@pytest.mark.usefixtures("outside")
def test_a_trial_that_is_read_from_its_output_says_how_to_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TRIAL_DIR, "x")
    with pytest.raises(UsageError, match='with output = "report" in its sweep file'):
        batchfront.report(10, 0.5)


def test_a_socket_out_of_sight_is_an_error_and_not_the_end_of_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SOCKET, "/nowhere/report")
    with pytest.raises(UsageError, match="No such file or directory; a program that runs in a con"):
        batchfront.report(10, 0.5)


@pytest.fixture
def trial_directory(outside: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of a trial, as a worker makes it."""
    seeds = {"seed": 7, "long_seed": 2**40 + 7}
    told = {"batch_size": 32, **seeds, "step_budget": 300, "learning_rate": 0.1, "nesterov": True}
    (tmp_path / METAPARAMETERS_FILE).write_text(json.dumps(told))
    monkeypatch.setenv(TRIAL_DIR, str(tmp_path))
    return tmp_path


def test_a_program_knows_its_trial(trial_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHFRONT_DEVICE", "cuda")
    trial = batchfront.this_trial()
    assert trial.metaparameters == {"learning_rate": 0.1, "nesterov": True}
    assert (trial.batch_size, trial.seed, trial.step_budget) == (32, 7, 300)
    assert trial.long_seed == 2**40 + 7
    assert (trial.device, trial.directory) == ("cuda:0", trial_directory)


@pytest.mark.usefixtures("trial_directory")
def test_a_program_chooses_when_it_evaluates_unless_its_study_has_a_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _known_trial.cache_clear()
    assert [step for step in range(400) if batchfront.evaluates(step)] == list(range(1, 301))
    monkeypatch.setenv(GRID, json.dumps(asdict(EvaluationGrid(first=5, spacing=1.0))))
    _known_trial.cache_clear()
    assert [step for step in range(400) if batchfront.evaluates(step)] == [5, 10, 20, 40, 80, 160]
    assert batchfront.this_trial().evaluates(5)
    _known_trial.cache_clear()


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    "ask",
    [batchfront.this_trial, partial(batchfront.evaluates, 3)],
    ids=["this_trial", "evaluates"],
)
def test_what_is_asked_of_no_trial_says_how_to_run_one(ask: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="no trial runs here; `batchfront run SWEEP"):
        ask()


@pytest.mark.usefixtures("outside")
def test_a_program_started_by_hand_may_name_what_stands_for_its_trial(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trial = batchfront.this_trial(default={"batch_size": 8, "step_budget": 20, "momentum": 0.9})
    assert trial.metaparameters == {"momentum": 0.9}
    assert (trial.batch_size, trial.seed, trial.device) == (8, 0, "cpu")
    trial.report(1, np.float32(0.25))
    trial.report(2, 0.125, loss=torch.tensor(2.0))
    assert capsys.readouterr().out == "step 1: 0.25\nstep 2: 0.125, training loss 2\n"
    with pytest.raises(UsageError, match="no trial runs here"):
        batchfront.report(3, 0.1)
    with pytest.raises(UsageError, match=r"default=\.\.\.\): batch_size has to be there"):
        batchfront.this_trial(default={"step_budget": 20})


@pytest.mark.usefixtures("trial_directory")
def test_in_a_trial_no_default_counts() -> None:
    trial = batchfront.this_trial(default={"batch_size": 8, "step_budget": 20, "momentum": 0.9})
    assert trial.batch_size == 32


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Report]]:
    """What this process reports, each let through at once."""
    told: list[Report] = []

    def let_through(report: Report) -> None:
        told.append(report)
        channel.go()

    channel = ReportChannel(let_through)
    for name, value in channel.environment.items():
        monkeypatch.setenv(name, value)
    yield told
    channel.close()
    _line.hang_up()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((1, 0.5), (1, 0.5, None, None)),
        ((np.int64(2), np.float32(0.5), torch.tensor(2.0), torch.tensor(64)), (2, 0.5, 2.0, 64)),
        ((3, torch.tensor([[0.5]], requires_grad=True).sum(), 1), (3, 0.5, 1.0, None)),
        ((4, True), (4, 1.0, None, None)),
        ((0, float("-inf")), (0, float("-inf"), None, None)),
        ((5, 0.5, 1, 8, {"top": torch.tensor(2)}), (5, 0.5, 1.0, 8, {"top": 2.0})),
    ],
)
def test_numbers_of_every_kind_are_reported(
    reports: list[Report], given: tuple[Any, ...], told: tuple[Any, ...]
) -> None:
    batchfront.report(*given)
    assert reports == [Report(*told)]


def test_a_value_that_is_not_a_number_is_reported_as_such(reports: list[Report]) -> None:
    batchfront.report(1, float("nan"))
    assert str(reports[0].value) == "nan"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((1.5, 0.5), "step is 1.5, and has to be a whole number"),
        (("1", 0.5), "step is '1', and"),
        ((1, "0.5"), "value is '0.5', and has to be a number"),
        ((1, None), "value is None"),
        ((1, torch.zeros(2, 2)), r"value is tensor\(\[\[0., 0.\], \[0., 0.\]\]\), and"),
        ((1, 10**400), "value is 1000"),
        ((1, 0.5, "low"), "loss is 'low'"),
        ((1, 0.5, None, 0.1), "examples is 0.1, and has to be a whole number"),
    ],
)
def test_what_is_no_number_is_refused_in_one_line(
    reports: list[Report], given: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(UsageError, match=f"^report: {why}") as error:
        batchfront.report(*given)
    assert len(str(error.value)) < 150
    assert reports == []


@pytest.mark.usefixtures("reports")
def test_the_package_of_that_name_hides_no_report() -> None:
    code = "import batchfront, batchfront.report; batchfront.report(1, 0.5); print('past')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    assert (out.stdout, out.stderr) == ("past\n", "")


def test_to_report_loads_no_other_library(reports: list[Report]) -> None:
    code = (
        "import sys; before = set(sys.modules); import batchfront; batchfront.report(1, 0.5);"
        "from batchfront import TrialEnded;"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(tops - sys.stdlib_module_names))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    assert out.stdout == "['batchfront']\n"
    assert [report.step for report in reports] == [1]


TRAINING = """
import os, sys
import torch, torch.distributed as dist
import batchfront

dist.init_process_group("gloo")
rank = dist.get_rank()
weights = torch.zeros(3)

def say(line):
    os.write(1, f"{line}\\n".encode())  # in one piece, as both ranks write to one pipe

try:
    for step in range(1, 1000):
        dist.all_reduce(weights)
        report(step)
        say(f"past {step}")
except batchfront.UsageError as error:
    say(error)
finally:
    say("closed")
    dist.destroy_process_group()
"""


class Ranks:
    """Two processes of torchrun that train together, and report to a channel."""

    def __init__(self, report: str, environment: Mapping[str, str]) -> None:
        code = TRAINING.replace("report(step)", report)
        command = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--no-python",
        ]
        self.process = subprocess.Popen(
            [sys.executable, *command, sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> tuple[int, list[str], str]:
        """Exit code, lines printed and errors."""
        out, err = self.process.communicate(timeout=LONG)
        return self.process.returncode, out.splitlines(), err


@pytest.fixture
def train_together(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    started: list[Ranks] = []
    queue: Queue[Report] = Queue()
    channel = ReportChannel(queue.put)

    def start(report: str) -> tuple[Ranks, ReportChannel, Queue[Report]]:
        started.append(Ranks(report, channel.environment))
        return started[-1], channel, queue

    yield start
    channel.close()
    for ranks in started:
        ranks.process.terminate()  # torchrun ends its own
        ranks.process.communicate()


@pytest.mark.slow
def test_ranks_pause_together_and_end_together(train_together: Callable[..., Any]) -> None:
    ranks, channel, queue = train_together("batchfront.report(step, value=rank)")
    for step in (1, 2):
        assert queue.get(timeout=LONG) == Report(step, 0.0, None, None)  # rank 0's
        channel.go()
    queue.get(timeout=LONG)
    channel.end("capped")
    code, lines, err = ranks.finish()
    assert code == 0, err
    assert sorted(lines) == sorted(2 * ["past 1", "past 2", "closed"])
    assert queue.empty()


@pytest.mark.slow
def test_ranks_are_refused_together(train_together: Callable[..., Any]) -> None:
    ranks, _, queue = train_together("batchfront.report(step, 'low' if rank == 0 else 0.5)")
    code, lines, err = ranks.finish()
    assert code == 0, err
    assert lines.count("report: value is 'low', and has to be a number") == 2
    assert queue.empty()


@pytest.mark.slow
def test_the_worker_of_ranks_may_die(train_together: Callable[..., Any]) -> None:
    ranks, channel, queue = train_together("batchfront.report(step, 0.5)")
    queue.get(timeout=LONG)
    channel.close()
    code, lines, err = ranks.finish()
    assert (code, lines) == (0, ["closed", "closed"]), err


@pytest.mark.slow
def test_rank_0_alone_may_report(train_together: Callable[..., Any]) -> None:
    ranks, channel, queue = train_together(
        "if rank == 0: batchfront.report(step, 0.5)\n        if step == 2: break"
    )
    for step in (1, 2):
        assert queue.get(timeout=LONG).step == step
        channel.go()
    code, lines, err = ranks.finish()
    assert code == 0, err
    assert sorted(lines) == ["closed", "closed", "past 1", "past 1"]
