"""Seconds between timed sizes follow a straight line where there is one, else the table."""

from dataclasses import replace

import pytest

from batchfront.advice.part_times import PartTimes, mean_seconds
from batchfront.errors import UsageError
from batchfront.vocabulary import TimedPart
from tests.step_truth import elsewhere, timing

SIZES = (8, 16, 32, 64, 128)


def of(*seconds: float) -> PartTimes:
    told = zip(SIZES, seconds, strict=False)
    found = PartTimes.of("micro-batches", [timing(TimedPart.PASS, *one) for one in told])
    assert found is not None
    return found


def test_a_straight_line_is_found_and_followed() -> None:
    times = of(*(0.004 + 0.0001 * size for size in SIZES))
    assert times.line == pytest.approx((0.004, 0.0001))
    between, beyond = times.at(48), times.at(256)
    assert (between.value, beyond.value) == pytest.approx((0.0088, 0.0296))
    assert not between.known
    assert between.note == ""
    assert beyond.note == (
        "Micro-batches of 256 examples were not timed: their seconds are extrapolated from those "
        "of 8 to 128."
    )
    assert beyond.error > between.error


def test_what_was_timed_is_given_as_it_was() -> None:
    found = of(0.01, 0.02, 0.03).at(16)
    assert (found.value, found.known, found.note) == (pytest.approx(0.02), True, "")


def test_without_a_line_the_table_is_interpolated_and_errs_more() -> None:
    times = of(0.010, 0.010, 0.011, 0.040, 0.041)
    assert times.line is None
    assert times.at(48).value == pytest.approx(0.0255)
    straight = of(*(0.004 + 0.0001 * size for size in SIZES))
    assert times.at(48).error > straight.at(48).error


def test_beyond_a_bent_table_seconds_lie_between_staying_and_growing_in_proportion() -> None:
    times = of(0.010, 0.010, 0.011, 0.040, 0.041)
    found = times.at(256)
    low, high = (found.value * (1 + sign * 1.65 * found.error) for sign in (-1, 1))
    assert 0.041 < found.value < 0.082
    assert low < 0.041 * 1.1
    assert high > 0.082 * 0.9


@pytest.mark.parametrize("size", [3, 257])
def test_past_twice_the_range_nothing_is_said(size: int) -> None:
    times = of(*(0.004 + 0.0001 * size for size in SIZES))
    with pytest.raises(UsageError, match=f"micro-batches of {size} examples: of 8 to 128 were"):
        times.at(size)


def test_a_single_size_tells_little_of_others() -> None:
    times = of(0.01)
    assert times.at(8).value == pytest.approx(0.01)
    assert 0.01 < times.at(16).value < 0.02
    with pytest.raises(UsageError, match="of 8 were timed"):
        times.at(17)


def test_of_skewed_repetitions_the_mean_is_what_adds_up() -> None:
    skewed = replace(timing(TimedPart.PASS, 8, 0.010), low=0.010, high=0.016)
    assert mean_seconds(skewed) == pytest.approx(0.012)
    (imported,) = elsewhere([(8, 1, 0.01)])
    assert mean_seconds(imported) == 0.01


def test_nothing_timed_is_nothing() -> None:
    assert PartTimes.of("micro-batches", []) is None
