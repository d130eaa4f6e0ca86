"""How many loops fit is told from what the first ones take up."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from batchfront.training.loops.room import LARGEST_HEAT, free_memory, measured_room

MIB = 1 << 20


@contextmanager
def taking(mebibytes: int) -> Iterator[None]:
    """A loop that holds so much."""
    held = np.ones(mebibytes * MIB, np.uint8)
    yield
    del held


def test_as_many_fit_as_half_of_what_is_free_holds() -> None:
    found = measured_room(lambda: taking(64), "cpu", 1, free=lambda _: 640 * MIB)
    assert 5 <= found <= 7


def test_workers_that_share_a_device_share_its_memory() -> None:
    found = measured_room(lambda: taking(64), "cpu", 5, free=lambda _: 640 * MIB)
    assert found in (1, 2)


def test_what_is_loaded_once_counts_once() -> None:
    loaded: list[np.ndarray] = []

    @contextmanager
    def begin() -> Iterator[None]:
        if not loaded:
            loaded.append(np.ones(256 * MIB, np.uint8))
        with taking(16):
            yield

    assert measured_room(begin, "cpu", 1, free=lambda _: 320 * MIB) >= 7


def test_a_second_one_that_does_not_fit_leaves_one() -> None:
    begun: list[int] = []

    @contextmanager
    def begin() -> Iterator[None]:
        begun.append(1)
        if len(begun) > 1:
            raise MemoryError
        with taking(64):
            yield

    assert measured_room(begin, "cpu", 1, free=lambda _: 64 * MIB) == 1


def test_small_loops_are_many_and_there_is_memory_here() -> None:
    assert measured_room(lambda: taking(0), "cpu", 1) == LARGEST_HEAT
    assert free_memory("cpu") > 0
