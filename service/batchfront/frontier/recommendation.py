"""Which batch size to train with, as far as steps and examples alone can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import TYPE_CHECKING, Any

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.curve.text import SPACE, count, estimate_text, number, size
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
    perfect  -- how far scaling is near-perfect, by the curve; None without one
    useful   -- how far a larger batch size is useful, likewise

    What was measured seldom lies where the curve's answers do: one a little beyond is taken, and
    said to be so.
    """

    alone: Spent
    several: Spent
    beyond: Spent | None = None
    perfect: Estimate | None = None
    useful: Estimate | None = None

    @property
    def by_curve(self) -> bool:
        """Whether a curve tells scaling from luck."""
        return self.useful is not None

    @property
    def open_end(self) -> bool:
        """Whether a larger batch size than the largest may be useful, too."""
        if self.useful is None or self.beyond is not None:
            return False
        if self.useful.value is None:
            return self.useful.low is not None
        return self.useful.value > _AS_GOOD * self.several.batch_size

    def to_dict(self) -> dict[str, Any]:
        """As plain data. What the curve says of it stands among the curve's answers."""
        return {
            "text": self.text,
            "alone": asdict(self.alone),
            "several": asdict(self.several),
            "beyond": None if self.beyond is None else asdict(self.beyond),
            "by_curve": self.by_curve,
            "open_end": self.open_end,
        }

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
            f"Batch size {alone.batch_size:,} for one device{self._past_perfect}, and up to "
            f"{several.batch_size:,} for several{self._past_useful}: {costs}{self._ends}."
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
            one += self._past_useful or self._past_perfect
            return (f"For one device or several, {one}: {alone.text}{self._ends}.",)
        one, more = f"{one}{self._past_perfect}", f"{more}{self._past_useful}"
        return (
            f"For one device, whose time goes with the examples, {one}: {alone.text}.",
            f"For several, up to {more}: {several.text}, {traded(alone, several)}{self._ends}.",
        )

    @property
    def _past_perfect(self) -> str:
        return _past(self.alone, self.perfect, "near-perfect")

    @property
    def _past_useful(self) -> str:
        return _past(self.several, self.useful, "useful")

    @property
    def _ends(self) -> str:
        return "; a larger one than was measured may be useful, too" if self.open_end else ""

    @property
    def beyond_text(self) -> str:
        """What a still larger batch costs, in a sentence; empty where none was measured."""
        if self.beyond is None:
            return ""
        return (
            f"{self._beyond}: batch size {self.beyond.batch_size:,} takes {self.beyond.text}, "
            f"{traded(self.several, self.beyond)}."
        )

    @property
    def _beyond(self) -> str:
        until = self.useful
        if until is not None and until.value is None and until.low is not None:
            return f"Whether one beyond {size(until.low)} is useful can't be told"
        end = None if until is None else until.value
        past = "" if end is None or end <= self.several.batch_size else f" {size(end)}"
        return f"Beyond{past}, more devices hardly pay"


def recommendation(frontier: Frontier, curve: Curve | None) -> Recommendation | None:
    """Recommend batch sizes by a frontier and the curve through it, which may be refused. None
    where there is nothing to choose from: fewer than two have reached the goal."""
    points = _points(frontier)
    if len(points) < 2:
        return None
    if curve is not None and not curve.refusal:
        perfect, useful = curve.perfect_until, curve.useful_until
        if "unknown" not in (perfect.kind, useful.kind):
            spent = _along(curve, points)
            alone = _largest(spent, perfect, curve.perfect_from)
            several = max(alone, _largest(spent, useful), key=_size)
            if useful.kind == "at least":
                several = _still_saving(spent, several, curve.asked.share)
            beyond = None if several == spent[-1] else spent[-1]
            return Recommendation(alone, several, beyond, perfect, useful)
    return Recommendation(
        min(points, key=lambda one: (one.examples, one.batch_size)),
        min(points, key=lambda one: (one.steps, one.batch_size)),
    )


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


def _largest(spent: Sequence[Spent], until: Estimate, start: int = 0) -> Spent:
    """The largest up to an answer of the curve, which is measured from `start`; the smallest where
    none is."""
    most = max(_AS_GOOD * (until.value or until.low or 0.0), start)
    return max((one for one in spent if one.batch_size <= most), default=spent[0], key=_size)


def _still_saving(spent: Sequence[Spent], one: Spent, share: float) -> Spent:
    """The largest whose steps, by those foretold, are fewer than at a smaller one by that share a
    doubling: how far a larger one is sure to be useful is less than what is likely."""
    found = (
        more
        for more in spent
        if more.batch_size > one.batch_size
        and more.steps <= one.steps * (1 - share) ** log2(more.batch_size / one.batch_size)
    )
    return max(found, default=one, key=_size)


def _past(one: Spent, until: Estimate | None, what: str) -> str:
    """That a batch size lies beyond an answer of the curve, as a clause; empty where it doesn't."""
    end = None if until is None else until.value or until.low or until.high
    if until is None or end is None or one.batch_size <= end:
        return ""
    said = estimate_text(until, size) if until.value is None else size(end)
    return "" if said == f"{one.batch_size:,}" else f" ({what} up to {said})"


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
