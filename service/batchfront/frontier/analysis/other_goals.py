"""Steps to other goals, from the same measurements.

A trial is measured in full at some of its evaluations only, so that the step at which it passed
another goal lies between two of them. A goal that is harder than the study's needs trials that went
on past it. Each point says whether the trials that were run settle it: an easier goal they nearly
always do, as trials are capped only when another has passed the study's own goal, which is later.
`batchfront.frontier.analysis.along_training` has the curves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from batchfront.errors import UsageError
from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.censoring import may_go_on, stopped_short
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Curves, Trial, Trials
from batchfront.median import median
from batchfront.outcomes import in_words
from batchfront.vocabulary import Outcome

Values = TypeVar("Values", float, NDArray[np.float64])


@dataclass(frozen=True)
class GoalMetric:
    """The goal of a frontier: `lower` says whether less of the metric is better."""

    value: float
    lower: bool

    @classmethod
    def of(cls, frontier: Frontier) -> "GoalMetric":
        """The goal of a frontier's studies."""
        goal = frontier.goal
        return cls(float(goal["value"]), goal["better"] == "lower")

    def cost(self, values: Values) -> Values:
        """The values, with their sign changed where more is better: the lowest is the best."""
        return values if self.lower else -values

    def passed(self, value: float) -> bool:
        """Whether a value is strictly past the goal, as a trial's has to be."""
        return bool(self.cost(value) < self.cost(self.value))

    def is_harder_than(self, value: float) -> bool:
        """Whether a goal of this value is easier: what passes this one has passed it."""
        return bool(self.cost(self.value) < self.cost(value))


def goal_metric(frontier: Frontier) -> str:
    """What the goal is of, in words: "validation error rate"; "the goal metric" if nobody said."""
    return frontier.metric_text if frontier.goal["metric"] else "the goal metric"


def significant(value: float, digits: int = 2) -> float:
    """A number of so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.{digits - 1}e}")


@dataclass(frozen=True)
class GoalPoint:
    """The frontier at one batch size, for another goal.

    steps       -- the first measured step strictly past the goal, of the trial that got there
                   first; of equals the lowest number. None if none was seen to
    steps_lower -- the last step up to which the goal stood open where every trial that might have
                   been first was evaluated: one passed it in (steps_lower, steps], or, without
                   `steps`, none has by then. None if all trials were given up
    examples    -- steps * batch_size
    complete    -- no trial that might have been first stopped before
    reason      -- if not, which did
    """

    batch_size: int
    steps: float | None
    steps_lower: float | None
    examples: int | None
    trial: int | None
    complete: bool
    reason: str = ""


@dataclass(frozen=True)
class GoalFrontier:
    """A goal, what it asks of the metric ("< 0.05"), and its frontier. `own`: it is the one that
    the trials ran for."""

    value: float
    text: str
    own: bool
    points: tuple[GoalPoint, ...]


@dataclass(frozen=True)
class Goals:
    """The frontiers of a workload for several goals, the easiest first; none, with a `reason`, if
    nothing was measured. `metric` and `better` ("lower" or "higher") are those of its own goal."""

    workload: str
    metric: str
    better: str
    frontiers: tuple[GoalFrontier, ...]
    reason: str = ""


@dataclass(frozen=True)
class GoalCrossing:
    """A trial passed the goal in (lower, upper]; upper is None if it was not seen to."""

    trial: Trial
    lower: float
    upper: float | None

    @property
    def log_width(self) -> float:
        """How far apart the logarithms of these steps lie; 0 where it was not seen to."""
        return 0.0 if self.upper is None else math.log(max(self.upper / (self.lower + 1), 1.0))


def goals(
    frontier: Frontier, trials: Trials, curves: Curves, values: Sequence[float] = ()
) -> Goals:
    """The frontier for each goal; by default for the study's own and a few around it.

    Raises UsageError for a goal that is not a finite number.
    """
    for value in values:
        if not math.isfinite(value):
            raise UsageError(f"--goal {value:g}: must be a finite number")
    metric, better = goal_metric(frontier), str(frontier.goal["better"])
    if not any(point.study.id in curves for point in frontier.points):
        reason = f"no measurements of {metric} are kept"
        return Goals(frontier.workload, metric, better, (), reason)
    trials, curves = as_raced(frontier, trials, curves)
    own = GoalMetric.of(frontier)
    chosen = sorted(set(values or default_goals(frontier, curves)), key=own.cost, reverse=True)
    found = tuple(_frontier(frontier, trials, curves, own, value) for value in chosen)
    return Goals(frontier.workload, metric, better, found)


def default_goals(frontier: Frontier, curves: Curves) -> tuple[float, ...]:
    """The study's goal; goals an eighth, a quarter and half of the way back to where training
    starts; and, where trials went on past it, one half of the way to the best value that every
    batch size came to."""
    own = GoalMetric.of(frontier)
    starts, ends = [], []
    for point in frontier.points:
        if point.study.id not in curves:
            continue
        mine = curves[point.study.id]
        costs, (_, firsts) = own.cost(mine.values), np.unique(mine.numbers, return_index=True)
        start = median(np.where(np.isnan(costs[firsts]), math.inf, costs[firsts]).tolist())
        if math.isfinite(start):
            starts.append(start)
            ends += [float(np.nanmin(costs))] if point.steps is not None else []
    chosen = [own.value]
    if starts and min(starts) > own.cost(own.value):
        start = own.cost(min(starts))
        chosen += [significant(_between(own, start, part)) for part in (1 / 8, 1 / 4, 1 / 2)]
    if ends and _went_on(frontier, curves):
        chosen.append(significant(_between(own, own.cost(max(ends)), 1 / 2), digits=3))
    return tuple(dict.fromkeys(chosen))


def _between(own: GoalMetric, other: float, part: float) -> float:
    """Part of the way from the goal to another value: evenly in the logarithm of what is missing
    to the best, 0 or 1, or evenly as it is where that has no logarithm."""
    best = 0.0 if own.lower else 1.0
    goal_error, other_error = own.cost(own.value) - own.cost(best), own.cost(other - best)
    if goal_error <= 0 or other_error <= 0:
        return own.value + part * (other - own.value)
    return best + own.cost(float(goal_error ** (1 - part) * other_error**part))


def _went_on(frontier: Frontier, curves: Curves) -> bool:
    """Whether, at every batch size with a winner, some trial was measured after it had passed."""
    for point in frontier.reached:
        passed = {finisher.number: finisher.steps for finisher in point.finishers}
        kept = curves[point.study.id].by_trial() if point.study.id in curves else {}
        if not any(n in passed and steps[-1] > passed[n] for n, (steps, _) in kept.items()):
            return False
    return True


def _frontier(
    frontier: Frontier, trials: Trials, curves: Curves, own: GoalMetric, value: float
) -> GoalFrontier:
    points = tuple(
        _own(point, trials) if value == own.value else _point(point, trials, curves, own, value)
        for point in frontier.points
        if point.study.id in curves or value == own.value
    )
    return GoalFrontier(value, f"{'<' if own.lower else '>'} {value:g}", value == own.value, points)


def _own(point: Point, trials: Trials) -> GoalPoint:
    best, mine = point.best, trials.get(point.study.id, ())
    # One that passed the goal and goes on is not done, but has said what it could.
    running = sum(t.outcome is None and t.steps_to_target is None for t in mine)
    until = _NEVER if point.steps is None else point.steps
    dropped = sum(t.outcome == Outcome.DROPPED and t.steps < until for t in mine)
    short = {"open": running, str(Outcome.DROPPED): dropped}
    reason = in_words({outcome: count for outcome, count in short.items() if count})
    return GoalPoint(
        point.batch_size,
        point.steps,
        point.steps_lower,
        point.examples,
        best.number if best else None,
        not reason,
        reason,
    )


def _point(
    point: Point, trials: Trials, curves: Curves, own: GoalMetric, value: float
) -> GoalPoint:
    crossings = goal_crossings(point, trials, curves, own, value)
    passed = [(p.upper, p.trial.number) for p in crossings if p.upper is not None]
    others = [p for p in crossings if p.upper is None and may_go_on(p.trial)]
    if passed:
        steps, number = min(passed)
        lower = min(p.lower for p in crossings if p.upper is not None or may_go_on(p.trial))
        short = stopped_short((p.trial for p in others), steps)
        reason = f"stopped before: {in_words(short)}" if short else ""
        examples = round(steps * point.batch_size)
        return GoalPoint(point.batch_size, steps, lower, examples, number, not short, reason)
    evaluated = min((p.lower for p in others), default=None)
    short = stopped_short((p.trial for p in others if p.trial.outcome != Outcome.EXHAUSTED), _NEVER)
    reason = f"none passed it, but stopped early: {in_words(short)}" if short else "none passed it"
    return GoalPoint(point.batch_size, None, evaluated, None, None, not short, reason)


def goal_crossings(
    point: Point, trials: Trials, curves: Curves, own: GoalMetric, value: float
) -> list[GoalCrossing]:
    """When each trial of a study that was measured passed a goal of this value, as far as that is
    known."""
    measured = curves[point.study.id].by_trial()
    goal = GoalMetric(value, own.lower)
    return [
        _goal_crossing(trial, *measured.get(trial.number, _NONE), own, goal)
        for trial in trials.get(point.study.id, ())
    ]


_NEVER = 2**63

_NONE = (np.empty(0, np.int64), np.empty(0))


def _goal_crossing(
    trial: Trial,
    measured: NDArray[np.int64],
    values: NDArray[np.float64],
    own: GoalMetric,
    goal: GoalMetric,
) -> GoalCrossing:
    """When a trial passed the goal, by its full evaluations and by when it passed the study's."""
    past = measured[goal.cost(values) < goal.cost(goal.value)]
    uppers: list[float] = [int(past[0])] if len(past) else []
    easier = goal.passed(own.value)
    if easier and trial.steps_to_target is not None:
        uppers.append(trial.steps_to_target)
    upper = min(uppers, default=None)
    missed = measured if upper is None else measured[measured < upper]
    lower: float = int(missed[-1]) if len(missed) else 0
    if not easier:  # what has not passed the study's goal has not passed this one
        lower = max(lower, _missed_until(trial))
    return GoalCrossing(trial, lower, upper)


def _missed_until(trial: Trial) -> float:
    """The last step at which the trial is known not to have passed the study's goal."""
    return trial.steps if trial.steps_to_target is None else trial.steps_lower or 0
