"""Where programs that resume are kept while nobody runs them: in their trials' own folders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from batchfront.errors import CheckpointError
from batchfront.training.programs.folder import TrialFolders
from batchfront.training.programs.run import ProgramRun

STATE = "state.json"
"""In a trial's folder: what it had told when its program wrote its checkpoint."""


class Numbered(Protocol):
    """What a trial is filed under, beside its study."""

    @property
    def number(self) -> int: ...


class ProgramStates:
    """The states of a study's trials, each beside the checkpoint that its program has written.

    Programs end as they are saved. Whoever goes on has to reach the same folders.
    """

    def __init__(self, folders: TrialFolders, study: str) -> None:
        self._folders, self._study = folders, study

    def begin(self, runs: Sequence[ProgramRun]) -> None:
        """Have all of them write their checkpoints at once."""
        for run in runs:
            if run.trial.program.resume:
                run.close()

    def save(self, trial: Numbered, run: ProgramRun, tag: str) -> bool:
        """Keep a run. Returns whether it can go on from there."""
        state = run.state()
        if state is None:
            return False
        self._path(trial).write_text(json.dumps({**state, "tag": tag}))
        return True

    def restore(self, trial: Numbered, run: ProgramRun, tag: str) -> bool:
        """Bring a fresh run to where it was kept. Returns False if it wasn't, or is another's.

        What was kept counts once: should this start of the program die, its checkpoint may be newer
        than what it is known to have told.
        """
        path = self._path(trial)
        try:
            state = json.loads(path.read_text())
            path.unlink()
            if state.pop("tag") != tag:
                return False
            run.restore(state)
        except (OSError, ValueError, AttributeError, KeyError, CheckpointError):
            return False
        return True

    def drop(self, trial: Numbered) -> None:
        """Forget a trial that is over; what its program has left stays."""
        self._path(trial).unlink(missing_ok=True)

    def _path(self, trial: Numbered) -> Path:
        return self._folders.path(self._study, trial.number) / STATE
