"""Checkpoints written beside the training: whole before they count, and never too late."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from batchfront.training import checkpoint_writer as background
from batchfront.training.checkpoint_writer import CheckpointWriter
from batchfront.training.checkpoints import Checkpoints
from tests.batchfront.training.test_checkpoints import TAG, Slot, advanced, fresh
from tests.batchfront.training.test_model_run import assert_same
from tests.waiting import LONG, eventually


class Gate(Checkpoints):
    """Whose writing waits, half way, until it is let go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.entered, self.let_go = Event(), Event()

    def _write(self, state: dict[str, Any], path: str) -> None:
        super()._write(state, path)
        self.entered.set()
        assert self.let_go.wait(LONG)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "kept")


@pytest.fixture
def kept(gate: Gate) -> Iterator[CheckpointWriter[Slot]]:
    kept = CheckpointWriter(gate)
    yield kept
    kept.close()
    gate.let_go.set()
    if kept._thread is not None:
        kept._thread.join(LONG)


def written(kept: CheckpointWriter[Slot]) -> None:
    eventually(lambda: not kept.busy)


def test_a_checkpoint_counts_once_it_is_whole(gate: Gate, kept: CheckpointWriter[Slot]) -> None:
    assert kept.take(Slot(), advanced(9), TAG)
    assert gate.entered.wait(LONG)
    assert kept.busy
    assert kept.take_written() == []
    assert not gate.restore(Slot(), fresh(), TAG)
    gate.let_go.set()
    written(kept)
    assert kept.take_written() == [(Slot(), 9)]
    assert kept.take_written() == []
    assert gate.restore(Slot(), fresh(), TAG)


def test_training_that_goes_on_does_not_change_what_is_written(
    gate: Gate, kept: CheckpointWriter[Slot]
) -> None:
    run, expected, restored = advanced(9), advanced(9), fresh()
    kept.take(Slot(), run, TAG)
    run.advance(20)
    gate.let_go.set()
    written(kept)
    assert gate.restore(Slot(), restored, TAG)
    assert_same(restored, expected)


def test_what_is_given_up_while_it_is_written_replaces_nothing_and_leaves_nothing(
    gate: Gate, kept: CheckpointWriter[Slot], tmp_path: Path
) -> None:
    kept.take(Slot(), advanced(9), TAG)
    assert gate.entered.wait(LONG)
    kept.give_up(Slot())
    gate.drop(Slot())
    gate.let_go.set()
    written(kept)
    assert kept.take_written() == []
    assert not (tmp_path / "kept").exists()


def test_what_another_writes_meanwhile_is_not_replaced(
    gate: Gate, kept: CheckpointWriter[Slot], tmp_path: Path
) -> None:
    kept.take(Slot(), advanced(9), TAG)
    assert gate.entered.wait(LONG)
    kept.give_up(Slot())
    assert Checkpoints(tmp_path / "kept").save(Slot(), advanced(12), TAG)
    gate.let_go.set()
    written(kept)
    restored = fresh()
    assert gate.restore(Slot(), restored, TAG)
    assert restored.step == 12


def test_closed_it_gives_up_on_what_is_not_whole(gate: Gate, kept: CheckpointWriter[Slot]) -> None:
    for number in range(3):
        assert kept.take(Slot(1, number), advanced(2), TAG)
    kept.close()
    gate.let_go.set()
    written(kept)
    assert kept.take_written() == []


def test_of_large_trials_few_copies_are_in_memory(gate: Gate, kept: CheckpointWriter[Slot]) -> None:
    kept.room = 0
    run = advanced(2)
    taken = [kept.take(Slot(1, number), run, TAG) for number in range(4)]
    assert taken == [True, True, False, False]
    gate.let_go.set()
    written(kept)
    assert kept.take(Slot(1, 3), run, TAG)


def test_a_write_that_fails_is_a_warning_and_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    kept = CheckpointWriter(Checkpoints(tmp_path / "file" / "below"))
    kept.take(Slot(), advanced(2), TAG)
    written(kept)
    kept.close()
    assert kept.take_written() == []
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


def test_a_host_without_room_for_a_copy_trains_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_part: Any) -> Any:
        raise RuntimeError("CUDA error: out of memory")  # what pinning memory says

    monkeypatch.setattr(background, "_copied", full)
    kept = CheckpointWriter(Checkpoints(tmp_path / "kept"))
    assert kept.take(Slot(), advanced(2), TAG)
    assert not kept.busy
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


def test_a_copy_holds_no_tensor_of_the_trials_own() -> None:
    state = advanced(3).state()
    pairs = list(tensors(state, background.copied(state)))
    assert len(pairs) > 4
    for own, copy in pairs:
        assert torch.equal(own, copy)
        assert own.data_ptr() != copy.data_ptr()


def tensors(one: Any, other: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    if isinstance(one, torch.Tensor):
        yield one, other
    elif isinstance(one, dict):
        for key in one:
            yield from tensors(one[key], other[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            yield from tensors(a, b)
