"""A user's own workload file, and the command as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchfront.cli.main import main
from tests.schemas import hold, printed_by
from tests.searches import CODE

WORKLOAD = """
import torch
from torch import nn

from batchfront import (
    ERROR_RATE, Goal, Log, Momentum, ReverseLog, Split, Splits, Workload, cross_entropy,
)


def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 4, generator=generator)
    targets = (inputs.sum(dim=1) > 0).long()
    return Splits(Split(inputs[:64], targets[:64]), Split(inputs[64:], targets[64:]))


def model():
    return nn.Linear(4, 2)


def my_workload() -> Workload:
    return Workload(
        name="blobs/linear/momentum",
        data=data,
        model=model,
        loss=cross_entropy,
        algorithm=Momentum(),
        goal=Goal(ERROR_RATE, 0.1),
        search_space={"learning_rate": Log(0.01, 1.0), "momentum": ReverseLog(0.0, 0.9)},
        step_budget=200,
        batch_sizes=(2, 8),
    )
"""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, whose files workers may run, with no setting of the developer's
    own in the environment."""
    for name in os.environ:
        if name.startswith("BATCHFRONT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BATCHFRONT_ENGINE", "sequential")  # a trial takes a second
    monkeypatch.setenv("BATCHFRONT_CODE", os.pathsep.join([str(tmp_path), *CODE]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def workload_file(folder: Path) -> Callable[..., str]:
    """Writes my_workload.py, with some of its text replaced; the spec that names its function."""

    def write(*replaced: tuple[str, str]) -> str:
        text = WORKLOAD
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        (folder / "my_workload.py").write_text(text)
        return "./my_workload.py:my_workload"

    return write


@pytest.fixture
def batchfront(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    """Runs the command in this process: torch is imported already, which saves seconds. Whatever
    JSON it prints has to be as its schema says."""
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in taken}

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfd.readouterr()
        if out and (schema := printed_by(arguments)):
            hold(schema, json.loads(out))
        return Result(int(ended.value.code or 0), out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command as a process of its own, which ends with the test if not before."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "batchfront.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
