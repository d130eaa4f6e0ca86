"""The expected best of k trials, against enumeration and whole numbers."""

from fractions import Fraction
from itertools import combinations
from math import comb
from statistics import mean

import numpy as np
import pytest

from batchfront.frontier.uncertainty.expected_best import expected_best, more_trials
from tests.batchfront.frontier.uncertainty.searches import law

STEPS = (3, 5, 5, 8, 13, 21, 30)
UNKNOWN = 10_000


@pytest.mark.parametrize("k", range(1, 8))
def test_the_expected_best_is_the_mean_over_all_subsets(k: int) -> None:
    found = expected_best(STEPS, 7, k)
    assert found.at_least == pytest.approx(mean(map(min, combinations(STEPS, k))), rel=1e-12)
    assert found.exact


@pytest.mark.parametrize("k", range(1, 8))
@pytest.mark.parametrize("known", [1, 2, 5])
def test_what_hangs_on_trials_without_a_place_is_said(k: int, known: int) -> None:
    found = expected_best(STEPS[:known], 7, k)
    steps = STEPS[:known] + (UNKNOWN,) * (7 - known)
    subsets = [min(subset) for subset in combinations(steps, k)]
    assert found.unknown == pytest.approx(subsets.count(UNKNOWN) / len(subsets))
    bounded = [min(best, STEPS[known - 1]) for best in subsets]
    assert found.at_least == pytest.approx(mean(bounded), rel=1e-12)
    assert found.exact == (UNKNOWN not in subsets)


@pytest.mark.parametrize("k", [1, 17, 5_000, 9_990, 10_000])
def test_ten_thousand_trials_lose_no_digits(k: int) -> None:
    n, steps = 10_000, [1_000 + i * i for i in range(10_000)]
    total, weight = 0, comb(n - 1, k - 1)
    for i, s in enumerate(steps, 1):  # whole numbers, so that nothing is rounded
        total += s * weight
        weight = weight * (n - i - k + 1) // (n - i) if i <= n - k else 0
    exactly = Fraction(total, comb(n, k))
    assert expected_best(steps, n, k).at_least == pytest.approx(float(exactly), rel=1e-12)


def test_the_weights_are_the_binomial_ones() -> None:
    n, k = 40, 11
    for i in (1, 2, 7, 30):
        steps = [1] * (i - 1) + [2] + [2] * (n - i)
        among_first = 1 - sum(comb(n - j, k - 1) for j in range(1, i)) / comb(n, k)
        assert expected_best(steps, n, k).at_least == pytest.approx(1 + among_first)


def test_the_curve_is_the_expected_best_of_every_number_of_trials() -> None:
    found = more_trials(STEPS[:4], 9)
    expected = [expected_best(STEPS[:4], 9, k) for k in range(1, 10)]
    assert [best.k for best in found.curve] == list(range(1, 10))
    for ours, theirs in zip(found.curve, expected, strict=True):
        assert (ours.at_least, ours.unknown) == pytest.approx((theirs.at_least, theirs.unknown))
    assert found.half.k == 4
    assert found.halving_cost == pytest.approx(expected[3].at_least / 3 - 1)
    assert found.last_doubling == pytest.approx(1 - 3 / expected[3].at_least)


def test_a_large_search_is_judged_in_a_moment() -> None:
    found = more_trials([1_000 + i for i in range(10_000)], 10_000)
    assert found.curve[-1].at_least == 1_000
    assert found.curve[0].at_least == pytest.approx(1_000 + 9_999 / 2)


def test_one_finisher_tells_nothing_about_more_trials_and_the_verdict_says_so() -> None:
    found = more_trials([40], 32)
    assert (found.half.at_least, found.half.unknown) == (40, 0.5)
    assert found.next_doubling is None
    assert "cannot be known from one finisher." in found.verdict


def test_a_verdict_says_at_least_where_much_hangs_on_the_others() -> None:
    assert more_trials([40, 60], 32).verdict == (
        "Half as many trials would have taken at least 25 % more steps on average."
    )
    full = more_trials([100] * 3 + [200] * 29, 32).verdict
    assert full.startswith("Half as many trials would have taken 11 % more steps on average. Twice")


def test_equal_finishers_are_not_taken_for_one() -> None:
    assert more_trials([40] * 5, 32).verdict == (
        "Half as many trials would have taken less than 1 % more steps on average. "
        "Twice as many would save at most about 1 %."
    )


def test_twice_the_trials_of_a_power_law_save_what_the_law_says() -> None:
    rng = np.random.default_rng(0)
    found = [more_trials(law(rng, 64), 64).next_doubling or 0 for _ in range(2_000)]
    assert mean(found) == pytest.approx(1 - 2**-0.3, abs=0.01)


@pytest.mark.parametrize(
    ("finishers", "trials", "k", "match"),
    [
        ([], 5, 1, "no trial has passed"),
        ([3, 2], 5, 1, "ascending"),
        ([1, 2, 3], 2, 1, "3 finishers of 2 trials"),
        ([1], 5, 0, "between 1 and the 5 trials"),
        ([1], 5, 6, "between 1 and the 5 trials"),
    ],
)
def test_what_cannot_be_a_sample_is_refused(
    finishers: list[int], trials: int, k: int, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        expected_best(finishers, trials, k)
