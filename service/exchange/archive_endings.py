"""How a trial of the archive ended, by the rule of the paper's own analysis.

Of the complete trials, those are taken whose goal metric was at some step strictly past the goal;
its steps to target are the first such step. A trial that was infeasible, or not complete, has not
reached the goal, wherever it had been.
"""

from typing import Any

import numpy as np

from service.errors import DataError
from service.exchange.archive import Trial
from service.exchange.curves import Curve, first_past
from service.exchange.ended import EndedTrial
from service.exchange.goals import GoalError, GoalOf


def ended_trial(trial: Trial, curve: Curve, goal: GoalOf) -> EndedTrial:
    """The trial in batchfront's words.

    Raises GoalError if it is complete and its goal metric was not measured, or was past the goal
    from the start.
    """
    file = trial.folder / "measurements.csv"
    metric = curve.metric(goal)
    if metric is None and trial.status != "COMPLETE":
        metric = np.empty(0)
    if metric is None:
        raise GoalError(
            f"{file}: the goal is of the validation {goal.metric}, which was not measured; "
            f"set another such as --goal '{goal.of}=METRIC<VALUE'"
        )
    if trial.status == "COMPLETE" and not metric.size:
        raise DataError(f"{file}: holds no measurement of a complete trial")
    won = first_past(goal, metric) if trial.status == "COMPLETE" else None
    if won is not None and curve.steps[won] < 1:
        raise GoalError(f"{file}: {goal} holds before any training; set another goal with --goal")
    looked: dict[str, Any] = {}
    if metric.size:
        at = metric.size - 1 if won is None else won
        looked = {"metric": float(metric[at]), "metric_step": int(curve.steps[at])}
    if won is not None:
        looked["steps_to_target"] = int(curve.steps[won])
        looked["steps_lower"] = int(curve.steps[won - 1]) if won else None
    outcome, reason = _words(trial, goal, won is not None)
    return EndedTrial(trial.number, outcome, reason, trial.params, trial.steps, **looked)


def _words(trial: Trial, goal: GoalOf, reached: bool) -> tuple[str, str]:
    """Outcome and reason."""
    if reached:
        return "reached", str(goal)
    if trial.status == "COMPLETE":
        return "exhausted", f"{goal} not within {trial.steps} steps"
    outcome = "diverged" if trial.status == "INFEASIBLE" else "failed"
    return outcome, f"{trial.status} in the archive, after {trial.steps} steps"
