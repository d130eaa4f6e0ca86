"""A clock's parts exclude each other, and add up to its life."""

from threading import Thread

import pytest

from batchfront.phase_timer import Clock, timed_as
from tests.waiting import Seconds


@pytest.fixture
def time() -> Seconds:
    return Seconds()


def test_what_comes_before_a_clock_is_entered_is_set_up(time: Seconds) -> None:
    clock = Clock(time)
    time.pass_by(2)
    with clock:
        pass
    assert clock.seconds()["set-up"] == 2


def test_a_part_pauses_the_one_around_it(time: Seconds) -> None:
    @timed_as("evaluation")
    def evaluate() -> None:
        time.pass_by(5)

    with Clock(time) as clock, timed_as("training"):
        time.pass_by(1)
        evaluate()
        time.pass_by(2)
    assert clock.seconds() == {"set-up": 0, "other": 0, "training": 3, "evaluation": 5}


def test_the_parts_add_up_to_the_clocks_life(time: Seconds) -> None:
    with Clock(time) as clock:
        for _ in range(100):
            with timed_as("storage"):
                time.pass_by(1)
                with timed_as("data"):
                    time.pass_by(2)
    with timed_as("waiting"):  # by now nobody counts
        time.pass_by(4)
    assert sum(clock.seconds().values()) == 304
    assert "waiting" not in clock.seconds()


def test_an_error_ends_its_parts(time: Seconds) -> None:
    with Clock(time) as clock:
        with pytest.raises(RuntimeError), timed_as("training"), timed_as("storage"):
            raise RuntimeError
        time.pass_by(2)
    assert clock.seconds() == {"set-up": 0, "other": 2, "training": 0, "storage": 0}


def test_what_other_threads_do_is_not_counted_but_they_may_ask(time: Seconds) -> None:
    found = []

    def beside() -> None:
        with timed_as("storage"):
            time.pass_by(1)
            found.append(clock.seconds())

    with Clock(time) as clock, timed_as("training"):
        thread = Thread(target=beside)
        thread.start()
        thread.join()
        time.pass_by(1)
    assert "storage" not in clock.seconds()
    assert (found[0]["training"], clock.seconds()["training"]) == (1, 2)


def test_a_clock_within_another_gives_the_thread_back_to_it() -> None:
    with Clock() as outer:
        with Clock() as inner, timed_as("training"):
            pass
        with timed_as("storage"):
            pass
    assert "training" in inner.seconds()
    assert "storage" not in inner.seconds()
    assert "storage" in outer.seconds()
