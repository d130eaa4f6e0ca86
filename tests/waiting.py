"""Waiting for what happens in another thread, process or page; and time that a test lets pass."""

import time
from collections.abc import Callable
from typing import Any

LONG = 240.0
"""Seconds that nothing takes which has not gone wrong, on a machine however busy."""


def eventually(holds: Callable[[], Any], why: str = "waited in vain", pause: float = 0.05) -> Any:
    """What `holds` returns once that is true; a test that waits in vain fails."""
    deadline = time.monotonic() + LONG
    while not (found := holds()):
        assert time.monotonic() < deadline, why
        time.sleep(pause)
    return found


class Seconds:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds
