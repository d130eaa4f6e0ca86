"""A workload, with everything that its part of the page is made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from service.analysis.loading import (
    Curves as GoalCurves,
)
from service.analysis.loading import (
    RuleRuns,
    Trials,
    load_goal_curves,
    load_rule_runs,
    load_workload_trials,
)
from service.confirmation import load_confirmations
from service.database import Storage
from service.frontier import Frontier, load_curves
from service.report.confirmed import Confirmations
from service.report.fitted import Fitted, fitted
from service.report.learning_curves import Curves
from service.report.links import Dashboard
from service.report.thinning import Limits


@dataclass(frozen=True)
class Subject:
    """What is known of one workload.

    key           -- the id of its section on the page, and the beginning of its figures' names
    fitted        -- the curve through the frontier
    trials        -- those of its search, by study
    goal_curves   -- their goal metric, as far as it was measured, by study
    rule_runs     -- trials that followed a scaling rule
    confirmations -- the best trials, run again
    curves_of     -- a study's id, and trials' numbers, to all that was kept of their measurements
    dashboard     -- where its trials are linked to
    limits        -- how much of its studies is drawn
    """

    key: str
    frontier: Frontier
    fitted: Fitted
    trials: Trials
    goal_curves: GoalCurves
    rule_runs: RuleRuns
    confirmations: Confirmations
    curves_of: Callable[[int, Sequence[int]], Curves]
    dashboard: Dashboard
    limits: Limits


def load_subject(
    storage: Storage, key: str, frontier: Frontier, dashboard: Dashboard, limits: Limits
) -> Subject:
    """All of it, in a few queries, and one more for each study whose curves are drawn."""
    return Subject(
        key,
        frontier,
        fitted(frontier),
        load_workload_trials(storage, frontier.workload),
        load_goal_curves(storage, frontier),
        load_rule_runs(storage, frontier.workload),
        load_confirmations(storage, frontier.workload),
        partial(load_curves, storage),
        dashboard,
        limits,
    )
