"""Trials kept in a folder or an object store, so that an interrupted one can go on."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import get_ident
from time import sleep
from typing import Any
from uuid import uuid4

from batchfront.errors import CheckpointError
from batchfront.phase_timer import timed_as
from batchfront.training.checkpoint_files import CheckpointFiles, Named
from batchfront.training.checkpoint_format import dump, is_tensor, load
from batchfront.training.memory import is_out_of_memory
from batchfront.training.run import Run, State

log = logging.getLogger(__name__)

_WRITER = uuid4().hex[:8]  # this process, among all that may write the same file


class Checkpoints(CheckpointFiles):
    """Trial states, one file a slot, each replaced as a whole.

    Every state carries a tag that says what it is a state of. Code may change between two
    workers: a state under another tag is passed over.

    pauses -- seconds between tries to read from a store that has a bad moment
    """

    pauses = (0.5, 2.0)

    def begin(self, runs: Sequence[Run]) -> None:
        """Nothing is to be done before the first of several is saved."""

    @timed_as("storage")
    def save(self, slot: Named, run: Run, tag: str) -> bool:
        """Keep a run's state. Returns False if it has none or, with a warning, can't be written."""
        state = run.state()
        return state is not None and self.write(slot, _unshared(state), tag)

    def write(
        self,
        slot: Named,
        state: State,
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
            log.warning(
                "checkpoint of trial %s not written: %s",
                slot.number,
                error,
                extra={"trial": slot.number},
            )
        return False

    def _write(self, state: State, path: str) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._files.open(path, "wb") as file:
            dump(state, file)

    @timed_as("storage")
    def restore(self, slot: Named, run: Run, tag: str) -> bool:
        """Bring a fresh run to where its checkpoint stands. Returns False if none fits."""
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

    def _read(self, path: str) -> State:
        for pause in self.pauses:
            try:
                return self._load(path)
            except FileNotFoundError:
                raise
            except OSError:
                sleep(pause)
        return self._load(path)

    def _load(self, path: str) -> State:
        with self._files.open(path, "rb") as file:
            return load(file)


def _unshared(part: Any) -> Any:
    """A state whose tensors lie by themselves: of one that is a part of another's storage, as a
    trial's weights are in a vectorized heat, torch would write the whole."""
    if is_tensor(part):
        alone = part.nbytes == part.untyped_storage().nbytes()
        return part if alone else part.detach().clone()
    match part:
        case dict():
            return {key: _unshared(value) for key, value in part.items()}
        case list() | tuple():
            return type(part)(map(_unshared, part))
    return part
