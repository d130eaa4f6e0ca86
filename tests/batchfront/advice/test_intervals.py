"""A number with its interval under multiplication and addition, and what it makes likely."""

from math import exp, log

import numpy as np
import pytest

from batchfront.advice.intervals import REACH_90, Interval


def test_a_product_is_as_wide_as_that_of_independent_draws() -> None:
    steps, seconds = Interval(1000, 700, 1600), Interval.around(0.02, 0.1)
    rng = np.random.default_rng(0)
    side = np.where(rng.random(100_000) < 0.5, log(1000 / 700), log(1.6)) / REACH_90
    away = np.abs(rng.standard_normal(100_000)) * np.where(side == log(1.6) / REACH_90, 1, -1)
    drawn = 1000 * np.exp(away * side) * 0.02 * np.exp(0.1 * rng.standard_normal(100_000))
    found = steps.product(seconds)
    low, middle, high = np.quantile(drawn, (0.05, 0.5, 0.95))
    assert (found.low, found.median, found.high) == pytest.approx((low, middle, high), rel=0.04)


def test_what_is_known_exactly_widens_nothing() -> None:
    found = Interval(10, 8, 13)
    assert found.product(Interval.around(2)) == Interval(20, 16, pytest.approx(26))
    assert found.times(2) == Interval(20, 16, 26)
    same = found.plus(0, 0.5)
    assert (same.low, same.high) == pytest.approx((8, 13))


def test_what_is_added_counts_by_its_share() -> None:
    found = Interval.around(90, 0.1).plus(10, 0.1)
    assert found.median == 100
    alone = Interval.around(100, 0.1)
    assert alone.low < found.low < found.high < alone.high


def test_the_chance_to_stay_below_is_that_of_its_ends() -> None:
    found = Interval(10, 8, 13)
    chances = [found.chance_below(value) for value in (8, 10, 13)]
    assert chances == pytest.approx([0.05, 0.5, 0.95])
    assert found.chance_below(0) == 0
    assert Interval.around(3).chance_below(3 * exp(-0.01)) == 0
    assert Interval.around(3).chance_below(3) == 1
    assert Interval(0, 0, 0).chance_below(500) == 1
