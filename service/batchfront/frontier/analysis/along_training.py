"""The curve for every goal, from the trials that there are: critical batch size along training.

A curve for a goal goes through the batch sizes at which its steps are complete. For a goal that is
easier than the study's that is nearly all of them, and through the expected steps where these are
more to be trusted, as the surrogate is told of every trial when it passed this goal, or that it
needs more than it had. For a harder one it needs trials that went on past their own goal: those
that stopped there were the fast ones, so that no surrogate may take them for others. What isn't
complete is named, and no curve goes through it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchfront.errors import UsageError
from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.other_goals import (
    GoalCrossing,
    GoalFrontier,
    GoalMetric,
    GoalPoint,
    goal_crossings,
    goals,
)
from batchfront.frontier.curve import EXTRA, SHARE, USUAL, Asked
from batchfront.frontier.curve.answers import (
    ask_curve,
    by_expected_steps,
    not_beyond,
    through,
)
from batchfront.frontier.curve.curve import FEWEST, Curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.expected import INTERVAL, ExpectedFrontier, expected_frontier
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.queries import Curves, Trials, load_goal_curves, load_workload_trials
from batchfront.phrases import listed
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.shown import evidence_of
from batchfront.surrogate.evidence import Evidence
from batchfront.vocabulary import Outcome


@dataclass(frozen=True)
class GoalCurve:
    """The curve for one goal of a workload.

    frontier -- that of the goal that was searched for
    goal     -- the steps to this goal, by batch size
    expected -- what a run is expected to take to this goal; refused, or not to be trusted, where
                the curve goes through the steps of the fastest trials
    """

    frontier: Frontier
    goal: GoalFrontier
    curve: Curve
    expected: ExpectedFrontier

    @property
    def value(self) -> float:
        """The goal's value."""
        return self.goal.value

    @property
    def points(self) -> tuple[GoalPoint, ...]:
        """The steps to this goal, by batch size."""
        return self.goal.points

    @property
    def complete(self) -> tuple[GoalPoint, ...]:
        """The points whose steps are known: no trial that might have been first stopped before."""
        return tuple(p for p in self.points if p.complete and p.steps)

    @property
    def censored(self) -> tuple[GoalPoint, ...]:
        """The points whose steps are no more than a bound, as trials stopped before."""
        return tuple(p for p in self.points if not p.complete)

    @property
    def by_expected_steps(self) -> bool:
        """Whether the curve goes through the expected steps."""
        if self.goal.own:
            return by_expected_steps(self.frontier)
        return self.expected.trusted


def curves_by_goal(
    source: Source,
    workload: str,
    goals: Sequence[float] = (),
    extra: float = EXTRA,
    share: float = SHARE,
    perfect_from: int | None = None,
) -> tuple[GoalCurve, ...]:
    """The curve of a workload for each of these goals, the easiest first.

    goals -- values of the goal metric; by default the one that was searched for, some that are
             easier, and a harder one where trials went on
    extra, share, perfect_from -- as of `fit_curve`

    Returns nothing where no measurements are kept. Raises UsageError for an unknown workload, and
    for a goal that is not a finite number.
    """
    with snapshot(source) as moment:
        frontier = load_frontier(moment, workload)
        trials = load_workload_trials(moment, workload)
        curves = load_goal_curves(moment, workload, frontier.goal["metric"])
    return along_training(frontier, trials, curves, goals, Asked(extra, share, perfect_from))


def along_training(
    frontier: Frontier,
    trials: Trials,
    curves: Curves,
    values: Sequence[float] = (),
    asked: Asked = USUAL,
) -> tuple[GoalCurve, ...]:
    """The same of what has been read.

    asked -- what near-perfect and useful mean

    Raises UsageError for a goal that is not a finite number.
    """
    trials, curves = as_raced(frontier, trials, curves)
    found = goals(frontier, trials, curves, values).frontiers
    return tuple(_curve(frontier, trials, curves, goal, asked) for goal in found)


def require_one_metric(frontiers: Sequence[Frontier]) -> None:
    """Raise UsageError, naming them, for workloads whose goals are of different metrics."""
    metrics = {f"{f.goal['metric']} ({f.goal['better']} is better)": f.workload for f in frontiers}
    if len(metrics) > 1:
        named = listed([f"{metric} of {workload}" for metric, workload in metrics.items()])
        raise UsageError(
            f"--goal: these workloads' goals are of different metrics, {named}; name one"
        )


def _curve(
    frontier: Frontier, trials: Trials, curves: Curves, goal: GoalFrontier, asked: Asked
) -> GoalCurve:
    if goal.own:
        return GoalCurve(frontier, goal, ask_curve(frontier, asked), frontier.expected)
    expected = _expected(frontier, trials, curves, goal)
    missed = [p.batch_size for p in goal.points if p.complete and p.steps is None]
    complete = [p for p in goal.points if p.complete and p.steps]
    if expected.trusted:
        seen = tuple(Observation(one.batch_size, one.steps) for one in expected.points)
        curve = through(seen, asked, expected.covariance)
        curve = replace(curve, unreached=tuple(missed))
    else:
        seen = tuple(Observation(p.batch_size, p.steps or 0.0, p.steps_lower) for p in complete)
        never = (Observation(size, math.inf) for size in missed)
        curve = through((*seen, *never), asked)
    if len(seen) < FEWEST:
        curve = _too_few(curve, len(seen))
    beyond = [size for size in missed if seen and size > seen[-1].batch_size]
    curve = not_beyond(curve, beyond[0]) if beyond else curve
    return GoalCurve(frontier, goal, curve, expected)


def _too_few(curve: Curve, known: int) -> Curve:
    """A curve that was refused, and not because so few batch sizes reach this goal."""
    there = f"{known} batch size{'' if known == 1 else 's'}"
    why = f"the steps to this goal are known at {there}, and {FEWEST} are needed"
    none = Estimate(None, None, None, reason=why)
    return replace(
        curve,
        refusal=why,
        s_min=none,
        e_min=none,
        half_efficiency=none,
        perfect_until=none,
        useful_until=none,
    )


def _expected(
    frontier: Frontier, trials: Trials, curves: Curves, goal: GoalFrontier
) -> ExpectedFrontier:
    """What a run is expected to take to another goal than its own."""
    own = GoalMetric.of(frontier)
    if not own.is_harder_than(goal.value) and any(not point.complete for point in goal.points):
        why = "trials stopped at their own goal, which is easier, and the fastest first"
        return ExpectedFrontier(refusal=why)
    shown: dict[tuple[int, int], Evidence] = {}
    widths: dict[tuple[int, int], float] = {}
    for point in frontier.points:
        if point.study.id not in curves:
            continue
        for crossing in goal_crossings(point, trials, curves, own, goal.value):
            at = point.batch_size, crossing.trial.number
            told = evidence_of(point.study, _told(crossing)) if crossing.trial.params else None
            if told is not None:
                shown[at] = told
                widths[at] = crossing.log_width
    return _less_sure(expected_frontier(frontier.points, shown), widths)


def _less_sure(
    expected: ExpectedFrontier, widths: Mapping[tuple[int, int], float]
) -> ExpectedFrontier:
    """What is expected, known by as much less as the recommended trials' crossings are, which all
    trials of a batch size have in common: they were evaluated at the same steps.

    widths -- how far apart the logarithms of the steps lie between which a trial passed the goal
    """
    covariance = np.array(expected.covariance)
    points = []
    for n, point in enumerate(expected.points):
        covariance[n, n] += widths[point.batch_size, point.trial] ** 2 / 12
        reach = math.exp(INTERVAL * math.sqrt(covariance[n, n]))
        points.append(replace(point, low=point.steps / reach, high=point.steps * reach))
    return replace(
        expected, points=tuple(points), covariance=tuple(map(tuple, covariance.tolist()))
    )


def _told(crossing: GoalCrossing) -> Any:
    """The trial, as if it had run for this goal: it passed in the middle of where it may have, or
    needs more steps than those at which the goal was last seen to stand open."""
    trial, upper = crossing.trial, crossing.upper
    if upper is not None:
        middle = (crossing.lower + 1 + upper) / 2
        return replace(trial, steps_to_target=middle, metric=None)
    # One that reached its own goal, an easier one, was capped here.
    outcome = Outcome.CAPPED if trial.outcome == Outcome.REACHED else trial.outcome
    steps = int(crossing.lower)
    return replace(trial, outcome=outcome, steps=steps, steps_to_target=None, metric=None)
