"""Which batch size to train with, as far as steps and examples alone can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.curve.text import SPACE, count, number
from batchfront.frontier.frontier import Frontier

if TYPE_CHECKING:
    from batchfront.frontier.curve.curve import Curve
    from batchfront.frontier.curve.estimates import Estimate

_AS_GOOD = 1.1
"""By so much a batch size may lie beyond an answer of the curve, which no curve is surer of."""


@dataclass(frozen=True)
class Spent:
    """What training takes at one batch size.

    about -- whether the steps are foretold, by the curve or as expected ones, and not counted
    """

    batch_size: int
    steps: float
    about: bool = False

    @property
    def examples(self) -> float:
        return self.steps * self.batch_size

    @property
    def text(self) -> str:
        """In words: "about 230 steps on 3,680 examples"."""
        shown = number if self.about else count
        steps = "1 step" if self.steps == 1 else f"{shown(self.steps)} steps"
        return f"{'about ' if self.about else ''}{steps} on {shown(self.examples)} examples"


@dataclass(frozen=True)
class Recommendation:
    """The batch sizes to choose from, of those that reached the goal.

    alone    -- for one device, whose time goes with the examples: the largest at which scaling is
                near-perfect; without a curve the one that takes the fewest examples
    several  -- for as many devices as pay: the largest that is useful; without a curve the one that
                takes the fewest steps
    beyond   -- the largest of all, where that is larger still
    by_curve -- whether a curve tells scaling from luck
    open_end -- whether a larger batch size than the largest may be useful, too
    """

    alone: Spent
    several: Spent
    beyond: Spent | None = None
    by_curve: bool = True
    open_end: bool = False

    @property
    def headline(self) -> str:
        """In one sentence: the batch sizes, and what the larger one costs in data."""
        alone, several = self.alone, self.several
        if alone == several:
            return self._chosen()[0]
        costs = traded(alone, several)
        if not self.by_curve:
            return (
                f"Of those measured, batch size {alone.batch_size:,} takes the fewest examples and "
                f"{several.batch_size:,} the fewest steps: {costs}."
            )
        return (
            f"Batch size {alone.batch_size:,} for one device, and up to {several.batch_size:,} for "
            f"several: {costs}{self._ends}."
        )

    @property
    def text(self) -> str:
        """In a few sentences."""
        return " ".join(filter(None, (*self._chosen(), self.beyond_text)))

    def _chosen(self) -> Sequence[str]:
        alone, several = self.alone, self.several
        one, more = f"batch size {alone.batch_size:,}", f"batch size {several.batch_size:,}"
        if not self.by_curve:
            if alone == several:
                return (f"Of those measured, {one} takes the fewest steps and examples.",)
            return (
                f"Of those measured, {one} takes the fewest examples: {alone.text}.",
                f"The fewest steps are those of {more}: {several.text}, {traded(alone, several)}.",
            )
        if alone == several:
            return (f"For one device or several, {one}: {alone.text}{self._ends}.",)
        return (
            f"For one device, whose time goes with the examples, {one}: {alone.text}.",
            f"For several, up to {more}: {several.text}, {traded(alone, several)}{self._ends}.",
        )

    @property
    def _ends(self) -> str:
        return "; a larger one than was measured may be useful, too" if self.open_end else ""

    @property
    def beyond_text(self) -> str:
        """What a still larger batch costs, in a sentence; empty where none was measured."""
        if self.beyond is None:
            return ""
        return (
            f"Beyond, more devices hardly pay: batch size {self.beyond.batch_size:,} takes "
            f"{self.beyond.text}, {traded(self.several, self.beyond)}."
        )


def recommendation(frontier: Frontier, curve: Curve | None) -> Recommendation | None:
    """Recommend batch sizes by a frontier and the curve through it, which may be refused. None
    where there is nothing to choose from: fewer than two have reached the goal."""
    points = _points(frontier)
    if len(points) < 2:
        return None
    if curve is not None and not curve.refusal:
        perfect, useful = curve.perfect_until, curve.useful_until
        if "unknown" not in (perfect.kind, useful.kind):
            return _by_curve(_along(curve, points), perfect, useful)
    return Recommendation(
        min(points, key=lambda one: (one.examples, one.batch_size)),
        min(points, key=lambda one: (one.steps, one.batch_size)),
        by_curve=False,
    )


def _by_curve(spent: Sequence[Spent], perfect: Estimate, useful: Estimate) -> Recommendation:
    alone = _largest(spent, perfect)
    several = max(alone, _largest(spent, useful), key=_size)
    if several != spent[-1]:
        return Recommendation(alone, several, spent[-1])
    return Recommendation(alone, several, open_end=useful.kind == "at least")


def _points(frontier: Frontier) -> list[Spent]:
    """By batch size, what the curve goes through: what is expected, or what was measured."""
    if by_expected_steps(frontier):
        return [_about(one.batch_size, one.steps) for one in frontier.expected.points]
    return [Spent(one.batch_size, one.steps or 0.0) for one in frontier.reached]


def _about(batch_size: int, steps: float) -> Spent:
    """With as many digits as are said, so that what is computed from them agrees with it."""
    return Spent(batch_size, round(steps) if steps >= 10 else float(f"{steps:.2g}"), about=True)


def _along(curve: Curve, points: Sequence[Spent]) -> list[Spent]:
    """The same on the curve, as far as that falls: a point may be off it by luck."""
    steps = curve.predict([one.batch_size for one in points]).median
    return [
        one
        if curve.worse_from is not None and one.batch_size >= curve.worse_from
        else _about(one.batch_size, float(foretold))
        for one, foretold in zip(points, steps, strict=True)
    ]


def _largest(spent: Sequence[Spent], until: Estimate) -> Spent:
    """The largest up to an answer of the curve; the smallest where none is."""
    most = _AS_GOOD * (until.value or until.low or 0.0)
    return max((one for one in spent if one.batch_size <= most), default=spent[0], key=_size)


def _size(one: Spent) -> int:
    return one.batch_size


def traded(one: Spent, other: Spent) -> str:
    """What another batch size takes, by what one takes: "6.5 times the data for 19 % fewer
    steps"."""
    return f"{_data(other.examples / one.examples)} for {_steps(one.steps / other.steps)}"


def _data(ratio: float) -> str:
    if ratio < 0.95:
        return f"{100 * (1 - ratio):.0f}{SPACE}% less data"
    return "as much data" if ratio <= 1.05 else f"{_times(ratio)} the data"


def _steps(ratio: float) -> str:
    if ratio <= 1:
        return "no fewer steps"
    if ratio >= 10:
        return f"{_times(ratio)} fewer steps"
    return f"{max(100 * (1 - 1 / ratio), 1):.0f}{SPACE}% fewer steps"


def _times(ratio: float) -> str:
    return "twice" if 1.95 <= ratio < 2.05 else f"{float(f'{ratio:.2g}'):,g} times"
