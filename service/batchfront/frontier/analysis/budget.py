"""The best goal metric within a budget of steps, epochs or examples, at each batch size.

Shallue et al. 2018 show the same, of trials that all run to the end. Trials that race stop at the
goal, or once another has passed it, and what they would have come to is not known. So each value
says whether it is complete.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchfront.errors import UsageError
from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.censoring import stopped_short
from batchfront.frontier.analysis.other_goals import GoalMetric, goal_metric, significant
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Curves, LearningCurves, Trials
from batchfront.outcomes import in_words
from batchfront.study.study import Study

Unit = Literal["steps", "epochs", "examples"]


@dataclass(frozen=True)
class Budget:
    """So many steps, epochs or examples of training."""

    amount: float
    unit: Unit

    def steps(self, study: Study) -> int:
        """The whole steps that it pays for in this study; 0 if it is less than one."""
        if self.unit == "steps":
            return int(self.amount)
        each = study.train_examples if self.unit == "epochs" else 1
        return math.floor(self.amount * each / study.batch_size + 1e-9)


@dataclass(frozen=True)
class BestWithin:
    """The best value of the goal metric that a batch size came to within a budget.

    steps     -- the budget in steps of this batch size
    value     -- of all evaluations of all trials within it; None if there was none
    trial     -- whose it is; of equals the lowest number
    step      -- at which step
    past_goal -- it is strictly past the study's goal
    ran       -- trials that were trained for the whole budget, or given up within it
    complete  -- no trial that might have got better stopped before
    reason    -- if not, which did
    """

    batch_size: int
    steps: int
    value: float | None
    trial: int | None
    step: int | None
    past_goal: bool
    ran: int
    complete: bool
    reason: str = ""


@dataclass(frozen=True)
class BudgetResult:
    """A budget with what each batch size came to. Left out are those of which it pays no step, and
    those without measurements."""

    budget: Budget
    points: tuple[BestWithin, ...]


@dataclass(frozen=True)
class Budgets:
    """All budgets of a workload; none, with a `reason`, if nothing was measured. `metric` and
    `better` ("lower" or "higher") are its goal's."""

    workload: str
    metric: str
    better: str
    results: tuple[BudgetResult, ...]
    reason: str = ""


def budgets(
    frontier: Frontier, trials: Trials, curves: Curves, wanted: Sequence[Budget] = ()
) -> Budgets:
    """The best value within each budget; by default, within budgets chosen from what was run.

    Raises UsageError for epochs of a study that does not know how many examples they have.
    """
    for point in frontier.points:
        if not point.study.train_examples and any(one.unit == "epochs" for one in wanted):
            raise UsageError(
                f"--epochs: study {point.study.name} does not know how many training examples it "
                "has; use --steps or --examples"
            )
    metric, better = goal_metric(frontier), str(frontier.goal["better"])
    if not any(point.study.id in curves for point in frontier.points):
        reason = f"no measurements of {metric} are kept"
        return Budgets(frontier.workload, metric, better, (), reason)
    trials, curves = as_raced(frontier, trials, curves)
    goal = GoalMetric.of(frontier)
    chosen = wanted or default_budgets(frontier, curves)
    results = tuple(
        BudgetResult(
            budget,
            tuple(
                _best_within(goal, point, budget.steps(point.study), trials, curves)
                for point in frontier.points
                if point.study.id in curves and budget.steps(point.study) >= 1
            ),
        )
        for budget in chosen
    )
    return Budgets(frontier.workload, metric, better, results)


def default_budgets(frontier: Frontier, curves: Curves) -> tuple[Budget, ...]:
    """Five budgets of steps and five of epochs (or else examples), evenly apart in the logarithm:
    from what the least trained batch size was measured for to the most trained one."""
    last = [
        (point.study, int(curves[point.study.id].steps.max()))
        for point in frontier.points
        if point.study.id in curves and curves[point.study.id].steps.max() > 0
    ]
    if not last:
        return ()
    sized = all(study.train_examples for study, _ in last)
    unit: Unit = "epochs" if sized else "examples"
    seen = [n * study.batch_size / (study.train_examples if sized else 1) for study, n in last]
    steps = (Budget(math.ceil(amount), "steps") for amount in _between([n for _, n in last]))
    others = (Budget(amount, unit) for amount in _between(seen))
    return tuple(dict.fromkeys([*steps, *others]))


def _between(amounts: Sequence[float]) -> list[float]:
    low, high = min(amounts), max(amounts)
    return [significant(low * (high / low) ** (k / 4)) for k in range(5)]


def _best_within(
    goal: GoalMetric, point: Point, steps: int, trials: Trials, curves: Curves
) -> BestWithin:
    mine = trials.get(point.study.id, ())
    short = stopped_short(mine, steps)
    found = _best(goal, steps, curves[point.study.id])
    value, trial, step = found if found else (None, None, None)
    return BestWithin(
        point.batch_size,
        steps,
        value,
        trial,
        step,
        value is not None and goal.passed(value),
        len(mine) - sum(short.values()),
        not short,
        f"stopped before: {in_words(short)}" if short else "",
    )


def _best(goal: GoalMetric, steps: int, measured: LearningCurves) -> tuple[float, int, int] | None:
    """Value, trial and step of the best evaluation within so many steps; of equals the first."""
    costs = np.where(measured.steps <= steps, goal.cost(measured.values), np.nan)
    if np.isnan(costs).all():
        return None
    at = int(np.nanargmin(costs))
    return float(measured.values[at]), int(measured.numbers[at]), int(measured.steps[at])
