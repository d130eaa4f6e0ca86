"""Rules that drop a trial for what others of its study have shown: cheaper, and inexact.

Either may drop the trial that would have won. So they are options, off by default, and what they
drop says so in its outcome and its reason. They are asked at full evaluations, and know of the
trials that have been evaluated there, dropped and ended ones among them, the curves up to it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchfront.errors import UsageError
from batchfront.outcomes import CurvePoint, Evaluation, LearningCurve
from batchfront.workload.goal import Goal

KEPT = 8
"""Trials that go on at least: the order of the last few is mostly noise, and a leader that comes to
nothing must leave others."""

FEWEST = 4
"""Of a curve, at least, to extrapolate it: with fewer its noise is not known."""


def curve_of(evaluations: Sequence[Evaluation]) -> list[CurvePoint]:
    """A trial's full evaluations as a curve."""
    return [CurvePoint(one.step, one.metric) for one in evaluations]


class DroppingRule(Protocol):
    """Decides on trials of one study at one full evaluation."""

    def dropped(self, curves: Mapping[int, LearningCurve], cap: int | None) -> dict[int, str]:
        """The numbers of the trials that go no further, and why.

        curves -- of the trials that have been evaluated at this step, all ending there
        cap    -- as many trials as are to be finishers have passed the goal in so many steps
        """


def rules(goal: Goal, finishers: int, *, halving: bool, extrapolate: bool) -> list[DroppingRule]:
    """The rules of a study with these options. Raises UsageError if they can't work with its goal.

    finishers -- the trials that are to pass the goal; 0: as many as can
    """
    if extrapolate and math.isinf(goal.best):
        raise UsageError(
            f"--extrapolate: needs a metric with a best possible value, and {goal.metric.name} has "
            "none; give its bounds, or leave the option out"
        )
    chosen: list[DroppingRule] = [Halving(goal, finishers)] if halving else []
    return [*chosen, Extrapolation(goal, finishers)] if extrapolate else chosen


@dataclass(frozen=True)
class Halving:
    """Successive halving (Jamieson and Talwalkar 2016): at rungs a factor of 2 in steps apart, a
    trial goes on only if fewer than half of those that came so far are strictly better.

    Asynchronous where a study's trials are in several heats, as in ASHA (Li et al. 2018): each is
    compared with those known at that rung when it gets there.

    finishers -- so many go on at least
    first     -- no rung before this step
    kept      -- so many go on at least, too

    The last two were chosen on the first 10 seeds of tests/benchmarks/search_price.py.
    """

    goal: Goal
    finishers: int = 1
    first: int = 32
    kept: int = KEPT

    def dropped(self, curves: Mapping[int, LearningCurve], cap: int | None) -> dict[int, str]:
        if not any(self._is_rung(curve) for curve in curves.values()):
            return {}
        sign = 1 if self.goal.metric.better == "lower" else -1
        costs = {number: sign * curve[-1].metric for number, curve in curves.items()}
        whole = len(costs)
        room = max(math.ceil(whole / 2), self.kept, self.finishers)
        places = {n: 1 + sum(other < cost for other in costs.values()) for n, cost in costs.items()}
        step = _step(curves)
        return {
            number: f"halved at step {step}: number {place} of {whole}"
            for number, place in places.items()
            if place > room
        }

    def _is_rung(self, curve: LearningCurve) -> bool:
        """Whether its last point is the first one at or past a power of 2."""
        step = curve[-1].step
        before = curve[-2].step if len(curve) > 1 else 0
        return step >= self.first and step.bit_length() > before.bit_length()


@dataclass(frozen=True)
class Extrapolation:
    """A trial goes no further if, continued at its best, it would miss the goal when the leader is
    to pass it.

    Ours, after Domhan et al. 2015, who stop a run when it is improbable that it gets better than
    the best: here the metric's distance to its best possible value is fitted as a power of the
    steps, by least squares in logarithms over the last points. The leader is the trial whose line
    meets the goal first (of several finishers, the last of them). A trial is dropped if its line
    there, less `deviations` of a new point about it (the textbook's prediction error, whose noise
    is no less than that of all the lines together), still lies beyond the goal.

    window     -- the points from a `window`-th of the steps on, FEWEST of them at least
    near       -- nothing is dropped while the leader needs more than so many times the steps so far
    deviations -- how unlikely it has to be
    kept       -- those whose lines are best there, so many, go on in any case

    The last four were chosen on the first 10 seeds of tests/benchmarks/search_price.py.
    """

    goal: Goal
    finishers: int = 1
    window: float = 8.0
    near: float = 4.0
    deviations: float = 4.0
    kept: int = KEPT

    def dropped(self, curves: Mapping[int, LearningCurve], cap: int | None) -> dict[int, str]:
        lines = {n: line for n, curve in curves.items() if (line := self._line(curve)) is not None}
        goal = math.log(abs(self.goal.value - self.goal.best))
        step = _step(curves)
        ahead = self._ahead(lines.values(), goal)
        if cap is not None:
            ahead = min(ahead, math.log(max(cap / step, 1.0)))
        if not ahead <= math.log(self.near):
            return {}
        freedom = sum(line.count - 2 for line in lines.values())
        noise = sum(line.squares for line in lines.values()) / freedom if freedom else 0.0
        best = sorted(lines, key=lambda number: lines[number].at(ahead))
        return {
            number: f"extrapolated at step {step}: would miss the goal at step "
            f"{round(step * math.exp(ahead))}, when the leader is to pass it"
            for number in best[max(self.kept, self.finishers) :]
            if (line := lines[number]).at(ahead) - self.deviations * line.error(ahead, noise) > goal
        }

    def _ahead(self, lines: Iterable["_Line"], goal: float) -> float:
        """The logarithm of the steps at which the leader is to pass, over those so far."""
        each = sorted(line.meets(goal) for line in lines)
        last = max(self.finishers, 1)
        return each[last - 1] if len(each) >= last else math.inf

    def _line(self, curve: LearningCurve) -> "_Line | None":
        step, best = curve[-1].step, self.goal.best
        seen = [
            (math.log(point.step / step), abs(point.metric - best))
            for point in curve
            if point.step * self.window >= step
        ]
        if len(seen) < FEWEST or any(distance <= 0 for _, distance in seen):
            return None
        return _Line.through([(x, math.log(distance)) for x, distance in seen])


@dataclass(frozen=True)
class _Line:
    """A straight line fitted to points by least squares.

    count, mean, spread -- of the points: their number, and the mean and the squared deviations
                           of where they are
    squares             -- the squares of what they lie off the line, summed
    """

    level: float
    slope: float
    count: int
    mean: float
    spread: float
    squares: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> "_Line":
        count = len(points)
        mean = sum(x for x, _ in points) / count
        height = sum(y for _, y in points) / count
        spread = sum((x - mean) ** 2 for x, _ in points)
        slope = sum((x - mean) * (y - height) for x, y in points) / spread
        level = height - slope * mean
        squares = sum((y - level - slope * x) ** 2 for x, y in points)
        return cls(level, slope, count, mean, spread, squares)

    def at(self, x: float) -> float:
        return self.level + self.slope * x

    def meets(self, height: float) -> float:
        """Where, from 0 on, it has come down to a height; infinite if it doesn't."""
        if self.level <= height:
            return 0.0
        return (height - self.level) / self.slope if self.slope < 0 else math.inf

    def error(self, x: float, noise: float) -> float:
        """The standard error of a new point there; `noise` is a variance about the line."""
        own = self.squares / (self.count - 2)
        leverage = 1 + 1 / self.count + (x - self.mean) ** 2 / self.spread
        return math.sqrt(max(own, noise) * leverage)


def _step(curves: Mapping[int, LearningCurve]) -> int:
    """The step at which these curves all end."""
    return max((curve[-1].step for curve in curves.values()), default=1)
