"""A trial becomes a run in each tracker, once, with its batch size, outcome and learning curves."""

import math
import sqlite3
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchfront.errors import UsageError
from batchfront.exchange.trackers.runs import TrackedRun, count_runs, tracked_runs
from batchfront.exchange.trackers.tracker import TRACKERS, open_tracker, parse_place, write_runs
from batchfront.store.snapshot import snapshot
from tests.batchfront.exchange.trackers.stored import NAME, search


@pytest.fixture
def found(tmp_path: Path) -> list[TrackedRun]:
    """The runs of a search."""
    with snapshot(search(tmp_path)) as moment:
        runs = list(tracked_runs(moment, [NAME]))
        assert len(runs) == count_runs(moment, [NAME])
    return runs


def written(tracker: str, where: Path, runs: list[TrackedRun]) -> tuple[int, int]:
    """How many are new, and how many were there, in a tracker that is opened anew."""
    opened = open_tracker(tracker, str(where))
    counts = write_runs(opened, runs, lambda _: None)
    opened.close()
    return counts


def test_each_trial_is_a_run_and_so_is_the_frontier(found: list[TrackedRun]) -> None:
    assert [run.name for run in found] == [
        "b8 trial 0", "b8 trial 1", "b16 trial 0", "b16 trial 1", "frontier",
    ]  # fmt: skip
    first, second, *_, frontier = found
    assert (first.group, first.tags["outcome"]) == ("b8", "reached")
    assert first.config == {"batch_size": 8, "seed": 7, "learning_rate": 0.5}
    assert first.summary["steps_to_target"] == 40
    assert first.summary["examples_to_target"] == 320
    assert first.curves == {"validation/error rate": [(20, 0.5), (40, 0.125)]}
    assert second.tags["outcome"] == "diverged"
    assert "steps_to_target" not in second.summary
    ((_, value),) = second.curves["validation/error rate"]
    assert math.isnan(value)
    assert frontier.curves == {"frontier/steps_to_target": [(8, 40.0), (16, 40.0)]}


def test_a_trial_that_ran_again_is_another_run(tmp_path: Path) -> None:
    keys = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with snapshot(search(tmp_path / name)) as moment:
            keys.append([run.key for run in tracked_runs(moment, [])])
    assert keys[0][0] != keys[1][0]
    assert len(set(keys[0])) == 5


@pytest.mark.parametrize("name", ["mlflow", "tensorboard", "trackio", "wandb"])
def test_what_is_there_is_not_written_again(
    name: str, tmp_path: Path, found: list[TrackedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    assert written(name, tmp_path / "runs", found[:2]) == (2, 0)
    assert written(name, tmp_path / "runs", found) == (3, 2)


def test_tensorboard_reads_curves_results_and_hyperparameters(
    tmp_path: Path, found: list[TrackedRun]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    written("tensorboard", tmp_path, found)
    read = EventAccumulator(str(tmp_path / "toy/line/sgd/b8/b8_trial_0"))
    read.Reload()
    curve = [(one.step, one.value) for one in read.Scalars("validation/error rate")]
    assert curve == [(20, 0.5), (40, 0.125)]
    assert [one.value for one in read.Scalars("result/steps_to_target")] == [40.0]
    told = read.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(told).hparams
    assert hparams["learning_rate"].number_value == 0.5
    assert hparams["batch_size"].number_value == 8
    assert hparams["outcome"].string_value == "reached"


def test_names_in_a_database_lead_out_of_no_folder(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = TrackedRun("0" * 16, "../../x/..", "b8", "../trial 0", {}, {}, {})
    written("tensorboard", tmp_path / "runs", [run])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.parent.relative_to(tmp_path) == Path("runs/_/_/x/_/b8/.._trial_0")


def test_mlflow_has_an_experiment_with_tags_parameters_and_metrics(
    tmp_path: Path, found: list[TrackedRun]
) -> None:
    pytest.importorskip("mlflow")
    written("mlflow", tmp_path / "runs", found)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == NAME]
    query = "tags.group = 'b8' and tags.outcome = 'reached'"
    (run,) = client.search_runs([experiment.experiment_id], query)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"batch_size": "8", "seed": "7", "learning_rate": "0.5"}
    assert run.data.metrics["steps_to_target"] == 40
    history = client.get_metric_history(run.info.run_id, "validation/error rate")
    assert [(one.step, one.value) for one in history] == [(20, 0.5), (40, 0.125)]


def test_mlflow_s_run_that_was_not_written_whole_is_written_anew(
    tmp_path: Path, found: list[TrackedRun]
) -> None:
    pytest.importorskip("mlflow")
    from batchfront.exchange.trackers.mlflow import open_client, runs_of

    written("mlflow", tmp_path / "runs", found[:1])
    client = open_client(str(tmp_path / "runs"))
    (experiment,) = [e for e in client.search_experiments() if e.name == NAME]
    (run,) = runs_of(client, experiment.experiment_id)
    client.update_run(run.info.run_id, status="RUNNING")
    assert written("mlflow", tmp_path / "runs", found[:1]) == (1, 0)
    assert len(list(runs_of(client, experiment.experiment_id))) == 1


def test_wandb_s_offline_run_holds_group_tags_config_and_history(
    tmp_path: Path, found: list[TrackedRun]
) -> None:
    pytest.importorskip("wandb")
    written("wandb", tmp_path, found[:1])
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{found[0].key}")
    records = list(_records(folder / f"run-{found[0].key}.wandb"))
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_group, list(run.tags)) == (
        "toy-line-sgd",
        "b8",
        ["reached", "search"],
    )
    config = {item.key: item.value_json for item in run.config.update}
    assert config["learning_rate"] == "0.5"
    shown = [
        {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [(row["_step"], row["validation/error rate"]) for row in shown] == [
        ("20", "0.5"), ("40", "0.125"),
    ]  # fmt: skip


def _records(file: Path) -> Iterator[Any]:
    """The records of W&B's file: after 7 bytes, each with its checksum, length and kind, in blocks
    of 32 KiB, of which such a run needs one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from wandb.proto.wandb_internal_pb2 import Record
    data, at = file.read_bytes(), 7
    while at < len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        assert kind == 1, "a record that goes on in another block"
        record = Record()
        record.ParseFromString(data[at + 7 : at + 7 + length])
        yield record
        at += 7 + length


@pytest.mark.parametrize("text", ["", "mlflow", "mlflow:", "comet:x", ":x"])
def test_a_place_is_written_one_way(text: str) -> None:
    with pytest.raises(UsageError, match=r"write one of mlflow:WHERE"):
        parse_place(text)


def test_a_windows_or_web_address_stays_whole() -> None:
    assert parse_place("mlflow:http://localhost:5000") == ("mlflow", "http://localhost:5000")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setitem(sys.modules, name, None)
    for module in [one for one in sys.modules if one.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delitem(sys.modules, f"batchfront.exchange.trackers.{name}", raising=False)
    with pytest.raises(UsageError, match=rf"{name} is not installed: .*\[{name}\]"):
        open_tracker(name, str(tmp_path))


def test_a_text_that_no_file_can_hold_is_written_as_python_writes_it(tmp_path: Path) -> None:
    url = search(tmp_path)
    with sqlite3.connect(tmp_path / "batchfront.db") as database:
        database.execute("""update bf_slots set params = '{"flavour": "a\\ud800"}'""")
    with snapshot(url) as moment:
        run = next(tracked_runs(moment, []))
    assert run.config["flavour"] == "a\\ud800"
