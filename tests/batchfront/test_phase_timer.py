"""A clock's parts exclude each other, and add up to its life."""

from threading import Thread
from time import perf_counter, sleep

import pytest
from batchfront.phase_timer import Clock, timed_as


def test_what_comes_before_a_clock_is_entered_is_set_up() -> None:
    clock = Clock()
    sleep(0.02)
    with clock:
        pass
    assert clock.seconds()["set-up"] >= 0.02


def test_a_part_pauses_the_one_around_it() -> None:
    @timed_as("evaluation")
    def evaluate() -> None:
        sleep(0.05)

    with Clock() as clock, timed_as("training"):
        evaluate()
    assert clock.seconds()["evaluation"] >= 0.05
    assert clock.seconds()["training"] < 0.05


def test_the_parts_add_up_to_the_clocks_life() -> None:
    before = perf_counter()
    clock = Clock()
    after = perf_counter()
    with clock:
        for _ in range(100):
            with timed_as("storage"), timed_as("data"):
                pass
    with timed_as("waiting"):  # by now nobody counts
        sleep(0.02)
    asked = perf_counter()
    whole = sum(clock.seconds().values())
    assert asked - after <= whole <= perf_counter() - before
    assert "waiting" not in clock.seconds()


def test_an_error_ends_its_parts() -> None:
    with Clock() as clock:
        with pytest.raises(RuntimeError), timed_as("training"), timed_as("storage"):
            raise RuntimeError
        before = clock.seconds()
        sleep(0.02)
    after = clock.seconds()
    assert after["other"] - before["other"] >= 0.02
    assert after["training"] == before["training"]


def test_what_other_threads_do_is_not_counted_but_they_may_ask() -> None:
    found = []

    def beside() -> None:
        with timed_as("storage"):
            found.append(clock.seconds())

    with Clock() as clock, timed_as("training"):
        thread = Thread(target=beside)
        thread.start()
        thread.join()
    assert "storage" not in clock.seconds()
    assert 0 < found[0]["training"] <= clock.seconds()["training"]


def test_a_clock_within_another_gives_the_thread_back_to_it() -> None:
    with Clock() as outer:
        with Clock() as inner, timed_as("training"):
            pass
        with timed_as("storage"):
            pass
    assert "training" in inner.seconds()
    assert "storage" not in inner.seconds()
    assert "storage" in outer.seconds()
