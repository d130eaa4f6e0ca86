"""Heats that hold a part of their study only: handed back in stretches, so that racing holds."""

from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.ledger import Ledger
from batchfront.store.url import Storage
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.model_run import ModelRun
from batchfront.worker.race import STRETCH, Race
from batchfront.workload.seeds import study_seed, trial_seed
from tests import searches
from tests.searches import KEPT_AT_ONCE, NAME, SHORT_STRETCHES, rows, work

TRIALS = 12

planned = partial(searches.planned, trials=TRIALS, batch_sizes=(4,))


def winner(storage: Storage) -> tuple[int, int]:
    """Its number, and its steps to target."""
    (point,) = load_frontier(storage, NAME).points
    assert point.best is not None
    assert point.steps is not None
    return point.best.number, point.steps


@pytest.fixture
def undisturbed(second_storage: Storage) -> Storage:
    """The same study, all of its trials in one heat."""
    planned(second_storage)
    work(second_storage, None)
    return second_storage


def test_trials_too_many_for_one_heat_take_turns_and_the_same_one_wins(
    storage: Storage, undisturbed: Storage, tmp_path: Path, room_for_three: list[list[int]]
) -> None:
    planned(storage)
    work(storage, tmp_path / "kept", pace=SHORT_STRETCHES)
    assert winner(storage) == winner(undisturbed)
    assert len(room_for_three) > 2 * TRIALS / 3
    assert all(len(heat) <= 3 for heat in room_for_three)
    assert {row.attempts for row in rows(storage)} == {1}
    assert not (tmp_path / "kept").exists()


def test_no_trial_is_trained_far_past_the_winner(
    storage: Storage, undisturbed: Storage, tmp_path: Path, room_for_three: list[list[int]]
) -> None:
    planned(storage)
    work(storage, tmp_path / "kept", pace=SHORT_STRETCHES)
    steps = [row.steps for row in rows(storage)]
    alone = [row.steps for row in rows(undisturbed)]
    assert max(steps) <= 1.2 * STRETCH * winner(undisturbed)[1] + 5
    assert sum(steps) <= 1.2 * STRETCH * sum(alone)


def test_without_a_place_for_checkpoints_a_heat_runs_to_its_end(
    storage: Storage, undisturbed: Storage, room_for_three: list[list[int]]
) -> None:
    planned(storage)
    work(storage, None, pace=SHORT_STRETCHES)
    assert [len(heat) for heat in room_for_three] == [3] * 4
    assert winner(storage) == winner(undisturbed)


def test_a_trial_after_the_other_is_not_handed_back_for_those_that_wait(
    storage: Storage, tmp_path: Path, room_for_three: list[list[int]]
) -> None:
    planned(storage, together=1)
    work(storage, tmp_path / "kept", pace=SHORT_STRETCHES)
    assert room_for_three == [[number] for number in range(TRIALS)]


def test_trials_that_there_is_no_memory_for_wait_for_another_heat(
    storage: Storage,
    undisturbed: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    planned(storage)
    made, room = ModelRun.__init__, [5]

    def init(self: ModelRun, *arguments: Any) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made(self, *arguments)

    run = Race.run

    def watched(self: Race, taken: Any) -> None:
        room[0] = 5
        run(self, taken)

    monkeypatch.setattr(ModelRun, "__init__", init)
    monkeypatch.setattr(Race, "run", watched)
    work(storage, tmp_path / "kept")
    assert winner(storage) == winner(undisturbed)
    assert {row.outcome for row in rows(storage)} <= {"reached", "capped", "stalled", "diverged"}
    said = "room for 5 trials at once (OutOfMemoryError: CUDA out of memory)"
    assert caplog.text.count(said) == 1  # then it is known


def test_what_a_frozen_worker_keeps_too_late_is_dropped(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others end its trials while it sleeps, just before it writes a checkpoint."""
    planned(storage, trials=2)
    write, slept = Checkpoints.write, Event()

    def sleeps(self: Checkpoints, *arguments: Any) -> bool:
        if not slept.is_set():
            slept.set()
            Ledger(storage, "sleeper").reap()
            work(storage, tmp_path / "kept", "heir", pace=KEPT_AT_ONCE)
        return write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "write", sleeps)
    work(storage, tmp_path / "kept", "sleeper", pace=KEPT_AT_ONCE)
    assert {row.worker_id for row in rows(storage)} == {"heir"}
    assert list((tmp_path / "kept").rglob("*.pt")) == []


def test_where_no_checkpoint_can_be_written_heats_of_a_part_run_to_their_end(
    storage: Storage,
    undisturbed: Storage,
    tmp_path: Path,
    room_for_three: list[list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They would begin at step 0 again and again otherwise, and never get past the first."""
    planned(storage)
    (tmp_path / "file").touch()
    work(storage, tmp_path / "file" / "below", pace=SHORT_STRETCHES)
    assert [len(heat) for heat in room_for_three] == [3] * 4
    assert winner(storage) == winner(undisturbed)
    assert "not written" in caplog.text


def test_a_lost_device_ends_the_worker_and_costs_no_trial(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, trials=3)

    def lost(self: ModelRun, *arguments: Any) -> bool:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", lost)
        with pytest.raises(RuntimeError, match="device-side assert"):
            work(storage, None)
    assert {(row.state, row.attempts, row.deaths) for row in rows(storage)} == {("free", 0, 1)}


def test_a_checkpoint_that_breaks_what_restores_it_fails_its_trial_alone(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, trials=4)
    restored = ModelRun.restore
    stop, advance = Event(), ModelRun.advance

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        if to_step == 6:
            stop.set()
        return advance(self, to_step, stopped)

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        work(storage, tmp_path / "kept", "first", stop, KEPT_AT_ONCE)

    def breaks(self: ModelRun, state: Any) -> None:
        if self.seed == broken:
            raise KeyError("velocities")
        restored(self, state)

    broken = trial_seed(study_seed(0, NAME, 4), 2)
    monkeypatch.setattr(ModelRun, "restore", breaks)
    work(storage, tmp_path / "kept")
    # Its next attempt begins anew, without the checkpoint.
    assert {row.state for row in rows(storage)} == {"done"}
    assert {row.number: row.attempts for row in rows(storage)} == {0: 1, 1: 1, 2: 2, 3: 1}
    assert not any(row.outcome == "failed" for row in rows(storage))
