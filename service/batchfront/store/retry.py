"""Outlasting a database that doesn't answer for a while."""

import logging
import random
from collections.abc import Callable
from threading import Event
from time import monotonic, sleep
from typing import Protocol, TypeVar

from batchfront.errors import Unreachable
from batchfront.phase_timer import timed_as

log = logging.getLogger(__name__)

T = TypeVar("T")

_jitter = random.Random()  # its own: a trial seeds the process's, the same for every worker


class Tries(Protocol):
    """Runs an operation, perhaps more than once."""

    def __call__(self, operation: Callable[[], T], /) -> T: ...


class Patience:
    """Tries again, with growing pauses, what raises Unreachable.

    longest    -- seconds from the first failure after which the error is raised
    stop       -- when set, there is little time left: the error is raised soon
    pauses     -- seconds between two tries, at first and at most
    after_stop -- seconds that it goes on trying once `stop` is set
    """

    def __init__(
        self,
        longest: float,
        stop: Event,
        pauses: tuple[float, float] = (0.25, 10.0),
        after_stop: float = 3.0,
    ) -> None:
        self.longest, self.stop = longest, stop
        self._pauses, self._after_stop = pauses, after_stop
        self._stopped = 0.0  # when it was first seen to be set, by whichever operation

    def __call__(self, operation: Callable[[], T]) -> T:
        """What `operation` returns, which must be one that may be tried again."""
        pause, began = self._pauses[0], 0.0
        while True:
            try:
                found = operation()
            except Unreachable as error:
                now = monotonic()
                if not began:
                    began = now
                    log.warning("%s; trying again for %.0f s", error, self.longest)
                if self._over(now) or now - began > self.longest:
                    raise
                with timed_as("storage"):
                    if self._stopped:
                        sleep(self._pauses[0])
                    else:
                        # Not all workers at the same moment, when the server comes back.
                        self.stop.wait(pause * _jitter.uniform(0.7, 1.3))
                pause = min(2 * pause, self._pauses[1])
            else:
                if began:
                    log.warning("the database is back after %.0f s", monotonic() - began)
                return found

    def _over(self, now: float) -> bool:
        """Whether a worker that was told to stop has waited long enough."""
        if self.stop.is_set() and not self._stopped:
            self._stopped = now
        return bool(self._stopped) and now - self._stopped > self._after_stop


def impatient(operation: Callable[[], T]) -> T:
    """No second try."""
    return operation()
