"""How a best trial varies, against searches drawn by the hundred."""

from collections.abc import Callable
from math import exp
from statistics import mean

import numpy as np
import pytest

from batchfront.frontier.uncertainty.luck import noise_of_best
from tests.batchfront.frontier.uncertainty.searches import law


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
