"""TensorBoard: a folder for each run, with an event file for its curves and hyperparameters."""

import re
import shutil
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from batchfront.exchange.trackers.runs import TrackedRun, new_folder
from batchfront.printable import shell_line

_PART = ".part"

TOLD = ("outcome", "purpose")
"""Tags that stand among the hyperparameters, which are all that TensorBoard tells of a run."""


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, run: TrackedRun) -> bool:
        return any(self._of(run).glob(f"events.out.tfevents.*.{run.key}"))

    def write(self, run: TrackedRun) -> None:
        """Write the run's folder anew: what it held is another run of the same trial."""
        folder = self._of(run)
        part = folder.with_name(f"{folder.name}{_PART}")
        shutil.rmtree(part, ignore_errors=True)
        writer = EventFileWriter(str(part), filename_suffix=f".{run.key}")
        for value in _hparams(run):
            writer.add_event(Event(wall_time=run.started, summary=Summary(value=[value])))
        for name, curve in run.curves.items():
            for step, shown in curve:
                _add(writer, run, name, step, shown)
        for name, shown in run.summary.items():
            _add(writer, run, f"result/{name}", 0, shown)
        writer.close()
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)

    def _of(self, run: TrackedRun) -> Path:
        parts = [*run.workload.split("/"), run.group, run.name]
        return self._folder.joinpath(*map(_file_name, parts))

    def close(self) -> str:
        return f"look at them with: {shell_line(['tensorboard', '--logdir', str(self._folder)])}"


def open_tracker(where: str) -> _TensorBoard:
    """A folder, made if it isn't there."""
    folder = new_folder(where)
    return _TensorBoard(folder)


def _add(writer: Any, run: TrackedRun, name: str, step: int, shown: float) -> None:
    value = Summary.Value(tag=name, simple_value=shown)
    writer.add_event(Event(wall_time=run.finished, step=step, summary=Summary(value=[value])))


def _hparams(run: TrackedRun) -> list[Any]:
    """What the HPARAMS tab reads: the session's beginning, with its group, and its end."""
    start = SessionStartInfo(group_name=run.key, start_time_secs=run.started)
    said = {**run.config, **{name: run.tags.get(name, "") for name in TOLD}}
    for name, value in said.items():
        start.hparams[name].CopyFrom(_value(value))
    end = SessionEndInfo(status=Status.STATUS_SUCCESS, end_time_secs=run.finished)
    version = metadata.PLUGIN_DATA_VERSION
    began = HParamsPluginData(version=version, session_start_info=start)
    ended = HParamsPluginData(version=version, session_end_info=end)
    parts = {metadata.SESSION_START_INFO_TAG: began, metadata.SESSION_END_INFO_TAG: ended}
    return [
        Summary.Value(
            tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
        )
        for tag, data in parts.items()
    ]


def _file_name(text: str) -> str:
    """A name that leads nowhere else, whatever stands in the database."""
    name = re.sub(r"[^\w.@+=-]", "_", text)
    return name if name.strip(".") else "_"


def _value(value: object) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=value)
    return Value(string_value=str(value))
