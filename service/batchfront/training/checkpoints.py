"""Trials kept in a folder or an object store, so that an interrupted one can go on."""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from threading import get_ident
from time import sleep
from typing import Any, Protocol
from uuid import uuid4

import fsspec
import torch
from torch import Tensor

from batchfront.errors import CheckpointError, UsageError
from batchfront.phase_timer import timed_as
from batchfront.training.memory import is_out_of_memory
from batchfront.training.trial import TrialRun

log = logging.getLogger(__name__)


_PAUSES = (0.5, 2.0)  # seconds between tries to read from a store that has a bad moment


_WRITER = uuid4().hex[:8]  # this process, among all that may write the same file


class Named(Protocol):
    """What a checkpoint is filed under."""

    @property
    def study_id(self) -> int: ...
    @property
    def number(self) -> int: ...


class Checkpoints:
    """Trial states, one file a slot, each replaced as a whole.

    where    -- a folder, or any URL that fsspec has a file system for
    database -- the name of the database whose slots they are: several may share a place

    Every state carries a tag that says what it is a state of. Code may change between two
    workers: a state under another tag is passed over.
    """

    def __init__(self, where: str | os.PathLike[str], database: str = "") -> None:
        try:
            self._files, root = fsspec.url_to_fs(os.fspath(where))  # type: ignore[no-untyped-call]
        except (ImportError, ValueError) as error:
            raise UsageError(f"--checkpoint-dir {where}: {error}") from None
        self._root = root.rstrip("/")
        self._folder = f"{self._root}/{database}" if database else self._root

    @timed_as("storage")
    def save(self, slot: Named, run: TrialRun, tag: str) -> bool:
        """Keep a run's state; False, and a warning, if it can't be written."""
        return self.write(slot, _unshared(run.state()), tag)

    def write(
        self,
        slot: Named,
        state: dict[str, Any],
        tag: str,
        replacing: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> bool:
        """The same of a state, from any thread.

        replacing -- entered to put what has been written in the file's place; says whether it
                     still may be
        """
        path = self._path(slot)
        scratch = f"{path}.{_WRITER}-{get_ident():x}.tmp"
        state = {**state, "tag": tag}
        try:
            try:
                self._write(state, scratch)
            except FileNotFoundError:  # another's drop took the empty folder away meanwhile
                self._write(state, scratch)
            with replacing() as may:
                if may:
                    self._files.mv(scratch, path)
                    return True
            self._remove(scratch)
        except Exception as error:  # each file system has its own, and torch one for a full disk
            with suppress(Exception):
                self._files.rm_file(scratch)
            log.warning("checkpoint of trial %s not written: %s", slot.number, error)
        return False

    def _write(self, state: dict[str, Any], path: str) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._files.open(path, "wb") as file:
            torch.save(state, file)

    @timed_as("storage")
    def restore(self, slot: Named, run: TrialRun, tag: str) -> bool:
        """Bring a fresh run to where its checkpoint stands; False if there is none that fits."""
        path = self._path(slot)
        try:
            state = self._read(path)
        except FileNotFoundError:
            return False
        except Exception as error:  # whatever a damaged file makes torch raise
            if is_out_of_memory(error):
                raise
            log.warning("checkpoint %s can't be read and is passed over: %s", path, error)
            return False
        if state.get("tag") != tag:
            log.warning("checkpoint %s is of something else and is passed over", path)
            return False
        try:
            run.restore(state)
        except CheckpointError as error:
            log.warning("checkpoint %s is passed over: %s", path, error)
            return False
        return True

    def _read(self, path: str) -> dict[str, Any]:
        for pause in _PAUSES:
            try:
                return self._load(path)
            except FileNotFoundError:
                raise
            except OSError:
                sleep(pause)
        return self._load(path)

    def _load(self, path: str) -> dict[str, Any]:
        with self._files.open(path, "rb") as file:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return state

    @timed_as("storage")
    def drop(self, slot: Named) -> None:
        """Forget a slot that is done."""
        path = self._path(slot)
        if "file" in self._files.protocol:
            for left in Path(path).parent.glob(f"{Path(path).name}.*.tmp"):  # a killed writer's
                left.unlink(missing_ok=True)
        self._remove(path)

    def drop_study(self, study_id: int) -> None:
        """Forget all slots of a study that is deleted."""
        with suppress(FileNotFoundError):  # none was kept
            self._files.rm(f"{self._folder}/study-{study_id}", recursive=True)

    def _remove(self, path: str) -> None:
        """A file, and the folders that it leaves empty."""
        with suppress(Exception):  # never there
            self._files.rm_file(path)
        if "file" in self._files.protocol:  # elsewhere a folder is but a part of a file's name
            with suppress(OSError):  # not empty: it holds others
                for folder in (path.rpartition("/")[0], self._folder, self._root):
                    Path(folder).rmdir()

    def _path(self, slot: Named) -> str:
        return f"{self._folder}/study-{slot.study_id}/trial-{slot.number}.pt"


def _unshared(part: Any) -> Any:
    """A state whose tensors lie by themselves: of one that is a part of another's storage, as a
    trial's weights are in a vectorized heat, torch would write the whole."""
    match part:
        case Tensor():
            alone = part.nbytes == part.untyped_storage().nbytes()
            return part if alone else part.detach().clone()
        case dict():
            return {key: _unshared(value) for key, value in part.items()}
        case list() | tuple():
            return type(part)(map(_unshared, part))
    return part
