"""Checkpoints written while the training goes on."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

from batchfront.phase_timer import timed_as
from batchfront.training.checkpoint_files import Named
from batchfront.training.checkpoint_format import is_tensor
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.memory import is_out_of_memory
from batchfront.training.run import Run, State

log = logging.getLogger(__name__)

_COPIES = 2  # in memory at a time: one that is being written, and the next

S = TypeVar("S", bound=Named)


@dataclass(eq=False)
class _Copy(Generic[S]):
    """A trial's state at a step, on its way to a file."""

    slot: S
    step: int
    state: State
    tag: str
    size: int
    wanted: bool = True


class CheckpointWriter(Generic[S]):
    """Takes copies of trials, and has a thread write them, one after another.

    A checkpoint counts once it is whole: `take_written` tells of those. One that has been given up
    on replaces no file any more: somebody else may have written it, or removed it.

    room -- bytes that copies may take up at a time, if they are more than two
    """

    room = 1 << 28

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.seconds = 0.0  # spent on writing, so far
        self._queue: SimpleQueue[_Copy[S] | None] = SimpleQueue()
        self._lock = Lock()
        self._pending: list[_Copy[S]] = []
        self._written: list[tuple[S, int]] = []
        self._thread: Thread | None = None

    @timed_as("storage")
    def take(self, slot: S, run: Run, tag: str) -> bool:
        """Copy a run's state, to be written. Nothing is copied of a run without a state, nor, which
        is a warning, where the host has no memory for it.

        Returns False while earlier copies take up the room.
        """
        with self._lock:
            sizes = [copy.size for copy in self._pending]
        if len(sizes) >= _COPIES and sum(sizes) + sizes[-1] > self.room:
            return False
        try:
            state = run.state()
            if state is None:
                return True
            state = copied(state)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning(
                "no memory for a checkpoint of trial %s: %s",
                slot.number,
                error,
                extra={"trial": slot.number},
            )
            return True
        copy = _Copy(slot, run.step, state, tag, sum(tensor.nbytes for tensor in _tensors(state)))
        with self._lock:
            self._pending.append(copy)
        if self._thread is None:
            self._thread = Thread(target=self._write, name="checkpoints", daemon=True)
            self._thread.start()
        self._queue.put(copy)
        return True

    @property
    def busy(self) -> bool:
        """Whether some copy is not written yet."""
        with self._lock:
            return bool(self._pending)

    def take_written(self) -> list[tuple[S, int]]:
        """Whose checkpoints have become whole since last asked, and at which steps."""
        with self._lock:
            found, self._written = self._written, []
        return found

    def give_up(self, slot: S) -> None:
        """What has been copied of this slot, and isn't whole yet, never will be."""
        with self._lock:
            for copy in self._pending:
                if (copy.slot.study_id, copy.slot.number) == (slot.study_id, slot.number):
                    copy.wanted = False

    def close(self) -> None:
        """Give up on everything that isn't whole yet."""
        with self._lock:
            for copy in self._pending:
                copy.wanted = False
        self._queue.put(None)

    def _write(self) -> None:
        while (copy := self._queue.get()) is not None:
            began = monotonic()
            if copy.wanted:
                self.checkpoints.write(copy.slot, copy.state, copy.tag, self._replacing(copy))
            self.seconds += monotonic() - began
            with self._lock:
                self._pending.remove(copy)
            del copy  # it may be a gigabyte, and the next may be an hour away

    def _replacing(self, copy: _Copy[S]) -> Any:
        @contextmanager
        def replacing() -> Iterator[bool]:
            # Under the lock: what is given up on after this was whole before.
            with self._lock:
                yield copy.wanted
                if copy.wanted:
                    self._written.append((copy.slot, copy.step))

        return replacing


def copied(state: Any) -> Any:
    """A run's state that training doesn't change any more: its tensors in the host's memory."""
    found = _copied(state)
    for device in {tensor.device for tensor in _tensors(state) if tensor.is_cuda}:
        sys.modules["torch"].cuda.synchronize(device)  # the copies are under way until then
    return found


def _copied(part: Any) -> Any:
    if is_tensor(part):
        # From pinned memory alone does a GPU copy without going through another.
        host = sys.modules["torch"].empty_like(part, device="cpu", pin_memory=part.is_cuda)
        return host.copy_(part.detach(), non_blocking=True)
    match part:
        case dict():
            return {key: _copied(value) for key, value in part.items()}
        case list() | tuple():
            return type(part)(_copied(value) for value in part)
    return part


def _tensors(part: Any) -> Iterator[Any]:
    if is_tensor(part):
        yield part
    match part:
        case dict():
            yield from _tensors(list(part.values()))
        case list() | tuple():
            for value in part:
                yield from _tensors(value)
