"""What is read for many who ask: seldom, by one at a time, and without letting anyone wait long."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any

import pytest

from batchfront.errors import StorageError
from batchfront.report.web.latest import Latest
from tests.waiting import LONG, eventually


def test_what_was_read_lately_is_told_again() -> None:
    numbers = count()
    latest = Latest(lambda: next(numbers), every=LONG, patience=LONG)
    assert [latest.get() for _ in range(3)] == [0, 0, 0]


def test_it_is_read_anew_when_it_is_old() -> None:
    numbers = count()
    latest = Latest(lambda: next(numbers), every=0.0, patience=LONG)
    first = latest.get()
    assert first is not None
    assert eventually(lambda: (latest.get() or 0) > first)


def test_all_who_ask_at_once_wait_for_one_read() -> None:
    begun, go_on, reads = Event(), Event(), count()

    def read() -> int:
        begun.set()
        assert go_on.wait(LONG)
        return next(reads)

    latest = Latest(read, every=LONG, patience=LONG)
    with ThreadPoolExecutor(5) as people:
        asked = [people.submit(latest.get) for _ in range(5)]
        assert begun.wait(LONG)
        go_on.set()
        assert [one.result(LONG) for one in asked] == [0] * 5


def test_nobody_waits_for_a_database_that_hangs_and_it_is_not_asked_again_meanwhile() -> None:
    go_on, reads = Event(), count()

    def read() -> int:
        found = next(reads)
        assert go_on.wait(LONG)
        return found

    latest = Latest(read, every=0.0, patience=0.01)
    assert [latest.get() for _ in range(4)] == [None] * 4
    assert next(reads) == 1
    go_on.set()
    assert eventually(lambda: latest.get() is not None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageError("database x: gone\nand more"), "database x: gone"),
        (KeyError("goal"), "KeyError: 'goal'"),
    ],
)
def test_what_can_t_be_read_is_none_said_once_and_read_again(
    caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    caplog.set_level(logging.WARNING)
    failing = [True]

    def read() -> Any:
        if failing:
            raise error
        return "well"

    latest: Latest[Any] = Latest(read, every=0.0, patience=LONG)
    assert [latest.get() for _ in range(3)] == [None] * 3
    assert caplog.messages == [said]
    failing.clear()
    assert eventually(latest.get) == "well"


def test_a_process_ends_without_waiting_for_a_read_that_hangs() -> None:
    code = """
from threading import Event
from batchfront.report.web.latest import Latest
print(Latest(Event().wait, 1.0, 0.01).get())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG
    )
    assert (done.returncode, done.stdout) == (0, "None\n")
