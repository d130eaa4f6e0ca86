"""Waiting for what happens in another thread, process or page."""

import time
from collections.abc import Callable
from typing import Any


def eventually(
    holds: Callable[[], Any], seconds: float = 60, why: str = "waited in vain", pause: float = 0.05
) -> Any:
    """What `holds` returns once that is true; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, why
        time.sleep(pause)
    return found
