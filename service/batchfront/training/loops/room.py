"""How many loops are in memory together: by what the first ones have taken up at an evaluation."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil

from batchfront.training.memory import is_out_of_memory, release

LARGEST_HEAT = 256
"""Loops that a worker holds at most, however small they are."""

_SMALLEST = 1 << 20  # bytes that a loop counts as, at least


def measured_room(
    begin: Callable[[], AbstractContextManager[Any]],
    device: str,
    sharing: int,
    free: Callable[[str], int] | None = None,
) -> int:
    """Find out how many loops fit into memory at once.

    begin   -- trains one up to its first evaluation, where it stands until it is left
    sharing -- how many workers share the memory
    free    -- the bytes that are free on a device

    Returns at least one.
    """

    def room(each: int) -> int:
        # Half of what is free: whatever else runs here needs room too.
        left = (free or free_memory)(device) / 2 / max(sharing, 1)
        return min(1 + int(left / max(each, _SMALLEST)), LARGEST_HEAT)

    release()
    before = _taken(device)
    with begin():
        fits = room(_more(before, _taken(device)))
        if fits == LARGEST_HEAT:
            return fits
        # What is imported, loaded and made once for all counted as its own. A second one tells.
        before = _taken(device)
        try:
            with begin():
                return room(_more(before, _taken(device)))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return 1


def free_memory(device: str) -> int:
    """Bytes that are free: on the GPU; or on this machine, in what this process's container may
    use."""
    if device.startswith("cuda"):
        return int(sys.modules["torch"].cuda.mem_get_info(device)[0])
    available = int(psutil.virtual_memory().available)  # type: ignore[no-untyped-call]
    return min([available, *_left_of_container()])


def _left_of_container() -> Iterator[int]:
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        yield limit - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit
        return


def _taken(device: str) -> tuple[int, ...]:
    """Bytes that this process holds: with what torch keeps of a GPU to use it again, and without;
    or of the host's memory."""
    if device.startswith("cuda"):
        cuda = sys.modules["torch"].cuda
        return cuda.memory_reserved(device), cuda.memory_allocated(device)
    return (int(psutil.Process().memory_info().rss),)  # type: ignore[no-untyped-call]


def _more(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    return max(b - a for a, b in zip(before, after, strict=True))
