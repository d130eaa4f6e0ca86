"""Trials on disk, so that an interrupted one goes on where it stopped."""

import logging
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from service.training.trial import TrialRun

log = logging.getLogger(__name__)


class Named(Protocol):
    """What a checkpoint is filed under."""

    @property
    def study_id(self) -> int: ...
    @property
    def number(self) -> int: ...


class Checkpoints:
    """A folder of trial states, one file a slot, each replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, slot: Named, run: TrialRun) -> bool:
        """Keep a run's state; False, and a warning, if it can't be written."""
        path = self._path(slot)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(run.state(), scratch)
            scratch.replace(path)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            log.warning("checkpoint of trial %s not written: %s", slot.number, error)
            return False
        return True

    def restore(self, slot: Named, run: TrialRun) -> bool:
        """Bring a fresh run to where its checkpoint stands; False if there is none that fits."""
        path = self._path(slot)
        try:
            state: dict[str, Any] = torch.load(path, map_location=run.device, weights_only=True)
        except FileNotFoundError:
            return False
        except Exception as error:  # whatever a damaged file makes torch raise
            log.warning("checkpoint %s can't be read and is passed over: %s", path, error)
            return False
        run.restore(state)
        return True

    def drop(self, slot: Named) -> None:
        """Forget a slot that is done."""
        path = self._path(slot)
        try:
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError:
            pass  # never there, or another worker files something beside it just now

    def _path(self, slot: Named) -> Path:
        return self.folder / f"study-{slot.study_id}" / f"trial-{slot.number}.pt"
