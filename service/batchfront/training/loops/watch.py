"""Watches over turns that don't come to their yield: says where they are, and breaks them off."""

import ctypes
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread, get_ident
from time import monotonic

from batchfront.workload.user_error import is_installed

log = logging.getLogger(__name__)

_OURS = Path(__file__).parents[2]


class BrokenOff(BaseException):
    """Raised inside of a turn that went on after the worker was told to stop: no `Exception`, so
    that a loop that catches those doesn't catch it."""


@dataclass
class _Turn:
    what: str
    stop: Event | None
    thread: int = field(default_factory=get_ident)
    began: float = field(default_factory=monotonic)
    stopped: float | None = None  # when it was seen that it should stop
    broken: bool = False


class Watch:
    """The watch over one thread's turns, from a thread of its own, which the first turn starts.

    silence -- seconds without a yield after which it is said, once a process and loop, where it is
    grace   -- seconds from the stop until a turn is broken off: what it holds beside would
               otherwise not be saved before the process is killed
    every   -- seconds between two glances
    """

    def __init__(self, silence: float = 300.0, grace: float = 2.0, every: float = 0.5) -> None:
        self._silence, self._grace, self._every = silence, grace, every
        self._lock = Lock()
        self._turn: _Turn | None = None
        self._said: set[str] = set()
        self._closed = Event()
        self._thread: Thread | None = None

    @contextmanager
    def over(self, loop: str, step: int, stop: Event | None) -> Iterator[None]:
        """A turn of a loop that has come to `step`, and that `stop` is to end.

        Raises BrokenOff inside of it.
        """
        turn = _Turn(f"{loop}: no yield since step {step}", stop)
        if self._thread is None:
            self._thread = Thread(target=self._glance, name="watch", daemon=True)
            self._thread.start()
        with self._lock:
            self._turn = turn
        try:
            yield
        finally:
            while self._turn is turn:
                with suppress(BrokenOff), self._lock:
                    self._turn = None
            if turn.broken:
                _absorb()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()

    def _glance(self) -> None:
        while not self._closed.wait(self._every):
            with self._lock:
                if self._turn is not None:
                    self._look_at(self._turn)

    def _look_at(self, turn: _Turn) -> None:
        now, loop = monotonic(), turn.what.partition(":")[0]
        if now - turn.began > self._silence and loop not in self._said:
            self._said.add(loop)
            log.warning(
                "%s for %.0f s; it is at %s. A loop can be compared, paused and stopped only where "
                "it yields",
                turn.what,
                now - turn.began,
                _place(turn.thread),
            )
        if turn.stop is None or not turn.stop.is_set():
            return
        turn.stopped = now if turn.stopped is None else turn.stopped
        if now - turn.stopped >= self._grace:
            turn.broken, turn.stopped = True, now  # and again, should it catch everything
            _raise_in(turn.thread, BrokenOff)


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread at its next instruction."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def _absorb() -> None:
    """Have no BrokenOff on its way to this thread any more, which may not have arrived yet.

    By one that replaces it and is caught: CPython 3.11 goes on looking for one that has been taken
    back, in all threads, and where one is traced it then never gets any further.
    """
    with suppress(BrokenOff):
        _raise_in(get_ident(), BrokenOff)
        while True:  # until it arrives
            pass


def _place(thread: int) -> str:
    """The innermost line of the user's own that a thread is at."""
    frames = traceback.extract_stack(sys._current_frames()[thread])
    own = [
        frame
        for frame in frames
        if _OURS not in Path(frame.filename).parents and not is_installed(Path(frame.filename))
    ]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
