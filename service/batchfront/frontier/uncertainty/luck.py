"""How the best of another search would differ, from the lowest order statistics of this one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from batchfront.frontier.uncertainty.order_statistics import check

FEWEST = 3
"""Finishers without which nothing is said about the spread of the best."""

ALONE, POOLED = 5, 3
"""Of a sample's finishers, so many are fitted a power law: alone, and with others."""


@dataclass(frozen=True)
class Noise:
    """How the best trial would vary with another search of as many trials.

    low, high -- hold the steps of another search's best trial with probability `coverage`
    deviation -- standard deviation of the logarithm of the best trial's steps
    spacings  -- the number of distances between neighbouring finishers it is estimated from
    """

    low: float
    high: float
    coverage: float
    deviation: float
    spacings: int


def noise_of_best(
    finishers: Sequence[float],
    trials: int,
    others: Sequence[Sequence[float]] = (),
    coverage: float = 0.9,
) -> Noise | None:
    """How the best trial varies; None of too few finishers to tell.

    finishers, trials -- as of `expected_best`
    others            -- finishers of like searches, as of other batch sizes, whose fastest trials
                         may be taken to follow a law of the same exponent: a narrower interval

    Resampling the trials would not tell: the bootstrap of a minimum is inconsistent. Of trials
    whose fastest follow a power law, P(steps < s) = c s^g, the scaled spacings of the logarithms,
    i log(s_(i+1) / s_(i)), are independent and exponential with mean 1/g (Renyi), whatever c and
    whatever s_(m). So the place of another search's best relative to s_(m), in units of the mean
    spacing, has a distribution that depends on numbers of finishers alone, and the interval is
    exact for that law. Where steps have a floor it is wider than it need be, the more so the more
    finishers are used: only the lowest five are, or three where there are others.
    """
    check(finishers, trials)
    used = POOLED if others else ALONE
    tails = [sample[:used] for sample in (finishers, *others)]
    spacings = sum(len(tail) - 1 for tail in tails if tail)
    if len(finishers) < 2 or spacings < FEWEST - 1:
        return None
    slope, m = exponent(tails), len(tails[0])
    low, high = (
        tails[0][-1] * math.exp(slope * _place(m, spacings, p))
        for p in ((1 - coverage) / 2, (1 + coverage) / 2)
    )
    deviation = slope * math.pi / math.sqrt(6)  # of the logarithm of an exponential variable
    return Noise(low, high, coverage, deviation, spacings)


def exponent(tails: Sequence[Sequence[float]]) -> float:
    """1/g of the power law, by Hill's estimator: the mean of the scaled spacings."""
    total = sum(math.log(tail[-1] / steps) for tail in tails for steps in tail)
    return total / sum(len(tail) - 1 for tail in tails if tail)


@cache
def _place(m: int, spacings: int, probability: float) -> float:
    """The quantile of (log s - log s_(m)) / (mean of so many spacings); s: best of another search.

    s and s_(m) lie where the law's own scale has E/n and G/n, with E exponential and G gamma(m),
    and the mean spacing is gamma(spacings) / spacings of the true one. Of x = log(E/G),
    P(x <= t) = 1 - (1 + e^t)^-m.
    """
    import numpy as np

    width = 12 * math.sqrt(spacings) + 20
    mean = np.linspace(max(spacings - width, 0), spacings + width, 20_001)[1:]
    weight = np.exp((spacings - 1) * np.log(mean) - mean - math.lgamma(spacings))
    weight /= weight.sum()

    def reached(place: float) -> float:
        scaled = np.minimum(place * mean / spacings, 700.0)
        return float(-(weight * np.expm1(-m * np.log1p(np.exp(scaled)))).sum())

    low, high = -1.0, 1.0
    while reached(low) > probability:
        low *= 2
    while reached(high) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < probability else (low, middle)
    return (low + high) / 2
