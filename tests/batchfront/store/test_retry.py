"""A database that is away for a while is waited for, and no longer than that."""

import itertools
from collections.abc import Callable
from threading import Event, Timer
from time import monotonic

import pytest
from batchfront.errors import StorageError, Unreachable
from batchfront.store import retry as outage
from batchfront.store.retry import Patience


def failing(times: int, kind: type[Exception] = Unreachable) -> Callable[[], int]:
    """Raises so many times, and then returns how often it was called."""
    calls = itertools.count(1)

    def operation() -> int:
        if (call := next(calls)) <= times:
            raise kind("the database is away")
        return call

    return operation


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(outage, "_LONGEST_PAUSE", 0.01)


def test_it_tries_again_until_it_works_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert Patience(60, Event())(failing(7)) == 8
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "the database is away; trying again for 60 s"
    assert said[1].startswith("the database is back after")
    assert len(said) == 2


def test_after_the_longest_outage_it_gives_up() -> None:
    with pytest.raises(Unreachable):
        Patience(0.05, Event())(failing(10**9))


def test_what_no_waiting_mends_is_raised_at_once() -> None:
    operation = failing(1, StorageError)
    with pytest.raises(StorageError):
        Patience(60, Event())(operation)
    assert operation() == 2


def test_a_worker_told_to_stop_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_AFTER_STOP", 0.1)
    stop = Event()
    Timer(0.1, stop.set).start()
    began = monotonic()
    with pytest.raises(Unreachable):
        Patience(3600, stop)(failing(10**9))
    assert monotonic() - began < 30


def test_told_to_stop_before_it_is_tried_all_the_same() -> None:
    stop = Event()
    stop.set()
    assert Patience(3600, stop)(failing(1)) == 2
