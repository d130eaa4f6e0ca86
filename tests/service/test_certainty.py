"""How sure a best trial is, against enumeration, closed forms and many drawn searches."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations
from math import comb, exp
from statistics import mean

import numpy as np
import pytest

from service.certainty import (
    Flag,
    Sample,
    expected_best,
    flags,
    more_trials,
    noise_of_best,
    sample,
)
from service.frontier import Finisher, Frontier, Point, Trial
from service.slots import Study

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
    assert "cannot be known from one finisher; `--finishers 5`" in found.verdict


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


def law(rng: np.random.Generator, n: int) -> list[int]:
    """Steps of a search whose trials follow a power law: P(steps < s) = (s / 10^6)^(1/0.3)."""
    return sorted((1e6 * np.exp(-rng.exponential(0.3, n))).astype(int).tolist())


def bowl(rng: np.random.Generator, n: int) -> list[int]:
    """Steps of a search of two metaparameters around an optimum of 10,000 steps, and noise."""
    away = (rng.uniform(-1, 1, (n, 2)) ** 2).sum(axis=1)
    return sorted((1e4 * np.exp(2 * away + 0.05 * rng.normal(size=n))).astype(int).tolist())


def covered(search: Callable[..., list[int]], finishers: int, others: int) -> tuple[float, float]:
    """How often the interval holds another draw's best, and its width in the mean, as a factor."""
    rng, hits, widths = np.random.default_rng(1), [], []
    for _ in range(800):
        first, *rest = [search(rng, 32)[:finishers] for _ in range(1 + others)]
        noise = noise_of_best(first, 32, rest)
        assert noise is not None
        hits.append(noise.low <= search(rng, 32)[0] <= noise.high)
        widths.append(np.log(noise.high / noise.low))
    return mean(hits), exp(mean(widths))


@pytest.mark.parametrize(("finishers", "others"), [(3, 0), (5, 0), (5, 9)])
def test_another_draws_best_lies_in_the_interval_as_often_as_promised(
    finishers: int, others: int
) -> None:
    share, _ = covered(law, finishers, others)
    assert 0.87 < share < 0.93  # 0.9, and three standard errors of 800 searches


def test_around_an_optimum_the_interval_promises_no_more_than_it_holds() -> None:
    alone, wide = covered(bowl, 5, 0)
    pooled, narrow = covered(bowl, 5, 9)
    assert min(alone, pooled) > 0.87
    assert narrow < 2.2 < wide


def test_the_deviation_is_that_of_the_best() -> None:
    rng = np.random.default_rng(2)
    samples = [law(rng, 32) for _ in range(1_000)]
    found = noise_of_best(samples[0], 32, samples[1:])
    assert found is not None
    assert found.deviation == pytest.approx(np.std(np.log([s[0] for s in samples])), rel=0.1)


def test_the_interval_is_that_of_the_law_itself_once_its_exponent_is_known() -> None:
    finishers, others = [100, 120, 150], [[100, 120, 150]] * 5_000
    found = noise_of_best(finishers, 32, others)
    assert found is not None
    exponent = (np.log(150 / 100) + np.log(150 / 120)) / 2
    # log s - log s_(3) = exponent * log(E/G), P(log(E/G) <= t) = 1 - (1 + e^t)^-3
    low, high = (np.log((1 - p) ** (-1 / 3) - 1) for p in (0.05, 0.95))
    assert found.low == pytest.approx(150 * np.exp(exponent * low), rel=0.01)
    assert found.high == pytest.approx(150 * np.exp(exponent * high), rel=0.01)


def test_of_too_few_finishers_nothing_is_said() -> None:
    assert noise_of_best([40], 32) is None
    assert noise_of_best([40, 50], 32) is None
    assert noise_of_best([40], 32, [[40, 50, 60]]) is None
    assert noise_of_best([40, 50, 60], 32) is not None


IDENTITY = {
    "goal": {"metric": "error rate", "better": "lower", "value": 0.1},
    "search_space": {"learning_rate": {"kind": "Log", "low": 0.001, "high": 1.0}},
}


def point(
    batch_size: int,
    steps: Sequence[int] = (),
    outcomes: dict[str, int] | None = None,
    rate: float = 0.03,
    **study: object,
) -> Point:
    fields = {
        "id": batch_size,
        "name": f"a/b/c/b{batch_size}",
        "workload": "a/b/c",
        "spec": "",
        "batch_size": batch_size,
        "identity": IDENTITY,
        "goal_value": None,
        "seed": 0,
        "schedule": "race",
        "sampler": "sobol",
        "count": "all",
        "trials": 32,
        **study,
    }
    finishers = tuple(Finisher(i, s, s - 1) for i, s in enumerate(steps))
    best = None
    if steps:
        params = {"learning_rate": rate}
        best = Trial(0, params, "reached", "", steps[0], steps[0], steps[0] - 1, *([None] * 4), {})
    return Point(Study(**fields), best, outcomes or {}, finishers, {})  # type: ignore[arg-type]


def test_the_sample_of_a_race_is_its_finishers_among_all_its_trials() -> None:
    ended = {"reached": 2, "capped": 20, "diverged": 6, "stalled": 3, "failed": 1}
    assert sample(point(8, [40, 50], ended, finishers=2)) == Sample((40, 50), 31)
    assert sample(point(8, [40, 50], ended, finishers=2, count="feasible")) == Sample((40, 50), 25)


def test_finishers_beyond_those_a_race_waits_for_are_known_only_where_none_was_capped() -> None:
    capped = {"reached": 3, "capped": 2}
    assert sample(point(8, [40, 50, 60], capped, finishers=2)) == Sample((40, 50), 5)
    ended = {"reached": 3, "exhausted": 2}
    assert sample(point(8, [40, 50, 60], ended, finishers=2)) == Sample((40, 50, 60), 5)
    assert sample(point(8, [40, 50, 60], capped, finishers=0)) == Sample((40, 50, 60), 5)


def test_what_is_not_a_finished_search_has_no_sample() -> None:
    assert sample(point(8, [40], {"reached": 1, "open": 3})) is None
    assert sample(point(8, [], {"stalled": 4})) is None
    assert sample(point(8, [40, 50], {"reached": 2}, purpose="points")) is None


def test_a_frontier_that_falls_with_winners_inside_their_spaces_has_no_flag() -> None:
    assert flags(Frontier("a/b/c", (point(8, [40]), point(16, [20]), point(32)))) == []


def test_more_steps_than_a_smaller_batch_size_needs_are_flagged_unless_a_look_may_be_why() -> None:
    frontier = Frontier("a/b/c", (point(8, [40]), point(16, [40]), point(32), point(64, [50])))
    (flag,) = flags(frontier)
    assert (flag.batch_size, flag.kind) == (64, "not-monotone")
    assert flag.text.startswith("Batch size 64 takes 25 % more steps than 8, a smaller one")


def test_a_winner_at_an_end_of_its_space_is_flagged_with_what_to_do() -> None:
    assert flags(Frontier("a/b/c", (point(1024, [40], rate=0.99),))) == [
        Flag(
            1024,
            "edge",
            "At batch size 1,024 the winner's learning_rate lies at the high end of its search "
            "space; `batchfront plan --extend` widens it.",
        )
    ]
