"""Trials on disk, so that an interrupted one goes on where it stopped."""

import logging
import os
from contextlib import suppress
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
    """A folder of trial states, one file a slot, each replaced as a whole.

    Every state carries a tag that says what it is a state of. A database may be removed and its
    folder stay behind: a state under another tag is passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, slot: Named, run: TrialRun, tag: str) -> bool:
        """Keep a run's state; False, and a warning, if it can't be written."""
        path = self._path(slot)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({**run.state(), "tag": tag}, scratch)
            scratch.replace(path)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            log.warning("checkpoint of trial %s not written: %s", slot.number, error)
            return False
        return True

    def restore(self, slot: Named, run: TrialRun, tag: str) -> bool:
        """Bring a fresh run to where its checkpoint stands; False if there is none that fits."""
        path = self._path(slot)
        try:
            state: dict[str, Any] = torch.load(path, map_location=run.device, weights_only=True)
        except FileNotFoundError:
            return False
        except Exception as error:  # whatever a damaged file makes torch raise
            log.warning("checkpoint %s can't be read and is passed over: %s", path, error)
            return False
        if state.get("tag") != tag:
            log.warning("checkpoint %s is of something else and is passed over", path)
            return False
        run.restore(state)
        return True

    def drop(self, slot: Named) -> None:
        """Forget a slot that is done."""
        path = self._path(slot)
        with suppress(OSError):  # never there, or its folder still holds others
            path.unlink(missing_ok=True)
            path.parent.rmdir()
            self.folder.rmdir()

    def _path(self, slot: Named) -> Path:
        return self.folder / f"study-{slot.study_id}" / f"trial-{slot.number}.pt"
