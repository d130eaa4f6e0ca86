"""Runs are read from what TensorBoard's and PyTorch's writers leave in a folder."""

from pathlib import Path

import pytest

from batchfront.errors import DataError, UsageError
from batchfront.exchange.trackers.finished import FinishedRun
from batchfront.exchange.trackers.runs import TrackedRun

pytest.importorskip("tensorboard")
SummaryWriter = pytest.importorskip("torch.utils.tensorboard").SummaryWriter


def runs(folder: Path) -> dict[str, FinishedRun]:
    """By name."""
    from batchfront.exchange.trackers.event_files import read_runs

    found = list(read_runs(folder))
    assert all(isinstance(one, FinishedRun) for one in found)
    return {one.name: one for one in found if isinstance(one, FinishedRun)}


def write(folder: Path, new_style: bool) -> None:
    """A run with PyTorch's writer, with its hyperparameters in a folder of their own."""
    writer = SummaryWriter(str(folder))
    for step, value in ((10, 1.0), (20, 0.25)):
        writer.add_scalar("val/loss", value, step, new_style=new_style)
    writer.add_text("notes", "no scalar")
    writer.add_hparams({"batch_size": 64, "lr": 0.5, "nesterov": True, "net": "mlp"}, {"best": 1.0})
    writer.close()


@pytest.mark.parametrize("new_style", [False, True])
def test_pytorch_s_runs_have_scalars_and_the_hyperparameters_of_the_folder_within(
    tmp_path: Path, new_style: bool
) -> None:
    write(tmp_path / "a", new_style)
    (run,) = runs(tmp_path).values()
    assert run.name == "a"
    assert run.curves["val/loss"] == ((10, 1.0), (20, 0.25))
    assert run.params == {"batch_size": "64", "lr": "0.5", "nesterov": "1", "net": "mlp"}


@pytest.mark.parametrize("new_style", [False, True])
def test_a_value_at_the_goal_is_not_below_it(tmp_path: Path, new_style: bool) -> None:
    """TensorBoard keeps 0.03 as 0.0299999993."""
    writer = SummaryWriter(str(tmp_path / "a"))
    for step, value in ((1, 0.04), (2, 0.03), (3, 0.029)):
        writer.add_scalar("error", value, step, new_style=new_style)
    writer.close()
    (run,) = runs(tmp_path).values()
    assert run.curves["error"] == ((1, 0.04), (2, 0.03), (3, 0.029))


def test_the_outcome_that_track_writes_is_no_metaparameter(tmp_path: Path) -> None:
    from batchfront.exchange.trackers.tensorboard import open_tracker

    curves = {"error": ((1, 0.5),)}
    tags = {"outcome": "stalled"}
    config = {"batch_size": 8, "lr": 0.1}
    open_tracker(str(tmp_path)).write(
        TrackedRun("key", "a/b/c", "b8", "trial", config, tags, {}, curves, 0.0, 1.0)
    )
    (run,) = runs(tmp_path).values()
    assert set(run.params) == {"batch_size", "lr"}


def test_several_workloads_that_track_wrote_are_not_taken_for_one(tmp_path: Path) -> None:
    from batchfront.exchange.trackers.tensorboard import open_tracker

    for name in ("a/b/c", "a/b/d"):
        open_tracker(str(tmp_path)).write(TrackedRun(name[-1], name, "b8", "trial", {}, {}, {}))
    with pytest.raises(UsageError, match="several workloads there; give the folder of one: "):
        runs(tmp_path)
    assert list(runs(tmp_path / "a" / "b" / "d")) == ["b8/trial"]


def test_a_run_in_the_folder_itself_has_its_name(tmp_path: Path) -> None:
    write(tmp_path / "bs64", False)
    assert list(runs(tmp_path / "bs64")) == ["bs64"]


def test_a_damaged_file_takes_no_other_run_with_it(tmp_path: Path) -> None:
    from batchfront.exchange.trackers.event_files import read_runs

    for name in ("a", "b"):
        write(tmp_path / name, False)
    file = next(path for path in (tmp_path / "a").glob("*tfevents*"))
    data = bytearray(file.read_bytes())
    data[60] ^= 0xFF
    file.write_bytes(data)
    found = list(read_runs(tmp_path))
    assert [type(one) for one in found] == [DataError, FinishedRun]
    assert str(file) in str(found[0])


def test_a_folder_without_event_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no event files of TensorBoard in it"):
        runs(tmp_path)
