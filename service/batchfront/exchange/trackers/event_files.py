"""Finished runs from a folder of TensorBoard's event files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata

from batchfront.errors import DataError, ProgramError, UsageError
from batchfront.exchange.trackers.finished import FinishedRun, last_at_each_step
from batchfront.training.programs.event_file import EventFile


def read_runs(folder: Path) -> Iterator[FinishedRun | DataError]:
    """The runs below a folder: each folder that holds event files is one, named by its path; or
    what is wrong with one of its files.

    Raises UsageError where there is none.
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
            yield FinishedRun(name, shown, held.params, whole)


@dataclass
class _Held:
    """What a folder's event files hold."""

    params: dict[str, str] = field(default_factory=dict)
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
                    self.params.update(_hparams(file, shown.metadata.plugin_data.content))


def _hparams(file: Path, content: bytes) -> dict[str, str]:
    """The hyperparameters of a session; without the outcome, which `track` writes among them."""
    found = {}
    session = metadata.parse_session_start_info_plugin_data(content)
    ours = bool(session.group_name) and file.name.endswith(f".{session.group_name}")
    for name, value in session.hparams.items():
        if ours and name == "outcome":
            continue
        kind = value.WhichOneof("kind")
        held = getattr(value, kind) if kind else ""
        found[name] = f"{held:.17g}" if isinstance(held, float) else str(held)
    return found
