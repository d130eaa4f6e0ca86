"""Workers: whatever happens to one of them, the frontier is that of an undisturbed run."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from sqlalchemy import select

from batchfront.errors import IdentityError, UntrustedCode
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.ledger import ATTEMPTS, Ledger
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import workers
from batchfront.store.url import Storage
from batchfront.study.study import Filter
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.model_run import ModelRun
from batchfront.worker.pace import Pace
from tests import searches
from tests.searches import NAME, optuna_trials, rows, work
from tests.toy import COUNTED, POISONED, clouds, counted, poisoned
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=8, batch_sizes=(4,))

PAUSE = "0.02"  # seconds a training step, so that a test can step in between
Start = Callable[..., subprocess.Popen[str]]


def best(storage: Storage, workload: str = NAME) -> list[tuple[Any, ...]]:
    """What must not depend on how the work was shared out."""
    points = load_frontier(storage, workload).points
    return [(p.batch_size, p.steps, p.steps_lower, p.to_dict()["trial"], p.params) for p in points]


def ended(storage: Storage) -> list[tuple[Any, ...]]:
    return [(r.number, r.outcome, r.steps, r.metric, r.evaluated_examples) for r in rows(storage)]


def assert_each_ended_once(storage: Storage, name: str = f"{NAME}/b4") -> None:
    trials, mine = optuna_trials(storage, name), rows(storage)
    assert {row.state for row in mine} == {"done"}
    assert [t.number for t in trials] == [row.number for row in mine]
    assert [t.user_attrs["outcome"] for t in trials] == [row.outcome for row in mine]
    assert [t.value for t in trials] == [row.steps_to_target for row in mine]


def advanced(storage: Storage, steps: int = 3) -> bool:
    """Whether a worker has published that all slots in its hands have come some way."""
    with storage.read() as conn:
        at_work = conn.execute(select(workers.c.steps).where(workers.c.state == "busy"))
        return any(found >= steps for found in at_work.scalars())


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def start(database: str, checkpoints: Path) -> Iterator[Start]:
    """Starts `batchfront work` as a process of its own, slowed down."""
    started: list[subprocess.Popen[str]] = []

    def start_one(name: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "batchfront.cli.main", "work", "--quiet"]
        command += ["--worker-id", name, "--device", "cpu", "--checkpoint-dir", str(checkpoints)]
        # A short lease, so that progress is published often.
        often = {"BATCHFRONT_LEASE_SECONDS": "6", "TOY_PAUSE": PAUSE}
        env = {"BATCHFRONT_STORAGE": database, **often, **environment}
        process = subprocess.Popen(
            command, env={**os.environ, **env}, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def undisturbed(second_storage: Storage) -> Storage:
    """The same studies, run by one worker from start to end."""
    planned(second_storage)
    work(second_storage, None)
    return second_storage


def test_a_worker_runs_every_study_to_its_end(storage: Storage, checkpoints: Path) -> None:
    planned(storage, batch_sizes=(4, 16), trials=6)
    work(storage, checkpoints)
    assert {row.state for row in rows(storage)} == {"done"}
    frontier = load_frontier(storage, NAME)
    assert all(point.steps for point in frontier.points)
    assert all(sum(point.outcomes.values()) == 6 for point in frontier.points)
    assert frontier.versions["torch"] == [torch.__version__]
    assert not [*checkpoints.rglob("*.pt*")]
    with storage.read() as conn:
        assert conn.execute(select(workers.c.state)).scalars().all() == ["stopped"]


@pytest.mark.slow
def test_a_killed_workers_trials_are_finished_by_another_with_the_same_frontier(
    storage: Storage, undisturbed: Storage, checkpoints: Path, start: Start
) -> None:
    planned(storage)
    victim = start("victim")
    eventually(lambda: advanced(storage))
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert {row.state for row in rows(storage)} == {"leased"}
    Ledger(storage, "victim").reap()
    work(storage, checkpoints, "heir")
    assert {row.worker_id for row in rows(storage)} == {"heir"}
    assert {(row.attempts, row.deaths) for row in rows(storage)} == {(1, 1)}
    assert_each_ended_once(storage)
    assert best(storage) == best(undisturbed)
    assert ended(storage) == ended(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_worker_hands_back_its_trials_and_another_continues_them(
    number: signal.Signals,
    storage: Storage,
    undisturbed: Storage,
    checkpoints: Path,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(storage)
    stopped = start("stopped")
    eventually(lambda: advanced(storage))
    stopped.send_signal(number)
    _, said = stopped.communicate(timeout=LONG)
    assert (stopped.returncode, said) == (0, "")
    handed_back = rows(storage)
    assert {(row.state, row.worker_id, row.attempts) for row in handed_back} == {("free", None, 0)}
    assert all(row.steps >= 3 for row in handed_back)
    assert len(list(checkpoints.rglob("*.pt"))) == 8

    continued: dict[int, int] = {}
    restore = Checkpoints.restore

    def watched(self: Checkpoints, slot: Any, run: ModelRun, tag: str) -> bool:
        found = restore(self, slot, run, tag)
        continued[slot.number] = run.step
        return found

    monkeypatch.setattr(Checkpoints, "restore", watched)
    work(storage, checkpoints, "heir")
    assert continued == {row.number: row.steps for row in handed_back}
    assert_each_ended_once(storage)
    assert best(storage) == best(undisturbed)
    assert ended(storage) == ended(undisturbed)
    assert not [*checkpoints.rglob("*.pt*")]


def test_without_a_place_for_checkpoints_a_stopped_workers_trials_start_again(
    storage: Storage, undisturbed: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    stop = Event()
    advance = ModelRun.advance

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        if to_step == 6:
            stop.set()
        return advance(self, to_step, stopped)

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        work(storage, None, "stopped", stop)
    assert {(row.state, row.steps, row.attempts) for row in rows(storage)} == {("free", 0, 0)}
    work(storage, None)
    assert ended(storage) == ended(undisturbed)


def test_trials_that_no_checkpoint_holds_all_of_start_again_with_the_same_results(
    storage: Storage,
    second_storage: Storage,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for one in (storage, second_storage):
        plan(one, COUNTED, counted(), SearchOptions(trials=4, batch_sizes=(4,), finishers=1))
    work(second_storage, None)
    stop, advance = Event(), ModelRun.advance

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        if to_step == 6:
            stop.set()
        return advance(self, to_step, stopped)

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        work(storage, checkpoints, "stopped", stop)
    assert stop.is_set()
    assert {(row.state, row.steps, row.attempts) for row in rows(storage)} == {("free", 0, 0)}
    assert not [*checkpoints.rglob("*.pt*")]
    work(storage, checkpoints)
    assert ended(storage) == ended(second_storage)


def test_a_worker_stopped_before_its_first_step_leaves_nothing_behind(
    storage: Storage, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    stop = Event()

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        stop.set()
        return False

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        work(storage, checkpoints, "stopped", stop)
    assert {(row.state, row.steps, row.attempts) for row in rows(storage)} == {("free", 0, 0)}
    work(storage, checkpoints)
    assert not [*checkpoints.rglob("*.pt*")]


@pytest.mark.slow
def test_an_idle_worker_is_given_part_of_a_running_heat_with_the_same_frontier(
    storage: Storage,
    undisturbed: Storage,
    checkpoints: Path,
    start: Start,
) -> None:
    planned(storage)
    # So slow that it is far from done when another is there, however late that may be.
    holder = start("holder", TOY_PAUSE="0.25")
    eventually(lambda: any(row.state == "leased" for row in rows(storage)))
    assert {row.worker_id for row in rows(storage)} == {"holder"}
    work(storage, checkpoints, "idle")
    assert holder.wait(LONG) == 0
    # On a busy machine it may be given all: what nobody takes in time falls behind, and is next.
    assert "idle" in {row.worker_id for row in rows(storage)}
    assert_each_ended_once(storage)
    assert best(storage) == best(undisturbed)


def test_a_worker_whose_code_gives_another_definition_is_refused_and_takes_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    monkeypatch.setenv("TOY_WIDTH", "13")
    with pytest.raises(IdentityError, match=r"model\.layers was .*out_features=12"):
        work(storage, None)
    assert {(row.state, row.attempts, row.trial_id) for row in rows(storage)} == {("free", 0, None)}
    with storage.read() as conn:
        assert conn.execute(select(workers.c.state)).scalars().all() == ["stopped"]
    monkeypatch.delenv("TOY_WIDTH")
    work(storage, None, "with the right code")
    assert_each_ended_once(storage)


def test_a_workload_that_can_not_be_set_up_here_does_not_keep_a_worker_from_the_others(
    storage: Storage, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.py"
    gone.write_text(f"from {clouds.__module__} import poisoned\n")
    plan(storage, f"{gone}:poisoned", poisoned(), SearchOptions(trials=2, batch_sizes=(4,)))
    gone.unlink()
    planned(storage)
    with pytest.raises(UntrustedCode, match=r"there is no .*gone\.py"):
        work(storage, None)
    (point,) = load_frontier(storage, poisoned().name).points
    assert point.outcomes == {"open": 2}
    assert all("open" not in p.outcomes for p in load_frontier(storage, NAME).points)


def test_a_trial_that_raises_fails_after_its_attempts_and_the_others_go_on(
    storage: Storage, checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan(storage, POISONED, poisoned(), SearchOptions(trials=8, batch_sizes=(4,)))
    work(storage, checkpoints)
    failed = [row for row in rows(storage) if row.outcome == "failed"]
    others = [row for row in rows(storage) if row.outcome != "failed"]
    assert failed
    assert {row.state for row in others} == {"done"}
    assert {row.outcome for row in others} & {"reached"}
    for row in failed:
        assert row.attempts == ATTEMPTS
        assert row.reason.startswith("ArithmeticError: poisoned by 0.")
        assert "in forward" in row.reason
        assert f"trial {row.number} failed (attempt 3 of 3): ArithmeticError" in caplog.text
    assert {row.attempts for row in others} == {1}
    assert_each_ended_once(storage, "clouds/poisoned/momentum/b4")
    assert load_frontier(storage, "clouds/poisoned/momentum").reached


def test_a_trial_whose_model_can_not_be_made_fails_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    made = ModelRun.__init__

    def init(self: ModelRun, *arguments: Any) -> None:
        made(self, *arguments)
        if self.values["dropout"] == 0.3:
            raise MemoryError("no room \0 \ud800")  # what a database can't hold as it is

    monkeypatch.setattr(ModelRun, "__init__", init)
    work(storage, None)
    outcomes = {row.number: row.outcome for row in rows(storage)}
    assert None not in outcomes.values()
    failed = [row for row in rows(storage) if row.outcome == "failed"]
    assert 0 < len(failed) < 8
    assert all(row.reason.startswith("MemoryError: no room") for row in failed)


def test_checkpoints_are_kept_while_a_heat_runs(
    storage: Storage, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    saved: list[int] = []
    write = Checkpoints.write

    def watched(self: Checkpoints, slot: Any, state: Any, *arguments: Any) -> bool:
        saved.append(state["step"])
        return write(self, slot, state, *arguments)

    monkeypatch.setattr(Checkpoints, "write", watched)
    often = Pace(
        first_checkpoint=0.0, checkpoints=0.0, copying_share=math.inf, writing_share=math.inf
    )
    work(storage, checkpoints, pace=often)
    assert len(set(saved)) > 2
    assert saved == sorted(saved)
    assert not [*checkpoints.rglob("*.pt*")]


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_one_by_one_stops_trials_at_the_best_so_far(
    storage: Storage, undisturbed: Storage, sampler: str
) -> None:
    planned(storage, together=1, sampler=sampler)
    work(storage, None)
    record: int | None = None
    for row in rows(storage):
        if record is not None:
            assert row.steps <= record
            assert row.outcome != "reached" or row.steps_to_target <= record
        record = min(filter(None, (record, row.steps_to_target)), default=None)
    assert_each_ended_once(storage)
    if sampler == "sobol":
        assert best(storage)[0][1:4] == best(undisturbed)[0][1:4]


def test_a_filter_keeps_a_worker_to_its_studies_and_lets_it_end(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 16), trials=3)
    wanted = Filter(batch_sizes=(16,))
    work(storage, name="picky", wanted=wanted)
    states = {row.study_id: row.state for row in rows(storage)}
    assert sorted(states.values()) == ["done", "free"]
