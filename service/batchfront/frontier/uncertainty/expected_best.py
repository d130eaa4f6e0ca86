"""The expected best of fewer trials than were run, exactly, and whether more would have helped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchfront.frontier.uncertainty.luck import ALONE, FEWEST, exponent
from batchfront.frontier.uncertainty.order_statistics import check
from batchfront.phrases import percent

NEGLIGIBLE = 1e-9
"""A probability that changes no number that anyone reads."""

LITTLE = 0.05
"""A probability of trials without a known place that leaves a bound near enough to the mean."""


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
            return "Whether more trials would have changed it cannot be known from one finisher."
        least = "" if self.half.unknown < LITTLE else "at least "
        said = (
            f"Half as many trials would have taken {least}{percent(self.halving_cost)} more "
            "steps on average."
        )
        if self.next_doubling is None:
            return said
        at_most = max(math.ceil(100 * self.next_doubling), 1)
        return f"{said} Twice as many would save at most about {at_most} %."


def expected_best(finishers: Sequence[float], trials: int, k: int) -> ExpectedBest:
    """The mean of the best of k trials, drawn without replacement from those that were run.

    finishers -- steps to target of the lowest order statistics s_(1), s_(2), ..., ascending
    trials    -- n, the number of trials, of which the others took at least as many steps

    With all n known it is exactly sum_i s_(i) C(n-i, k-1) / C(n, k).
    """
    check(finishers, trials)
    if not 1 <= k <= trials:
        raise ValueError(f"k must lie between 1 and the {trials} trials, not {k}")
    mean, later = 0.0, 1.0  # later: the probability that none of the k is among the first i
    for i, steps in enumerate(finishers):
        first = later * k / (trials - i)  # that the best of the k is this one
        mean += first * steps
        later *= max(trials - k - i, 0) / (trials - i)
    return ExpectedBest(k, mean + later * finishers[-1], later)


def more_trials(finishers: Sequence[float], trials: int) -> MoreTrials:
    """The expected best against the number of trials; arguments as of `expected_best`."""
    import numpy as np

    check(finishers, trials)
    k = np.arange(1, trials + 1)
    mean, later = np.zeros(trials), np.ones(trials)
    for i, steps in enumerate(finishers):
        mean += later * k / (trials - i) * steps
        later *= np.maximum(trials - k - i, 0) / (trials - i)
    bounds = mean + later * finishers[-1]
    curve = tuple(map(ExpectedBest, k.tolist(), bounds.tolist(), later.tolist()))
    tail = finishers[:ALONE]
    saved = 1 - 2.0 ** -exponent([tail]) if len(tail) >= FEWEST else None
    return MoreTrials(curve, curve[max(trials // 2, 1) - 1], saved)
