"""How sure a best trial is: what fewer trials would have found, and what another draw would.

A race ends when some trials have passed the goal, the lowest order statistics of all its trials'
steps; the others are only known to be no better. Everything here is computed from those, and says
how much hangs on the trials that nobody has followed to their end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from service.slots import SEARCHES

if TYPE_CHECKING:
    from service.frontier import Frontier, Point

NEGLIGIBLE = 1e-9
"""A probability that changes no number that anyone reads."""

FEWEST = 3
"""Finishers without which nothing is said about the spread of the best."""

_ALONE, _POOLED = 5, 3  # of a sample's finishers, so many are fitted a power law


@dataclass(frozen=True)
class Sample:
    """A finished search as order statistics.

    lowest -- steps to target of its best trials, ascending, as far as no other can lie between
    trials -- how many it drew; those beyond `lowest` took at least as many steps, or never passed
    """

    lowest: tuple[int, ...]
    trials: int


@dataclass(frozen=True)
class ExpectedBest:
    """The mean of the best of k trials.

    at_least -- the mean if every trial without a known place took just as many steps as the last
                with one: a lower bound
    unknown  -- the probability that all k are trials without a known place
    """

    k: int
    at_least: float
    unknown: float

    @property
    def exact(self) -> bool:
        """Whether the bound is the mean itself."""
        return self.unknown < NEGLIGIBLE


@dataclass(frozen=True)
class MoreTrials:
    """Would more trials have changed it?

    curve         -- the expected best of k = 1 to all trials
    half          -- that of half of them
    next_doubling -- the share of the steps that twice as many trials would save, if the fastest
                     trials follow a power law, P(steps < s) ~ s^g, down to no steps at all. Where
                     there is a floor below which no trial comes it is less. None: too few finishers
    """

    curve: tuple[ExpectedBest, ...]
    half: ExpectedBest
    next_doubling: float | None

    @property
    def halving_cost(self) -> float:
        """How many more steps the best of half the trials takes, as a share of the best of all;
        a lower bound unless `half.exact`."""
        return self.half.at_least / self.curve[-1].at_least - 1

    @property
    def last_doubling(self) -> float:
        """The share of the steps that the second half of the trials saved, on average; a lower
        bound unless `half.exact`."""
        return 1 - self.curve[-1].at_least / self.half.at_least

    @property
    def verdict(self) -> str:
        """The answer in one or two sentences."""
        if self.half.at_least <= self.curve[-1].at_least and self.half.unknown > 0.25:
            return (
                "Whether more trials would have changed it cannot be known from one finisher; "
                "`--finishers 5` would tell."
            )
        least = "" if self.half.unknown < 0.05 else "at least "
        said = (
            f"Half as many trials would have taken {least}{_percent(self.halving_cost)} more "
            "steps on average."
        )
        if self.next_doubling is None:
            return said
        at_most = max(math.ceil(100 * self.next_doubling), 1)
        return f"{said} Twice as many would save at most about {at_most} %."


@dataclass(frozen=True)
class Noise:
    """How the best trial would vary with another draw of the same search.

    low, high -- hold the steps of another draw's best trial with probability `coverage`
    deviation -- standard deviation of the logarithm of the best trial's steps
    spacings  -- the number of distances between neighbouring finishers it is estimated from
    """

    low: float
    high: float
    coverage: float
    deviation: float
    spacings: int


@dataclass(frozen=True)
class Flag:
    """Something about a point of the frontier that a reader should doubt.

    kind -- "not-monotone": more steps than a smaller batch size needs; "edge": the winner lies at
            an end of its search space
    """

    batch_size: int
    kind: str
    text: str


def sample(point: "Point") -> Sample | None:
    """A point's trials as order statistics; None while some are not done, or none has passed, or
    they are not draws of a search.

    Failed trials count as never drawn, and so do diverged ones where the budget counts feasible
    trials. Of more finishers than a race waits for, as when two workers' heats overlap, only so
    many are known to be the best.
    """
    study, outcomes = point.study, point.outcomes
    if study.purpose != SEARCHES[0] or not point.finishers or outcomes.get("open"):
        return None
    left_out = {"failed"} | ({"diverged"} if study.count == "feasible" else set())
    trials = sum(number for outcome, number in outcomes.items() if outcome not in left_out)
    known = study.finishers if study.finishers and outcomes.get("capped") else trials
    return Sample(tuple(finisher.steps for finisher in point.finishers[:known]), trials)


def expected_best(finishers: Sequence[int], trials: int, k: int) -> ExpectedBest:
    """The mean of the best of k trials, drawn without replacement from those that were run.

    finishers -- steps to target of the lowest order statistics s_(1), s_(2), ..., ascending
    trials    -- n, the number of trials, of which the others took at least as many steps

    With all n known it is exactly sum_i s_(i) C(n-i, k-1) / C(n, k).
    """
    _check(finishers, trials)
    if not 1 <= k <= trials:
        raise ValueError(f"k must lie between 1 and the {trials} trials, not {k}")
    mean, later = 0.0, 1.0  # later: the probability that none of the k is among the first i
    for i, steps in enumerate(finishers):
        first = later * k / (trials - i)  # that the best of the k is this one
        mean += first * steps
        later *= max(trials - k - i, 0) / (trials - i)
    return ExpectedBest(k, mean + later * finishers[-1], later)


def more_trials(finishers: Sequence[int], trials: int) -> MoreTrials:
    """The expected best against the number of trials; arguments as of `expected_best`."""
    import numpy as np

    _check(finishers, trials)
    k = np.arange(1, trials + 1)
    mean, later = np.zeros(trials), np.ones(trials)
    for i, steps in enumerate(finishers):
        mean += later * k / (trials - i) * steps
        later *= np.maximum(trials - k - i, 0) / (trials - i)
    bounds = mean + later * finishers[-1]
    curve = tuple(map(ExpectedBest, k.tolist(), bounds.tolist(), later.tolist()))
    tail = finishers[:_ALONE]
    saved = 1 - 2.0 ** -_exponent([tail]) if len(tail) >= FEWEST else None
    return MoreTrials(curve, curve[max(trials // 2, 1) - 1], saved)


def noise_of_best(
    finishers: Sequence[int],
    trials: int,
    others: Sequence[Sequence[int]] = (),
    coverage: float = 0.9,
) -> Noise | None:
    """How the best trial varies; None of too few finishers to tell.

    finishers, trials -- as of `expected_best`
    others            -- finishers of like searches, as of other batch sizes, whose fastest trials
                         may be taken to follow a law of the same exponent: a narrower interval

    Resampling the trials would not tell: the bootstrap of a minimum is inconsistent. Of trials
    whose fastest follow a power law, P(steps < s) = c s^g, the scaled spacings of the logarithms,
    i log(s_(i+1) / s_(i)), are independent and exponential with mean 1/g (Renyi), whatever c and
    whatever s_(m). So the place of another draw's best relative to s_(m), in units of the mean
    spacing, has a distribution that depends on numbers of finishers alone, and the interval is
    exact for that law. Where steps have a floor it is wider than it need be, the more so the more
    finishers are used: only the lowest five are, or three where there are others.
    """
    _check(finishers, trials)
    used = _POOLED if others else _ALONE
    tails = [sample[:used] for sample in (finishers, *others)]
    spacings = sum(len(tail) - 1 for tail in tails if tail)
    if len(finishers) < 2 or spacings < FEWEST - 1:
        return None
    exponent, m = _exponent(tails), len(tails[0])
    low, high = (
        tails[0][-1] * math.exp(exponent * _place(m, spacings, p))
        for p in ((1 - coverage) / 2, (1 + coverage) / 2)
    )
    deviation = exponent * math.pi / math.sqrt(6)  # of the logarithm of an exponential variable
    return Noise(low, high, coverage, deviation, spacings)


def flags(frontier: "Frontier") -> list[Flag]:
    """The flags of a frontier's points, by batch size."""
    found: list[Flag] = []
    best: Point | None = None
    for point in frontier.reached:
        if best is not None and (point.steps_lower or 0) >= (best.steps or 0):
            found.append(_not_monotone(point, best))
        if best is None or (point.steps or 0) < (best.steps or 0):
            best = point
        found += [
            Flag(
                point.batch_size,
                "edge",
                f"At batch size {point.batch_size:,} the winner's {name} lies at the {end} end of "
                "its search space; `batchfront plan --extend` widens it.",
            )
            for name, end in point.edges.items()
        ]
    return found


def _not_monotone(point: "Point", best: "Point") -> Flag:
    more = _percent((point.steps or 0) / (best.steps or 1) - 1)
    return Flag(
        point.batch_size,
        "not-monotone",
        f"Batch size {point.batch_size:,} takes {more} more steps than {best.batch_size:,}, a "
        "smaller one: more trials would probably find fewer.",
    )


def _check(finishers: Sequence[int], trials: int) -> None:
    if not finishers:
        raise ValueError("no trial has passed the goal, so there is no best one")
    if len(finishers) > trials:
        raise ValueError(f"{len(finishers)} finishers of {trials} trials")
    if any(a > b for a, b in pairwise(finishers)):
        raise ValueError("finishers must come in ascending order of their steps")


def _exponent(tails: Sequence[Sequence[int]]) -> float:
    """1/g of the power law, by Hill's estimator: the mean of the scaled spacings."""
    total = sum(math.log(tail[-1] / steps) for tail in tails for steps in tail)
    return total / sum(len(tail) - 1 for tail in tails if tail)


@cache
def _place(m: int, spacings: int, probability: float) -> float:
    """The quantile of (log s - log s_(m)) / (mean of so many spacings), s the best of another draw.

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


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"
