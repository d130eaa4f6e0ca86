"""Where further trials are worth the most: the next round of a search, shared out between its batch
sizes by what it is expected to change in the answer, until that is as sure as was asked.

The answer is the batch size until which a larger one is useful, by the curve through the expected
steps with their known errors. A trial at a batch size tells of the steps there, and as all likely
curves say both, of the answer: by as much as the two vary together among them. Taken as normal,
which in logarithms they nearly are, what it takes from the answer's variance is known before it
runs, whatever it shows. So a round is shared out one trial after the other, each to where it takes
the most (a c-optimal design, found greedily).

All of it is a function of what trials have shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from batchfront.frontier.curve import USUAL
from batchfront.frontier.curve.curve import fit_curve
from batchfront.frontier.curve.estimates import Estimate, ask
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.text import estimate_text
from batchfront.frontier.expected import expect
from batchfront.outcomes import cap
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.workload.search_space import SearchSpace

Array = NDArray[np.float64]

AT_ONCE = 3
"""Times its equal share that a batch size may get in one round: the next knows better."""

EQUAL_ROUNDS = 2
"""Rounds of equal shares that a search begins with: before there is a surrogate to rely on."""

HELPS = 0.05
"""Where all trials that are left are expected to narrow the interval by less than this share of its
width, they are of no use."""


@dataclass(frozen=True)
class Known:
    """What a search knows of its answer, and what further trials would tell.

    answer      -- the batch size until which a larger one is useful, with its 90 % interval
    batch_sizes -- where a trial has reached the goal, m of them
    together    -- how the log of the answer, the first, and log steps at these batch sizes vary
                   among the likely curves, [m + 1, m + 1]
    told        -- how much a further trial tells of the log steps at each: 1 over the variance of
                   its own, less where it is likely to be capped, [m]
    """

    answer: Estimate
    batch_sizes: tuple[int, ...]
    together: Array
    told: Array

    @property
    def factor(self) -> float:
        """How far the further end of the interval is from the value; infinite where one is
        open."""
        found = self.answer
        if found.value is None or found.low is None or found.high is None:
            return math.inf
        return max(found.high / found.value, found.value / found.low)

    def gains(self) -> Array:
        """What one further trial at each batch size would take from the answer's variance, [m]."""
        own = self.together.diagonal()[1:]
        gained: Array = self.told * self.together[0, 1:] ** 2 / (1 + self.told * own)
        return gained

    def after(self, index: int, trials: int = 1) -> "Known":
        """The same after further trials at one of the batch sizes, whatever they show."""
        column, told = self.together[:, index + 1], trials * self.told[index]
        taken = told / (1 + told * column[index + 1]) * column[:, None] * column
        return replace(self, together=self.together - taken)

    def narrowed(self, left: Mapping[int, int]) -> float:
        """By which share of its width all trials that are left would narrow the interval."""
        later = self
        for index, size in enumerate(self.batch_sizes):
            later = later.after(index, left.get(size, 0))
        return 1 - math.sqrt(max(later.together[0, 0], 0.0) / max(self.together[0, 0], 1e-12))


@dataclass(frozen=True)
class Settled:
    """Why a search gets no further trial, as a clause."""

    why: str


def next_round(
    known: Known | None,
    trials: Mapping[int, int],
    left: Mapping[int, int],
    *,
    together: int,
    until: float,
) -> dict[int, int] | Settled:
    """How many trials each batch size gets in the next round, all rounds before being over.

    known    -- of the answer; None where nothing is
    trials   -- that each batch size has had
    left     -- that each may still get; those that aren't there get none
    together -- trials of a batch size in a round of equal shares: each round has as many in all
    until    -- the factor within which the answer's 90 % interval is to lie

    Returns them by batch size, or why there is no next round.
    """
    few = {n: left[n] for n in left if trials[n] < EQUAL_ROUNDS * together and left[n]}
    if few:
        return shares(None, few, together)
    why = None if known is None else _settled(known, left, until)
    if why is None and not any(left.values()):
        why = "each batch size has had as many trials as it may have"
    return shares(known, left, together) if why is None else Settled(why)


def shares(known: Known | None, left: Mapping[int, int], together: int) -> dict[int, int]:
    """Share out a round, one trial after the other to where it is expected to change most: equally
    where nothing is known of that, and at batch sizes that have not reached the goal. Arguments as
    of `next_round`."""
    found = {size: min(together, rest) for size, rest in left.items()}
    if known is not None:
        places = [at for at, size in enumerate(known.batch_sizes) if size in left]
        most = {size: min(AT_ONCE * together, rest) for size, rest in left.items()}
        found |= {known.batch_sizes[at]: 0 for at in places}
        for _ in range(together * len(places)):
            gains = known.gains().tolist()
            places = [at for at in places if found[size := known.batch_sizes[at]] < most[size]]
            if not places:
                break
            best = max(places, key=lambda at: gains[at])  # of equals the smallest
            found[known.batch_sizes[best]] += 1
            known = known.after(best)
    return {size: count for size, count in found.items() if count}


def _settled(known: Known, left: Mapping[int, int], until: float) -> str | None:
    """Why no further trial is needed, or of use; None if some are."""
    far, said = "how far a larger batch size is useful", estimate_text(known.answer)
    if known.factor <= until:
        return f"{far} is known to within a factor of {until:g}: up to {said}"
    if any(left.values()) and known.narrowed(left) < HELPS:
        return f"no further trial is expected to tell more of {far}: up to {said}"
    return None


def foretold(
    spaces: Mapping[int, SearchSpace], shown: Sequence[Evidence], finishers: int
) -> Known | None:
    """What trials tell of the answer, by the expected steps; None where these aren't to be trusted
    yet, or no curve can be drawn through them.

    spaces    -- by batch size
    shown     -- by batch size and number
    finishers -- trials of a batch size that pass the goal before its others are capped
    """
    expected = expect(spaces, {(one.batch_size, n): one for n, one in enumerate(shown)})
    if not expected.trusted:
        return None
    sizes = tuple(point.batch_size for point in expected.points)
    steps = [point.steps for point in expected.points]
    curve = fit_curve(map(Observation, sizes, steps), errors=np.array(expected.covariance))
    if curve.refusal is not None or curve.worse_from is not None:
        return None
    log_batch, sample = np.log(sizes), curve.sample
    asked = ask(sample, log_batch, USUAL, {})["useful_until"]
    answers = np.clip(asked.draws, asked.lowest, asked.highest)
    drawn = np.column_stack([answers, sample.log_steps(log_batch)])
    away = drawn - sample.weights @ drawn
    together = away.T @ (sample.weights[:, None] * away)
    noise = np.array([point.noise for point in expected.points])
    caps = [cap(_passed(shown, size), finishers) or math.inf for size in sizes]
    told = _uncapped((np.log(caps) - np.log(steps)) / noise) / noise**2
    return Known(curve.useful_until, sizes, together, told)


def _passed(shown: Sequence[Evidence], batch_size: int) -> list[float]:
    mine = (one for one in shown if one.batch_size == batch_size)
    return [one.steps for one in mine if one.kind is Kind.REACHED]


def _uncapped(caps: Array) -> Array:
    """What a trial that is capped there tells of its mean, as a share of what one tells that runs
    to the goal: the Fisher information of a censored normal variable.

    caps -- in its standard deviations from its mean
    """
    caps = np.clip(caps, -6.0, 6.0)
    density = np.exp(-0.5 * caps**2) / math.sqrt(2 * math.pi)
    hazard = density / np.exp(log_ndtr(-caps))
    found: Array = ndtr(caps) + density * (hazard - caps)
    return found
