"""A workload, with everything that its part of the page is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection

from batchfront.advice.timings import Timing, load_timings
from batchfront.errors import StorageError
from batchfront.frontier.frontier import Frontier, Point, load_frontiers
from batchfront.frontier.queries import (
    Curves,
    Reruns,
    Trial,
    Trials,
    load_goal_curves,
    load_loss_curves,
    load_measure_curves,
    load_optuna_versions,
    load_period,
    load_reruns,
    load_workload_trials,
)
from batchfront.frontier.reruns import Confirmations, confirmations
from batchfront.report.hours import Hours, hours
from batchfront.report.html import Dashboard
from batchfront.report.options import NOTHING_MORE, PageOptions
from batchfront.report.text import Fitted, fitted
from batchfront.store.optuna_tables import other_numbers
from batchfront.study.study import Filter, load_studies

Drawn = TypeVar("Drawn")

TRIALS = 300
"""So many trials of a study are drawn, unless the page has many studies."""

CURVES = 100
"""So many learning curves of a study are drawn, unless the page has many studies."""

POINTS = 64
"""So many points of a curve are drawn."""

_TRIALS_ON_PAGE = 30_000

_CURVES_ON_PAGE = 1_600

_FEWEST = 8


@dataclass(frozen=True)
class Limits:
    """The most trials and curves that are drawn of each study."""

    trials: int = TRIALS
    curves: int = CURVES

    def of_each(self, measures: int) -> int:
        """The most curves that are drawn of each of so many measures."""
        return max(min(self.curves, _FEWEST), self.curves // measures)

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


def evenly(line: Sequence[Drawn], most: int = POINTS) -> list[Drawn]:
    """At most so many points of a curve, its first and its last among them."""
    if len(line) <= most:
        return list(line)
    return [line[n * (len(line) - 1) // (most - 1)] for n in range(most)]


@dataclass(frozen=True)
class Subject:
    """What is known of one workload.

    key           -- the id of its section on the page, and the beginning of its figures' names
    trials        -- those of its search, by study
    goal_curves   -- their goal metric, as far as it was measured, by study
    loss_curves   -- their training loss, likewise
    measures      -- what else they measured of the validation split, by name, likewise
    reruns        -- trials that followed a scaling rule, or were run again
    confirmations -- the best trials, run again
    left_out      -- of its studies and timings that can't be read, which and why
    timings       -- what parts of its training take, on all kinds of devices
    optuna        -- the versions of Optuna that sampled; None among them where one isn't known
    period        -- from when to when its search ran, in seconds since 1970; None if unknown
    dashboard     -- where its trials are linked to
    limits        -- how much of its studies is drawn
    asked         -- what is asked of it
    """

    key: str
    frontier: Frontier
    trials: Trials
    goal_curves: Curves
    loss_curves: Curves
    measures: Mapping[str, Curves]
    reruns: Reruns
    confirmations: Confirmations
    left_out: tuple[str, ...]
    timings: tuple[Timing, ...]
    optuna: frozenset[str | None]
    period: tuple[float, float] | None
    dashboard: Dashboard
    limits: Limits
    asked: PageOptions = NOTHING_MORE

    @property
    def tells_loss(self) -> bool:
        """Whether trials tell their training loss, as all of ours do; or none was measured yet."""
        return bool(self.loss_curves or not self.goal_curves)

    @cached_property
    def fitted(self) -> Fitted:
        """The curve through the frontier."""
        return fitted(self.frontier, self.asked.curve)

    @cached_property
    def hours(self) -> Hours:
        """What it takes in hours and money, on each kind of device that was timed."""
        return hours(self.frontier, self.confirmations, self.timings, self.asked.hours)


def left_out(moment: Connection, workload: str) -> tuple[str, ...]:
    """The studies of a workload that can't be read, a line for each: why, and what removes it."""
    found = load_studies(moment, Filter((workload,)))
    return tuple(one.told(moment.engine.url) for one in found.unreadable)


def _timings(moment: Connection, workload: str) -> tuple[tuple[Timing, ...], tuple[str, ...]]:
    """The timings of a workload; or none, and why they can't be read."""
    try:
        return tuple(load_timings(moment, workload)), ()
    except StorageError as error:  # a database that doesn't answer raises another one
        return (), (f"{error}.",)


def load_subjects(
    moment: Connection,
    workloads: Sequence[str],
    dashboard: Dashboard,
    asked: PageOptions = NOTHING_MORE,
) -> list[Subject]:
    """The workloads of a page, or all there are, in a few queries each, from one snapshot.

    asked -- what is asked of them
    """
    frontiers = load_frontiers(moment, workloads)
    limits = Limits.for_page(sum(len(frontier.points) for frontier in frontiers))
    return [
        _load(moment, f"w{number}", frontier, dashboard, limits, asked)
        for number, frontier in enumerate(frontiers, 1)
    ]


def _load(
    moment: Connection,
    key: str,
    frontier: Frontier,
    dashboard: Dashboard,
    limits: Limits,
    asked: PageOptions,
) -> Subject:
    reruns = load_reruns(moment, frontier.workload)
    timings, flaw = _timings(moment, frontier.workload)
    ids = [point.study.id for point in frontier.points]
    dashboard = replace(dashboard, numbers=other_numbers(moment, ids))
    return Subject(
        key,
        frontier,
        load_workload_trials(moment, frontier.workload),
        load_goal_curves(moment, frontier.workload, frontier.goal["metric"]),
        load_loss_curves(moment, frontier.workload),
        load_measure_curves(moment, frontier.workload, frontier.goal["metric"]),
        reruns,
        confirmations(frontier, reruns),
        (*left_out(moment, frontier.workload), *flaw),
        timings,
        load_optuna_versions(moment, frontier.workload),
        load_period(moment, frontier.workload),
        dashboard,
        limits,
        asked,
    )
