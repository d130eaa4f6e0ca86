"""A database that is away for a while is waited for, and no longer than that."""

import itertools
from collections.abc import Callable
from threading import Event, Timer

import pytest

from batchfront.errors import StorageError, Unreachable
from batchfront.store.retry import Patience


def failing(times: int, kind: type[Exception] = Unreachable) -> Callable[[], int]:
    """Raises so many times, and then returns how often it was called."""
    calls = itertools.count(1)

    def operation() -> int:
        if (call := next(calls)) <= times:
            raise kind("the database is away")
        return call

    return operation


def patience(longest: float, stop: Event | None = None) -> Patience:
    return Patience(longest, stop or Event(), pauses=(0.001, 0.01), after_stop=0.05)


def test_it_tries_again_until_it_works_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert patience(60)(failing(7)) == 8
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "the database is away; trying again for 60 s"
    assert said[1].startswith("the database is back after")
    assert len(said) == 2


def test_after_the_longest_outage_it_gives_up() -> None:
    with pytest.raises(Unreachable):
        patience(0.05)(failing(10**9))


def test_what_no_waiting_mends_is_raised_at_once() -> None:
    operation = failing(1, StorageError)
    with pytest.raises(StorageError):
        patience(60)(operation)
    assert operation() == 2


def test_a_worker_told_to_stop_does_not_wait_to_the_end() -> None:
    stop = Event()
    Timer(0.05, stop.set).start()
    with pytest.raises(Unreachable):
        patience(10**9, stop)(failing(10**9))


def test_told_to_stop_before_it_is_tried_all_the_same() -> None:
    stop = Event()
    stop.set()
    assert patience(3600, stop)(failing(1)) == 2
