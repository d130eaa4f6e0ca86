"""`batchfront work --devices-per-trial 2`: what one device finds, and nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
import torch
from sqlalchemy import select

from batchfront.cli.main import work_here
from batchfront.launch.worker_options import in_environment
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage, open_storage
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from tests.searches import CODE, work
from tests.striped import SPEC, striped
from tests.waiting import LONG, eventually

CPU = torch.device("cpu")
TRIALS = 3
TOLD = ["--device", "cpu", "--devices-per-trial", "2", "--quiet"]


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough to be met in the middle of it."""
    monkeypatch.setenv("STRIPED_PAUSE", "0.05")


def planned(database: str) -> Storage:
    storage = open_storage(database)
    # None is capped: so each ends where it would have ended alone.
    plan(
        storage, SPEC, striped(), SearchOptions(trials=TRIALS, batch_sizes=(10,), finishers=TRIALS)
    )
    return storage


@contextmanager
def working(database: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchfront.cli.main", "work", *TOLD],
        env={
            **os.environ,
            "BATCHFRONT_STORAGE": database,
            "BATCHFRONT_CHECKPOINT_DIR": str(folder),
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rows(storage: Storage) -> list[Any]:
    with storage.read() as conn:
        return list(conn.execute(select(slots).order_by(slots.c.number)))


def at_work(worker: int) -> psutil.Process | None:
    """The same, once it has met its worker."""
    rank = rank_of(worker)
    return rank if rank is not None and rank.net_connections("tcp") else None


def rank_of(worker: int) -> psutil.Process | None:
    """The process of rank 1 of the worker with this process id."""
    found = []
    for child in psutil.Process(worker).children():
        with suppress(psutil.Error):
            if "batchfront.training.distributed.follower" in child.cmdline():
                found.append(child)
    return found[0] if found else None


@dataclass(frozen=True)
class Told:
    """What has come of a worker one of whose ranks was killed, and which then was stopped."""

    failed: list[Any]
    stopped: list[Any]
    rank_left: bool
    finished: list[Any]


def told(database: str, folder: Path) -> Told:
    storage = planned(database)
    settings = Settings(
        "two",
        "cpu",
        options=WorkerOptions(
            engine="sequential", devices_per_trial=2, checkpoint_dir=str(folder), code=CODE
        ),
    )
    stop = Event()
    with ThreadPoolExecutor() as pool:
        working = pool.submit(Worker(storage, settings, stop).run)
        try:
            first = eventually(lambda: at_work(os.getpid()))
            first.kill()
            failed = eventually(lambda: [row for row in rows(storage) if row.failed_by])
            second = eventually(lambda: rank_of(os.getpid()))
        finally:
            stop.set()
        working.result(LONG)
    left = second.is_running() and second.status() != psutil.STATUS_ZOMBIE
    stopped = rows(storage)
    # What is left is for one device.
    os.environ["STRIPED_PAUSE"] = "0"
    Worker(
        storage,
        Settings(
            "one",
            "cpu",
            options=WorkerOptions(engine="sequential", checkpoint_dir=str(folder), code=CODE),
        ),
        Event(),
    ).run()
    finished = rows(storage)
    storage.close()
    return Told(failed, stopped, left, finished)


@pytest.mark.slow
def test_a_killed_rank_fails_the_attempt_and_the_worker_goes_on_until_it_is_stopped(
    database: str,
    made_database: Path,
    tmp_path: Path,
    paused: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = told(database, tmp_path / "kept")
    assert len(found.failed) == 1  # which may have been taken up again by the time it is read
    assert "rank 1 of 2 ended with signal 9" in caplog.text
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
    with in_environment({"BATCHFRONT_STORAGE": database}):
        work_here([*TOLD, "--checkpoint-dir", str(tmp_path / "kept")])
    assert rank_of(os.getpid()) is None
    expected = on_one_device(made_database, tmp_path)
    assert [row.steps_to_target for row in rows(storage)] == expected
    storage.close()


@pytest.mark.slow
def test_a_killed_worker_leaves_no_rank_behind(database: str, tmp_path: Path, paused: None) -> None:
    storage = planned(database)
    with working(database, tmp_path / "kept") as process:
        rank = eventually(lambda: at_work(process.pid))
        process.kill()
        eventually(lambda: not rank.is_running() or rank.status() == psutil.STATUS_ZOMBIE)
    storage.close()


def on_one_device(made_database: Path, folder: Path) -> list[int]:
    """The trials' steps to target."""
    path = folder / "one.db"
    path.write_bytes(made_database.read_bytes())
    storage = planned(f"sqlite:///{path}")
    work(storage)
    found = [row.steps_to_target for row in rows(storage)]
    storage.close()
    return found
