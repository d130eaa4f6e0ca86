"""The steps that one run takes to the goal, at any batch size that the frontier allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, hypot, isfinite, log, sqrt
from statistics import median, pstdev

import numpy as np

from batchfront.advice.intervals import REACH_90, Interval
from batchfront.errors import UsageError
from batchfront.frontier.curve.answers import by_expected_steps, fit_curve
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.estimates import REACH
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.reruns import Confirmation, Confirmations
from batchfront.phrases import first_few
from batchfront.store.commands import command

_FEWEST_SEEDS = 3
"""Without which the median of seeds says little of how lucky a winner was."""


_UNKNOWN = 0.2
"""The standard deviation of the logarithm of one run's steps around those of another, where nothing
tells it: neither seeds, nor what trials have shown, nor how points scatter around a curve."""


@dataclass(frozen=True)
class Steps:
    """The steps of one run at a batch size, and whether trials have run there."""

    interval: Interval
    measured: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Luck:
    """What a run with another seed takes, by seeds that have run.

    ratio -- its median over the steps that the curve goes through
    noise -- the standard deviation of the logarithm of one run's steps around that; None: unknown
    least -- the smallest ratio of a batch size
    most  -- the largest
    """

    ratio: float = 1.0
    noise: float | None = None
    least: float = 1.0
    most: float = 1.0


@dataclass(frozen=True)
class RunSteps:
    """The steps of one run against the batch size.

    confirmations -- of the frontier's winners, by batch size
    """

    frontier: Frontier
    confirmations: Confirmations

    def __post_init__(self) -> None:
        """Raise UsageError where no batch size has reached the goal."""
        if not self.frontier.reached:
            raise UsageError(
                f"{self.frontier.workload}: no batch size has reached the goal "
                f"({self.frontier.goal_text}) yet, so there are no steps to make hours of"
            )

    @cached_property
    def curve(self) -> Curve:
        """The curve through the frontier, which may be refused."""
        return fit_curve(self.frontier)

    @cached_property
    def by_expected_steps(self) -> bool:
        """Whether they are those that a run is expected to take, and no winner's."""
        return by_expected_steps(self.frontier)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that have reached the goal, ascending."""
        return tuple(point.batch_size for point in self.frontier.reached)

    @property
    def reach(self) -> tuple[int, int]:
        """The smallest and the largest batch size of which anything is said; none is larger than
        the training set."""
        first, last = self.sizes[0], self.sizes[-1]
        if self.curve.refusal:
            return first, last
        beyond = self.frontier.unreached_beyond
        known = self.curve.worse_from is not None or bool(
            beyond and beyond[0].batch_size <= last * REACH
        )
        furthest = last if known else int(last * REACH)
        most = self.frontier.points[0].study.train_examples or furthest
        return max(int(-(-first // REACH)), 1), max(min(furthest, most), last)

    def allows(self, batch_size: int) -> bool:
        """Whether anything is said of this batch size: it isn't among those that have not reached
        the goal, nor between one of them and its neighbours, nor too far outside."""
        if batch_size in self.sizes:
            return True
        if self.curve.refusal is not None:
            return False
        first, last = self.reach
        if not first <= batch_size <= last:
            return False
        nearest = [p for p in self.frontier.points if p.batch_size <= batch_size][-1:]
        nearest += [p for p in self.frontier.points if p.batch_size >= batch_size][:1]
        return all(point.steps is not None for point in nearest)

    def refuse(self, batch_size: int) -> UsageError:
        """Why nothing is said of a batch size."""
        there = first_few([f"{size:,}" for size in self.sizes])
        if self.curve.refusal is not None:
            why = f"there is no curve to say its steps ({self.curve.refusal}); {there} reached it"
        else:
            first, last = self.reach
            why = f"steps are known from {first:,} to {last:,}, where the goal was reached"
        return UsageError(f"batch size {batch_size:,}: {why}")

    def of(self, batch_sizes: Sequence[int]) -> dict[int, Steps]:
        """The steps at some batch sizes, all of which must be allowed."""
        for size in batch_sizes:
            if not self.allows(size):
                raise self.refuse(size)
        if not batch_sizes:
            return {}
        if self.curve.refusal is not None:
            return {size: self._alone(size) for size in batch_sizes}
        found = self.curve.predict(batch_sizes)
        ends = (found.low, found.high)
        if not self.by_expected_steps and self._luck.noise is None:
            ends = (found.new_low, found.new_high)
        rows = zip(batch_sizes, found.median, *ends, strict=True)
        return {size: self._run(size, *map(float, told)) for size, *told in rows}

    def _run(self, size: int, middle: float, low: float, high: float) -> Steps:
        ratio = self._luck.ratio
        steps = Interval(middle, min(low, middle), max(high, middle)).times(ratio)
        return Steps(steps.blurred(self._noise(size)), size in self.sizes, self._notes(size))

    def _alone(self, size: int) -> Steps:
        """At a batch size that was measured, where there is no curve."""
        point = next(point for point in self.frontier.reached if point.batch_size == size)
        if self.by_expected_steps:
            expected = self.frontier.expected.by_batch_size[size]
            return self._run(size, expected.steps, expected.low, expected.high)
        assert point.steps is not None
        earliest = point.steps if point.steps_lower is None else point.steps_lower + 1
        return self._run(size, point.steps, min(earliest, point.steps), point.steps)

    def _noise(self, size: int) -> float:
        """The standard deviation of the logarithm of one run's steps around the expected ones."""
        if not self.by_expected_steps:
            assumed = _UNKNOWN if self._scatter_is_assumed else 0.0
            return assumed if self._luck.noise is None else self._luck.noise
        points = self.frontier.expected.points
        at = [log(point.batch_size) for point in points]
        return float(np.interp(log(size), at, [point.noise for point in points]))

    @property
    def _scatter_is_assumed(self) -> bool:
        """Whether nothing tells how the steps of runs scatter; around a curve, its points do."""
        return (
            not self.by_expected_steps
            and self._luck.noise is None
            and self.curve.refusal is not None
        )

    def _notes(self, size: int) -> tuple[str, ...]:
        if size in self.sizes:
            return ()
        first, last = self.sizes[0], self.sizes[-1]
        if first < size < last:
            return (f"No trial ran at batch size {size:,}: its steps are the curve's.",)
        return (
            f"No trial ran at batch size {size:,}: its steps are extrapolated by the curve of "
            f"{first:,} to {last:,}.",
        )

    @cached_property
    def _luck(self) -> Luck:
        """What seeds tell of a run, where the curve goes through winners, or medians of seeds."""
        if self.by_expected_steps:
            return Luck()
        if self.frontier.measured_elsewhere:
            return Luck(noise=_scatter([point.seeds for point in self.frontier.reached]))
        reruns = [told for point in self.frontier.reached if (told := self._rerun(point))]
        ratios = [one.ratio for one in reruns if one.ratio is not None]
        if not ratios:
            return Luck()
        noise = _scatter([one.steps for one in reruns])
        if noise is not None:  # how lucky a winner was differs, too
            noise = hypot(noise, pstdev(map(log, ratios)))
        return Luck(median(ratios), noise, min(ratios), max(ratios))

    def _rerun(self, point: Point) -> Confirmation | None:
        """A winner's fresh seeds, where there are enough and all have reached the goal."""
        for one in self.confirmations.get(point.batch_size, ()):
            done = one.ratio is not None and not one.unreached and one.seeds >= _FEWEST_SEEDS
            if one.trial == point.trial and done:
                return one
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about all of them, a sentence each."""
        return (*self._whose, *self._failing, *self.curve.warnings, *self._no_curve)

    @property
    def _failing(self) -> Iterator[str]:
        """Where fresh seeds of the best trial did not all reach the goal."""
        for point in self.frontier.reached:
            for one in self.confirmations.get(point.batch_size, ()):
                if one.trial == point.trial and one.unreached:
                    yield (
                        f"At batch size {point.batch_size:,}, {one.unreached} of {one.seeds} fresh "
                        "seeds of the best trial did not reach the goal: hours are of runs that do."
                    )

    @property
    def _no_curve(self) -> tuple[str, ...]:
        if self.curve.refusal is None:
            return ()
        return (
            f"No curve can be drawn through these points ({self.curve.refusal}): only batch sizes "
            "that were measured are compared.",
            *(
                f"That 90 % of runs take steps within a factor of {exp(REACH_90 * _UNKNOWN):.1f} "
                "either way is assumed.",
            )
            * self._scatter_is_assumed,
        )

    @property
    def _whose(self) -> tuple[str, ...]:
        """Whose steps they are."""
        luck = self._luck
        if self.by_expected_steps:
            return ()
        if self.frontier.measured_elsewhere:
            if luck.noise is not None:
                return ()
            return ("How the steps of runs with different seeds scatter isn't known.",)
        if luck.noise is not None:
            between = ""
            if luck.most > luck.least:
                between = f" in the median ({luck.least:.2f} to {luck.most:.2f} by batch size)"
            return (
                f"Steps are those of the best trials times {luck.ratio:.2f}, as fresh seeds of "
                f"these took{between}.",
            )
        allowed = self.frontier.points[0].study.allowed
        confirm = command(self.frontier.url, "confirm", self.frontier.workload, *allowed)
        return (
            "Steps are those of the luckiest trial of each batch size, and a run with another seed "
            f"mostly takes more; {confirm} shows how many.",
        )


def _scatter(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation of the logarithm of steps around their groups' means, pooled; None
    where no group has two."""
    logs = [[log(one) for one in group if isfinite(one)] for group in groups]
    freedom = sum(len(group) - 1 for group in logs if group)
    if freedom < 1:
        return None
    squares = sum(len(group) * float(np.var(group)) for group in logs if group)
    return sqrt(squares / freedom)
