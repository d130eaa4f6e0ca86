"""A turn that takes long says where it is, and one that should end is ended."""

import logging
import sys
from contextlib import suppress
from threading import Event, Thread

import pytest

from batchfront.training.loops.watch import BrokenOff, Watch


class Heard(logging.Handler):
    """Knows when a warning has come."""

    def __init__(self) -> None:
        super().__init__()
        self.event = Event()

    def emit(self, _: logging.LogRecord) -> None:
        self.event.set()


@pytest.fixture
def heard() -> Heard:
    handler = Heard()
    logging.getLogger("batchfront.training.loops.watch").addHandler(handler)
    return handler


def test_a_long_silence_is_told_once_with_the_line(
    caplog: pytest.LogCaptureFixture, heard: Heard
) -> None:
    watch = Watch(silence=0.0, every=0.01)
    with watch.over("a/loop/sgd", 7, None):
        assert heard.event.wait(60)  # which is where it is
    heard.event.clear()
    with watch.over("a/loop/sgd", 8, None):
        heard.event.wait(0.1)
    watch.close()
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith(
        "a/loop/sgd: no yield since step 7 for 0 s; it is at test_watch.py, line"
    )
    assert "in test_a_long_silence_is_told_once_with_the_line" in text


def test_a_turn_goes_on_until_it_is_to_stop() -> None:
    stop, watch, rounds = Event(), Watch(grace=0.0, every=0.01), 0
    try:
        with watch.over("a/loop/sgd", 0, stop):
            while True:
                rounds += 1
                if rounds == 1000:
                    stop.set()
    except BrokenOff:
        watch.close()
    assert rounds >= 1000


def test_a_turn_that_ends_as_it_is_broken_off_breaks_nothing_later() -> None:
    stop = Event()
    stop.set()
    watch = Watch(grace=0.0, every=0.001)
    for _ in range(200):
        try:
            with watch.over("a/loop/sgd", 0, stop):
                sum(range(2000))
        except BrokenOff:
            pass
    watch.close()
    assert sum(range(200_000)) == 19999900000  # in which nothing is raised


def test_what_was_broken_off_leaves_nothing_that_other_threads_look_for() -> None:
    """CPython 3.11 would have a traced thread look for what was taken back for ever."""
    stop, ended = Event(), Event()
    stop.set()
    watch = Watch(grace=0.0, every=0.001)
    with suppress(BrokenOff), watch.over("a/loop/sgd", 1, stop):
        while True:
            pass
    watch.close()

    def give_way(*_: object) -> None:
        """Called while it is traced."""

    def traced() -> None:
        sys.settrace(lambda *_: give_way)
        give_way()
        sys.settrace(None)
        ended.set()

    Thread(target=traced, daemon=True).start()
    assert ended.wait(60)
