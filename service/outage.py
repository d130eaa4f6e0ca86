"""Outlasting a database that doesn't answer for a while."""

import logging
import random
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Protocol, TypeVar

from service.errors import Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0  # seconds between two tries
_AFTER_STOP = 3.0  # seconds that a worker which was told to stop goes on trying


class Tries(Protocol):
    """Runs an operation, perhaps more than once."""

    def __call__(self, operation: Callable[[], T], /) -> T: ...


class Patience:
    """Tries again, with growing pauses, what raises Unreachable.

    longest -- seconds from the first failure after which the error is raised
    stop    -- when set, there is little time left: the error is raised within seconds
    """

    def __init__(self, longest: float, stop: Event) -> None:
        self.longest, self.stop = longest, stop

    def __call__(self, operation: Callable[[], T]) -> T:
        """What `operation` returns, which must be one that may be tried again."""
        pause, began, stopped = _FIRST_PAUSE, 0.0, 0.0
        while True:
            try:
                found = operation()
            except Unreachable as error:
                now = monotonic()
                if not began:
                    began = now
                    log.warning("%s; trying again for %.0f s", error, self.longest)
                if self.stop.is_set() and not stopped:
                    stopped = now
                if now - began > self.longest or (stopped and now - stopped > _AFTER_STOP):
                    raise
                # Not all workers at the same moment, when the server comes back.
                wait = pause * random.uniform(0.7, 1.3)
                _ = Event().wait(0.5) if stopped else self.stop.wait(wait)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if began:
                    log.warning("the database is back after %.0f s", monotonic() - began)
                return found


def impatient(operation: Callable[[], T]) -> T:
    """No second try."""
    return operation()
