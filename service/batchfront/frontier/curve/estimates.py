"""A number with its interval, or a bound, or why neither can be said."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, inf, log

import numpy as np

from batchfront.frontier.curve import Asked
from batchfront.frontier.curve.forms import Array
from batchfront.frontier.curve.posterior import Sample
from batchfront.frontier.curve.text import number


@dataclass(frozen=True)
class Bracket:
    """The range of logs in which an answer does not contradict the points."""

    floor: float = -inf
    cap: float = inf

    def capped(self, cap: float) -> "Bracket":
        """The same, and no more than this."""
        return Bracket(min(self.floor, cap), min(self.cap, cap))


ANYTHING = Bracket()
"""Where the points by themselves say nothing."""


def useful_bracket(log_batch: Array, log_steps: Array, share: float, margin: float) -> Bracket:
    """Of the batch size beyond which a doubling saves less than `share` of the steps.

    margin -- what log steps of two points may differ by from noise alone

    From where two points lie apart by more than that share a doubling, a doubling still saves it;
    and one does no more before the end of a stretch that saves less, if all the rest does so too.
    """
    floor, cap = -inf, inf
    end = len(log_batch) - 1
    need = -np.log1p(-share) / log(2)

    def saves_beyond(first: int, last: int) -> float:
        far = log_batch[last] - log_batch[first]
        return float(log_steps[first] - log_steps[last] - need * far)

    for first, last in combinations(range(len(log_batch)), 2):
        if saves_beyond(first, last) > margin:
            floor = max(floor, min(log_batch[first], log_batch[last] - log(2)))
        elif max(saves_beyond(first, last), saves_beyond(first, end)) < -margin:
            far = log_batch[last] - log_batch[first]
            cap = min(cap, log_batch[last] - (log(2) if far >= log(2) * 0.999 else 0))
    return Bracket(min(floor, cap), max(floor, cap))


def perfect_bracket(
    log_batch: Array, log_steps: Array, log_from: float, extra: float, margin: float
) -> Bracket:
    """Of the largest batch size that takes at most 1 + `extra` times the examples of the one that
    it is measured from: from the largest one that does so on to where all larger ones take more.

    log_from -- the log of that batch size; between two points its steps are taken to lie on the
                line between them
    """
    there = float(np.interp(log_from, log_batch, log_steps))
    log_batch, log_steps = (column[log_batch >= log_from] for column in (log_batch, log_steps))
    more = log_batch + log_steps - log_from - there - np.log1p(extra)
    within = np.flatnonzero(more < -margin)
    not_over = np.flatnonzero(more <= margin)
    floor = float(log_batch[within[-1]]) if len(within) else -inf
    beyond = int(not_over[-1]) + 1 if len(not_over) else 0
    return Bracket(floor, float(log_batch[beyond]) if beyond < len(log_batch) else inf)


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

    def __str__(self) -> str:
        """In few words: "349 (90 %: 103 to 415)", "at least 512", "unknown: …"."""
        sides = [("at least", self.low), ("at most", self.high)]
        bounds = " and ".join(f"{side} {number(end)}" for side, end in sides if end is not None)
        if self.value is None:
            return bounds or f"unknown: {self.reason}"
        if self.low is not None and self.high is not None:
            bounds = f"{number(self.low)} to {number(self.high)}"
        sure = f" (90 %: {bounds})" if bounds else ""
        return f"{number(self.value)}{sure}"


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


def log_from(log_batch: Array, asked: Asked) -> float:
    """The log of the batch size that near-perfect scaling is measured from: of one that was
    measured, to the bit as it stands there."""
    if asked.perfect_from is None:
        return float(log_batch[0])
    wanted = log(asked.perfect_from)
    nearest = float(log_batch[np.argmin(np.abs(log_batch - wanted))])
    return nearest if round(exp(nearest)) == asked.perfect_from else wanted


def ask(
    sample: Sample,
    log_batch: Array,
    asked: Asked,
    brackets: Mapping[str, Bracket],
) -> dict[str, Question]:
    """By the names of the answers; `brackets` has what the points say of some of them."""
    first, last = float(log_batch[0]), float(log_batch[-1])
    begin = log_from(log_batch, asked)
    smallest, largest = f"{exp(first):,.0f}", f"{exp(last):,.0f}"
    lowest, highest = first - log(REACH), last + log(REACH)
    steps_first, steps_last = sample.median(log_batch[[0, -1]])
    no_flattening = f"no flattening is seen up to batch size {largest}"
    no_fall = f"steps hardly fall from batch size {smallest} on"
    shapes = sample.shapes
    questions = {
        # At REACH times the largest batch size measured, 1 + REACH: what B_c there would mean.
        "s_min": Question(
            np.maximum(sample.log_s_min, 0.0),  # no training takes less than a step
            steps_last - log(1 + REACH),
            inf,
            no_flattening,
        ),
        "e_min": Question(
            sample.log_s_min + shapes.log_half,
            first + steps_first - log(1 + REACH),
            last + steps_last,
            no_fall,
            no_flattening,
        ),
        "half_efficiency": Question(shapes.log_half, lowest, highest, no_fall, no_flattening),
        "perfect_until": Question(
            shapes.log_perfect_until(asked.extra, begin),
            begin + log(2),
            highest,
            f"no near-perfect part is seen: the first doubling, from batch size "
            f"{exp(begin):,.0f}, may already cost more than {100 * asked.extra:.0f} % extra "
            "examples",
            f"near-perfect scaling may go on beyond batch size {largest}",
        ),
        "useful_until": Question(
            shapes.log_useful_until(asked.share),
            lowest,
            highest,
            f"doubling may save less than {100 * asked.share:.0f} % of the steps from batch size "
            f"{smallest} on",
            f"doubling may still save {100 * asked.share:.0f} % of the steps beyond batch size "
            f"{largest}",
        ),
    }
    return {
        name: replace(question, bracket=brackets.get(name, ANYTHING))
        for name, question in questions.items()
    }
