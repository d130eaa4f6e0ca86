"""`batchfront work --devices-per-trial 2`: what one device finds, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
import torch
from sqlalchemy import select

from service.plan import Request, plan
from service.schema import slots, workers
from service.storage import Storage, open_storage
from service.worker import Settings, Worker
from tests.striped import SPEC, striped
from tests.waiting import eventually

TRIALS = 3
WAIT = 150.0  # seconds, where the machine is busy: three processes load torch


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough to be met in the middle of it."""
    monkeypatch.setenv("STRIPED_PAUSE", "0.05")


def planned(database: str) -> Storage:
    storage = open_storage(database)
    # None is capped: so each ends where it would have ended alone.
    plan(storage, SPEC, striped(), Request(trials=TRIALS, batch_sizes=(10,), finishers=TRIALS))
    return storage


@contextmanager
def working(database: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    told = ["--device", "cpu", "--devices-per-trial", "2", "--checkpoint-dir", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "service.cli.main", "work", "--quiet", *told],
        env={**os.environ, "BATCHFRONT_STORAGE": database},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(storage: Storage) -> list[Any]:
    with storage.read() as conn:
        return list(conn.execute(select(slots).order_by(slots.c.number)))


def training(storage: Storage) -> bool:
    """Whether a worker has said that its trials are past step 0."""
    with storage.read() as conn:
        return any(conn.execute(select(workers.c.steps).where(workers.c.state == "busy")).scalars())


def rank_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    found = [
        child
        for child in psutil.Process(process.pid).children()
        if child.status() != psutil.STATUS_ZOMBIE
    ]
    return found[0] if found else None


@dataclass(frozen=True)
class Told:
    """What has come of a worker one of whose ranks was killed, and which then was stopped."""

    failed: list[Any]
    stopped: list[Any]
    exit_code: int
    errors: str
    rank_left: bool
    finished: list[Any]


def told(database: str, folder: Path) -> Told:
    storage = planned(database)
    with working(database, folder) as process:
        first = eventually(lambda: training(storage) and rank_of(process), WAIT)
        first.kill()
        failed = eventually(lambda: [row for row in rows(storage) if row.failed_by], WAIT)
        second = eventually(lambda: rank_of(process), WAIT)
        assert second.pid != first.pid
        eventually(lambda: second.cpu_times().user > 0 and len(second.threads()) > 4, WAIT)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=WAIT)
        left = second.is_running() and second.status() != psutil.STATUS_ZOMBIE
    stopped = rows(storage)
    # What is left is for one device.
    os.environ["STRIPED_PAUSE"] = "0"
    settings = Settings("one", torch.device("cpu"), checkpoints=str(folder))
    Worker(storage, settings, Event()).run()
    finished = rows(storage)
    storage.close()
    return Told(failed, stopped, process.returncode, errors, left, finished)


@pytest.mark.slow
def test_a_killed_rank_fails_the_attempt_and_the_worker_goes_on_until_it_is_stopped(
    database: str, made_database: Path, tmp_path: Path, paused: None
) -> None:
    found = told(database, tmp_path / "kept")
    assert [row.attempts for row in found.failed] == [1]
    assert "rank 1 of 2 ended with signal 9" in found.errors
    assert found.exit_code == 0
    assert {row.state for row in found.stopped} <= {"free", "done"}
    assert not found.rank_left
    assert {row.outcome for row in found.finished} == {"reached"}
    assert sorted(row.attempts for row in found.finished)[:2] == [1, 1]
    expected = on_one_device(made_database, tmp_path)
    assert [row.steps_to_target for row in found.finished] == expected


@pytest.mark.slow
def test_a_whole_race_on_two_devices_takes_as_many_steps_as_on_one(
    database: str, made_database: Path, tmp_path: Path
) -> None:
    storage = planned(database)
    with working(database, tmp_path / "kept") as process:
        _, errors = process.communicate(timeout=WAIT)
    assert (process.returncode, errors) == (0, "")
    expected = on_one_device(made_database, tmp_path)
    assert [row.steps_to_target for row in rows(storage)] == expected
    storage.close()


@pytest.mark.slow
def test_a_killed_worker_leaves_no_rank_behind(database: str, tmp_path: Path, paused: None) -> None:
    storage = planned(database)
    with working(database, tmp_path / "kept") as process:
        rank = eventually(lambda: training(storage) and rank_of(process), WAIT)
        process.kill()
        eventually(lambda: not rank.is_running() or rank.status() == psutil.STATUS_ZOMBIE, WAIT)
    storage.close()


def on_one_device(made_database: Path, folder: Path) -> list[int]:
    """The trials' steps to target."""
    path = folder / "one.db"
    path.write_bytes(made_database.read_bytes())
    storage = planned(f"sqlite:///{path}")
    Worker(storage, Settings("one", torch.device("cpu")), Event()).run()
    found = [row.steps_to_target for row in rows(storage)]
    storage.close()
    return found
