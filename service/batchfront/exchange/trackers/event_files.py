"""Finished runs from a folder of TensorBoard's event files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata

from batchfront.errors import DataError, ProgramError, UsageError
from batchfront.exchange.trackers.finished import (
    FinishedRun,
    last_at_each_step,
    what_track_wrote,
)
from batchfront.exchange.trackers.tensorboard import TOLD
from batchfront.phrases import first_few
from batchfront.training.programs.event_file import EventFile


def read_runs(folder: Path) -> Iterator[FinishedRun | DataError]:
    """The runs below a folder: each folder that holds event files is one, named by its path; or
    what is wrong with one of its files.

    Raises UsageError where there is none, and where `track` wrote several workloads there.
    """
    files = sorted(folder.rglob("*tfevents*"))
    if not files:
        raise UsageError(f"{folder}: has no event files of TensorBoard in it")
    found = {path: _Held() for path in dict.fromkeys(file.parent for file in files)}
    for file in files:
        try:
            found[file.parent].read(file)
        except (OSError, ProgramError) as error:
            found[file.parent].damaged = DataError(str(error))
    _refuse_several(folder, (path for path, held in found.items() if held.tags is not None))
    for path, held in found.items():
        above = found.get(path.parent)
        if above is not None and held.params and not above.params:
            above.params = held.params  # PyTorch's writer tells a run's in a folder within its own
            held.belongs_above = True
    for path, held in found.items():
        if held.damaged is not None:
            yield held.damaged
        elif not held.belongs_above:
            name = str(path.relative_to(folder))
            whole = {tag: tuple(last_at_each_step(curve)) for tag, curve in held.curves.items()}
            shown = folder.resolve().name if name == "." else name
            params, aside = held.params, ""
            if held.tags is not None:
                params, aside = what_track_wrote(params, held.tags.get("purpose", ""))
            yield FinishedRun(name, shown, params, whole, aside=aside)


def _refuse_several(folder: Path, tracked: Iterable[Path]) -> None:
    """Raise UsageError for folders of runs, as `track` names them, of more than one workload."""
    found = sorted({str(path.parent.parent) for path in tracked})
    if len(found) > 1:
        raise UsageError(
            f"{folder}: `track` wrote runs of several workloads there; give the folder of one: "
            f"{first_few(found)}"
        )


@dataclass
class _Held:
    """What a folder's event files hold. `tags` are of a run that `track` wrote."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] | None = None
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    damaged: DataError | None = None
    belongs_above: bool = False

    def read(self, file: Path) -> None:
        """Add an event file's scalars, by our reader, which compares their checksums, and its
        hyperparameters. Raises ProgramError if it is damaged."""
        for step, tag, value in EventFile(file).poll():
            self.curves.setdefault(tag, []).append((step, value))
        for event in LegacyEventFileLoader(str(file)).Load():
            for shown in event.summary.value:
                if shown.tag == metadata.SESSION_START_INFO_TAG:
                    self._take_hparams(file, shown.metadata.plugin_data.content)

    def _take_hparams(self, file: Path, content: bytes) -> None:
        session = metadata.parse_session_start_info_plugin_data(content)
        found = _hparams(session)
        if session.group_name and file.name.endswith(f".{session.group_name}"):
            self.tags = {name: found.pop(name) for name in TOLD if name in found}
        self.params.update(found)


def _hparams(session: Any) -> dict[str, str]:
    """The hyperparameters of a session."""
    found = {}
    for name, value in session.hparams.items():
        kind = value.WhichOneof("kind")
        held = getattr(value, kind) if kind else ""
        found[name] = f"{held:.17g}" if isinstance(held, float) else str(held)
    return found
