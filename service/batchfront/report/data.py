"""A workload, with everything that its part of the page is made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import (
    CurvePoint,
    RuleRuns,
    Trial,
    Trials,
    load_curves,
    load_goal_curves,
    load_rule_runs,
    load_workload_trials,
)
from batchfront.frontier.queries import Curves as GoalCurves
from batchfront.frontier.reruns import Confirmation, load_confirmations
from batchfront.report.html import Dashboard
from batchfront.report.text import Fitted, fitted
from batchfront.store.database import Storage

Confirmations = Mapping[int, Sequence[Confirmation]]
"""Batch size to the trials that were run again, the best one of the search first."""


Curves = Mapping[int, Sequence[CurvePoint]]
"""Trial number to its kept measurements."""


Seen = TypeVar("Seen")


TRIALS = 300
"""So many trials of a study are drawn, unless the page has many studies."""


CURVES = 100
"""So many learning curves of a study are drawn, unless the page has many studies."""


LOOKS = 64
"""So many points of a curve are drawn."""


_TRIALS_ON_PAGE = 30_000


_CURVES_ON_PAGE = 4_000


_FEWEST = 8


@dataclass(frozen=True)
class Limits:
    """The most trials and curves that are drawn of each study."""

    trials: int = TRIALS
    curves: int = CURVES

    @classmethod
    def for_page(cls, studies: int) -> "Limits":
        """What each study of a page with so many may have."""
        share = max(studies, 1)
        return cls(
            min(TRIALS, max(_FEWEST, _TRIALS_ON_PAGE // share)),
            min(CURVES, max(_FEWEST, _CURVES_ON_PAGE // share)),
        )


def chosen(point: Point, trials: Sequence[Trial], most: int) -> Sequence[Trial]:
    """At most so many trials, by number: the best that reached the goal, a third at the most, and
    the others evenly over the search, so that each region of its space keeps its share."""
    if len(trials) <= most:
        return trials
    there = {trial.number for trial in trials}
    best = [finisher.number for finisher in point.finishers if finisher.number in there]
    kept = set(best[: max(most // 3, 1)])
    others = [trial.number for trial in trials if trial.number not in kept]
    left = most - len(kept)
    kept |= {others[n * len(others) // left] for n in range(left)}
    return [trial for trial in trials if trial.number in kept]


def evenly(line: Sequence[Seen], most: int = LOOKS) -> list[Seen]:
    """At most so many points of a curve, its first and its last among them."""
    if len(line) <= most:
        return list(line)
    return [line[n * (len(line) - 1) // (most - 1)] for n in range(most)]


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
