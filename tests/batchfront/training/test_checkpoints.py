"""Checkpoints: whole or not at all, and never a reason to lose a trial."""

import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from typing import Any

import fsspec
import pytest
import torch

from batchfront.errors import UsageError
from batchfront.training import checkpoints as checkpoint
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.model_run import ModelRun
from batchfront.workload.algorithm import TorchOptimizer
from tests.batchfront.training.test_model_run import ALGORITHMS, assert_same, every_algorithm
from tests.batchfront.training.test_model_run import fresh as fresh_run
from tests.batchfront.training.test_model_run import workload as made_of
from tests.toy import clouds, splits

DATA = splits()
TAG = "what it is a state of"


@dataclass(frozen=True)
class Slot:
    study_id: int = 1
    number: int = 4


def fresh() -> ModelRun:
    return fresh_run(clouds(), DATA)


def advanced(steps: int = 9) -> ModelRun:
    run = fresh()
    run.advance(steps)
    run.evaluate(full=True)
    return run


PLACES = ("a folder", "file://", "memory://")


@pytest.fixture(params=PLACES)
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoints]:
    """A place of each kind: a folder, the same as a URL, and an object store (in memory)."""
    if request.param == "memory://":
        url = f"memory://kept/{tmp_path.name}"
        yield Checkpoints(url, "a-database")
        files = fsspec.filesystem("memory")
        if files.exists("/kept"):
            files.rm("/kept", recursive=True)
    else:
        prefix = "file://" if request.param == "file://" else ""
        yield Checkpoints(f"{prefix}{tmp_path}/kept/here", "a-database")


def files(checkpoints: Checkpoints) -> list[str]:
    return list(checkpoints._files.find(checkpoints._root))


def write(checkpoints: Checkpoints, path: str, content: bytes) -> None:
    checkpoints._files.pipe_file(path, content)


@every_algorithm
def test_a_restored_run_stands_where_the_saved_one_stood(
    algorithm: Any, checkpoints: Checkpoints
) -> None:
    workload = made_of(algorithm, clouds().schedule)
    run, restored = fresh_run(workload, DATA), fresh_run(workload, DATA)
    run.advance(9)
    run.evaluate(full=True)
    assert checkpoints.save(Slot(), run, TAG)
    assert checkpoints.restore(Slot(), restored, TAG)
    assert_same(restored, run)
    for each in (run, restored):
        each.advance(20)
    assert_same(restored, run)


def test_every_algorithm_is_among_those_tested() -> None:
    assert [a.name for a in ALGORITHMS] == ["sgd", "momentum", "nesterov_momentum", "adamw"]


def test_without_a_checkpoint_a_run_starts_at_the_beginning(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    run = fresh()
    assert not checkpoints.restore(Slot(), run, TAG)
    assert run.step == 0
    assert not caplog.records


def test_slots_do_not_see_each_others_checkpoints(checkpoints: Checkpoints) -> None:
    checkpoints.save(Slot(1, 4), advanced(), TAG)
    assert not checkpoints.restore(Slot(1, 5), fresh(), TAG)
    assert not checkpoints.restore(Slot(2, 4), fresh(), TAG)


def test_a_state_that_the_optimizer_can_not_go_on_from_is_passed_over_whole(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    def grouped(share: float) -> ModelRun:
        def factory(parameters: Any, *, learning_rate: float) -> torch.optim.Optimizer:
            slow = {"params": parameters[:2], "lr": share * learning_rate}
            return torch.optim.SGD([slow, {"params": parameters[2:]}], lr=learning_rate)

        workload = made_of(TorchOptimizer("grouped", factory), clouds().schedule)
        return fresh_run(workload, DATA)

    run, restored = grouped(1.0), grouped(0.01)
    run.advance(9)
    assert checkpoints.save(Slot(), run, TAG)
    assert not checkpoints.restore(Slot(), restored, TAG)
    assert "passed over: its parameter groups had other learning rates" in caplog.text
    assert_same(restored, grouped(0.01))


def test_a_later_checkpoint_replaces_the_earlier_one_and_leaves_nothing_beside_it(
    checkpoints: Checkpoints,
) -> None:
    run = advanced(3)
    checkpoints.save(Slot(), run, TAG)
    run.advance(8)
    checkpoints.save(Slot(), run, TAG)
    assert len(files(checkpoints)) == 1
    restored = fresh()
    checkpoints.restore(Slot(), restored, TAG)
    assert restored.step == 8


def test_a_writer_that_dies_midway_leaves_the_earlier_checkpoint_whole(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = advanced(3)
    checkpoints.save(Slot(), run, TAG)

    def dies(state: Any, file: Any) -> None:
        file.write(b"half of")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    run.advance(8)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(Slot(), run, TAG)
    restored = fresh()
    assert checkpoints.restore(Slot(), restored, TAG)
    assert restored.step == 3


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04half"])
def test_a_damaged_file_is_passed_over_with_a_warning(
    checkpoints: Checkpoints, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(Slot(), advanced(), TAG)
    (path,) = files(checkpoints)
    write(checkpoints, path, content)
    run = fresh()
    assert not checkpoints.restore(Slot(), run, TAG)
    assert run.step == 0
    assert "can't be read and is passed over" in caplog.text


def test_a_truncated_file_is_passed_over_with_a_warning(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(Slot(), advanced(), TAG)
    (path,) = files(checkpoints)
    write(checkpoints, path, checkpoints._files.cat_file(path)[:-200])
    assert not checkpoints.restore(Slot(), fresh(), TAG)
    assert "can't be read and is passed over" in caplog.text


def test_a_checkpoint_under_another_tag_is_passed_over_with_a_warning(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """Left by a database that was deleted and made anew with another definition, say."""
    checkpoints.save(Slot(), advanced(), TAG)
    run = fresh()
    assert not checkpoints.restore(Slot(), run, "something else")
    assert run.step == 0
    assert "is passed over" in caplog.text


def test_dropping_a_checkpoint_forgets_it_and_leaves_no_empty_folders(
    checkpoints: Checkpoints,
) -> None:
    checkpoints.save(Slot(1, 4), advanced(), TAG)
    checkpoints.save(Slot(1, 5), advanced(), TAG)
    checkpoints.drop(Slot(1, 4))
    assert not checkpoints.restore(Slot(1, 4), fresh(), TAG)
    assert checkpoints.restore(Slot(1, 5), fresh(), TAG)
    checkpoints.drop(Slot(1, 5))
    assert files(checkpoints) == []
    if "file" in checkpoints._files.protocol:
        assert not Path(checkpoints._root).exists()
    checkpoints.drop(Slot(1, 5))


def test_a_disk_error_is_a_warning_and_leaves_the_earlier_checkpoint(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = advanced(3)
    checkpoints.save(Slot(), run, TAG)

    def full(state: Any, file: Any) -> None:
        file.write(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        assert not checkpoints.save(Slot(), run, TAG)
    assert "checkpoint of trial 4 not written: [Errno 28]" in caplog.text
    assert len(files(checkpoints)) == 1
    assert checkpoints.restore(Slot(), fresh(), TAG)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_is_really_full_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path / "kept")
    folder = tmp_path / "kept" / "study-1"
    folder.mkdir(parents=True)
    (folder / f"trial-4.pt.{checkpoint._WRITER}-{get_ident():x}.tmp").symlink_to("/dev/full")
    assert not checkpoints.save(Slot(), advanced(), TAG)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert files(checkpoints) == []


def test_a_folder_that_cannot_be_made_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(tmp_path / "file" / "below")
    assert not checkpoints.save(Slot(), advanced(), TAG)
    assert "not written" in caplog.text
    checkpoints.drop(Slot())


def test_databases_that_share_a_place_do_not_see_each_others_checkpoints(tmp_path: Path) -> None:
    one, two = (Checkpoints(tmp_path / "kept", name) for name in ("one", "two"))
    one.save(Slot(), advanced(), TAG)
    assert not two.restore(Slot(), fresh(), TAG)
    two.drop(Slot())
    assert one.restore(Slot(), fresh(), TAG)


def test_a_place_that_no_file_system_is_known_for_is_named_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"--checkpoint-dir nowhere://x: .*not known: nowhere"):
        Checkpoints("nowhere://x")


def test_nothing_that_a_checkpoint_holds_is_unpickled(
    checkpoints: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(Slot(), advanced(), TAG)
    (path,) = files(checkpoints)
    evil = tmp_path / "evil.pt"
    torch.save({"tag": TAG, "step": Touch(tmp_path / "touched")}, evil)
    write(checkpoints, path, evil.read_bytes())
    assert not checkpoints.restore(Slot(), fresh(), TAG)
    assert not (tmp_path / "touched").exists()
    assert "can't be read and is passed over" in caplog.text


class Touch:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_store_that_has_a_bad_moment_is_asked_again(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(Slot(), advanced(), TAG)
    load, failures = Checkpoints._load, [OSError("timed out"), OSError("timed out")]

    def fails(self: Checkpoints, path: str) -> Any:
        if failures:
            raise failures.pop()
        return load(self, path)

    monkeypatch.setattr(Checkpoints, "_load", fails)
    checkpoints.pauses = (0.0, 0.0)
    run = fresh()
    assert checkpoints.restore(Slot(), run, TAG)
    assert run.step == 9


def test_what_a_killed_writer_left_goes_with_the_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "kept")
    checkpoints.save(Slot(), advanced(), TAG)
    left = tmp_path / "kept" / "study-1" / "trial-4.pt.0123abcd.tmp"
    left.write_bytes(b"half of")
    checkpoints.drop(Slot())
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_another_takes_away_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, write, dropped = Checkpoints(tmp_path / "kept"), Checkpoints._write, []

    def interrupted(self: Checkpoints, state: Any, path: str) -> None:
        if not dropped:
            dropped.append(True)
            raise FileNotFoundError(path)
        write(self, state, path)

    monkeypatch.setattr(Checkpoints, "_write", interrupted)
    assert checkpoints.save(Slot(), advanced(), TAG)
    assert checkpoints.restore(Slot(), fresh(), TAG)
