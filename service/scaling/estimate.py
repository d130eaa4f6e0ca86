"""A number with its interval, or a bound, or why neither can be said."""

from dataclasses import dataclass
from math import exp, inf, log

import numpy as np

from service.scaling.bracket import ANYTHING, Bracket
from service.scaling.forms import Array
from service.scaling.sample import Sample

REACH = 2.0
"""An answer that lies more than this factor outside the measured batch sizes is no number."""

FEWEST_AGREE = 0.05
"""Where a smaller share of the curves agrees with the points, the points answer alone."""

_LEVELS = (0.05, 0.10, 0.50, 0.90, 0.95)  # an interval's ends, within them those of a bound alone
_EVIDENCE = 0.75
_MARGIN = log(100)  # how far outside its range an answer may still move the evidence


@dataclass(frozen=True)
class Estimate:
    """What the points say about one quantity.

    value    -- the median of all likely curves; None where only a bound, or nothing, can be said
    low      -- the lower end of the 90 % interval. Where `high` is None it is a bound that holds
                with 90 % by itself: "at least". None: no lower bound
    high     -- the upper end, likewise: "at most"
    evidence -- the batch sizes that carry three quarters of the answer: whose steps, were they
                different, would move it most
    reason   -- why an end or the value is missing; empty where none is
    """

    value: float | None
    low: float | None
    high: float | None
    evidence: tuple[int, ...] = ()
    reason: str = ""

    @property
    def kind(self) -> str:
        """`number`, `at least`, `at most` or `unknown`."""
        if self.value is not None:
            return "number"
        if self.low is not None:
            return "at least"
        return "at most" if self.high is not None else "unknown"


@dataclass(frozen=True)
class Question:
    """One quantity, in logs: that of every curve of the sample, the range in which it is a number,
    what it means when it may lie below or above that range, and what the points allow.

    alone -- whether the points answer by themselves, the curves being no guide
    """

    draws: Array
    lowest: float
    highest: float
    below: str
    above: str = ""
    bracket: Bracket = ANYTHING
    alone: bool = False

    def agreeing(self, sample: Sample) -> Sample | None:
        """The curves that don't contradict the points; None where hardly any does not."""
        if self.alone:
            return None
        floor, cap = self.bracket.floor, self.bracket.cap
        return sample.given((self.draws >= floor) & (self.draws <= cap), FEWEST_AGREE)


def answer(question: Question, sample: Sample, batch_sizes: tuple[int, ...]) -> Estimate:
    """The estimate, never beyond the range: an end that may lie there is left open, and a bound
    says no more than the range's end."""
    agreeing = question.agreeing(sample)
    if agreeing is None:
        return _of_points(question, batch_sizes)
    lowest, highest = question.lowest, question.highest
    draws = np.clip(question.draws, lowest - _MARGIN, highest + _MARGIN)  # some are infinite
    low, bound_low, value, bound_high, high = agreeing.quantiles(draws, _LEVELS)
    below, above = low < lowest, high > highest
    if below and above:
        reason = f"either {question.below}, or {question.above}"
        return Estimate(None, None, None, reason=reason)
    evidence = _evidence(draws, agreeing, batch_sizes)
    number = exp(value) if lowest <= value <= highest else None
    if above:
        return Estimate(number, exp(min(bound_low, highest)), None, evidence, question.above)
    if below:
        return Estimate(number, None, exp(max(bound_high, lowest)), evidence, question.below)
    return Estimate(number, exp(low), exp(high), evidence)


def _of_points(question: Question, batch_sizes: tuple[int, ...]) -> Estimate:
    """What the points say where no curve says the same: anything between the floor and the cap."""
    floor, cap = question.bracket.floor, question.bracket.cap
    near = tuple(s for s in batch_sizes if floor - 1e-9 <= log(s) <= cap + 1e-9)
    if floor == -inf and cap == inf:
        return Estimate(None, None, None, reason="the points follow no such curve")
    if -inf < floor < cap < inf:
        return Estimate(exp((floor + cap) / 2), exp(floor), exp(cap), near)
    if floor > -inf:
        return Estimate(None, exp(floor), None, near[:1], question.above)
    return Estimate(None, None, exp(cap), near[-1:], question.below)


def _evidence(draws: Array, sample: Sample, batch_sizes: tuple[int, ...]) -> tuple[int, ...]:
    share = np.abs(sample.influence(draws))
    order = np.argsort(-share, kind="stable")
    before = np.cumsum(share[order]) - share[order]
    needed = order[before < _EVIDENCE * share.sum()]
    return tuple(sorted({batch_sizes[index] for index in needed}))
