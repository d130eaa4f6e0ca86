"""Where a worker's time goes: in one part at a time, with nothing left out."""

from collections.abc import Callable
from contextlib import ContextDecorator
from threading import Lock, local
from time import perf_counter
from typing import Any, Literal

Part = Literal[
    "training", "evaluation", "data", "storage", "set-up", "sampling", "waiting", "other"
]
"""What time can go into. `data` is loading data sets, and waiting for batches; `storage` is the
database and checkpoints; `set-up` is imports, checks and models made; `sampling` is metaparameters
found for trials; `waiting` is for trials that others hold; `other` is what is left."""

_thread = local()  # `clock`: the one that counts the thread's time


class Clock:
    """Adds up one thread's time by part, from when it is made: until it is entered, as set-up.

    While it is entered, `timed_as` anywhere below counts in it. Other threads work beside that one,
    and what they do isn't counted.

    now -- tells the time, in seconds
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self._now = now
        self._seconds: dict[Part, float] = {}
        self._open: list[Part] = ["set-up"]
        self._since = now()
        self._lock = Lock()
        self._around: Clock | None = None

    def __enter__(self) -> "Clock":
        self._around = getattr(_thread, "clock", None)
        _thread.clock = self
        self.begin("other")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        _thread.clock = self._around

    def begin(self, part: Part) -> None:
        """From now on time goes into `part`; the part around it pauses."""
        with self._lock:
            self._turn()
            self._open.append(part)

    def end(self) -> None:
        """The part that began last is over, and the one around it goes on."""
        with self._lock:
            self._turn()
            self._open.pop()

    def seconds(self) -> dict[Part, float]:
        """By part, up to now; together they are the clock's life. For any thread."""
        with self._lock:
            self._turn()
            return dict(self._seconds)

    def _turn(self) -> None:
        now, part = self._now(), self._open[-1]
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._since
        self._since = now


class timed_as(ContextDecorator):  # noqa: N801 -- used as a word: with timed_as("storage")
    """Counts what is inside as this part, in the clock of the thread that is at it, if it has one.

    For a `with`, or a function's decorator. It takes about a microsecond: not for every step.
    """

    def __init__(self, name: Part) -> None:
        self._name: Part = name

    def __enter__(self) -> None:
        clock: Clock | None = getattr(_thread, "clock", None)
        if clock is not None:
            clock.begin(self._name)

    def __exit__(self, *_: Any) -> None:
        clock: Clock | None = getattr(_thread, "clock", None)
        if clock is not None:
            clock.end()
