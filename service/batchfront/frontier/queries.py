"""Queries for what makes a frontier: the best trials of all studies at once, and what became of the
others. `first` counts, of every search, only so many complete trials; see `load_frontiers`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, case, func, or_, select

from batchfront.store.database import Storage
from batchfront.store.schema import measurements, reached, slots, studies
from batchfront.study.study import SEARCHES, Filter
from batchfront.workload.lr_scaling import RULES
from batchfront.workload.search_space import Value

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier


@dataclass(frozen=True)
class Trial:
    """One slot as the frontier and the report see it. `outcome` is None while it is not done."""

    number: int
    params: Mapping[str, Value]
    outcome: str | None
    reason: str | None
    steps: int
    steps_to_target: float | None
    steps_lower: float | None
    metric: float | None
    training_seconds: float | None
    evaluation_seconds: float | None
    evaluated_examples: int | None
    versions: Mapping[str, str]
    repeats: int | None = None


if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier


@dataclass(frozen=True)
class CurvePoint:
    """One kept measurement of a trial; `value` is None where it was not finite."""

    step: int
    split: str
    metric: str
    value: float | None


def load_curves(
    storage: Storage, study_id: int, numbers: Sequence[int] | None = None
) -> dict[int, list[CurvePoint]]:
    """The kept measurements of a study, or of these of its trials: trial number to points, by
    step."""
    query = (
        select(slots.c.number, measurements)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(slots.c.study_id == study_id)
        .order_by(slots.c.number, measurements.c.step)
    )
    if numbers is not None:
        query = query.where(slots.c.number.in_(numbers))
    curves: dict[int, list[CurvePoint]] = {}
    with storage.read() as conn:
        for row in conn.execute(query):
            point = CurvePoint(row.step, row.split, row.metric, row.value)
            curves.setdefault(row.number, []).append(point)
    return curves


def last_change(storage: Storage, workloads: Sequence[str] = ()) -> dict[str, tuple[object, ...]]:
    """By workload, a value that differs once studies, slots or endings have been added: whether
    a frontier must be read again, in one query."""
    query = (
        select(
            studies.c.workload,
            func.count(studies.c.id.distinct()),
            func.count(slots.c.id),
            func.count(slots.c.trial_id),
            func.count(slots.c.finished_at),
            func.count(slots.c.steps_to_target),
            func.max(slots.c.finished_at),
        )
        .select_from(studies.outerjoin(slots))
        .where(Filter(tuple(workloads)).clause())
        .group_by(studies.c.workload)
    )
    with storage.read() as conn:
        return {row[0]: tuple(row[1:]) for row in conn.execute(query)}


def workload_names(storage: Storage) -> list[str]:
    """The workloads that the database holds studies of."""
    there = Filter(purposes=SEARCHES).clause()
    query = select(studies.c.workload).where(there).distinct().order_by(studies.c.workload)
    with storage.read() as conn:
        return list(conn.execute(query).scalars())


def trial_from_row(row: Any) -> Trial:
    """A row of `bf_slots` as a trial."""
    return Trial(
        row.number,
        json.loads(row.params) if row.params else {},
        row.outcome,
        row.reason,
        row.steps,
        row.steps_to_target,
        row.steps_lower,
        row.metric,
        row.training_seconds,
        row.evaluation_seconds,
        row.evaluated_examples,
        json.loads(row.versions) if row.versions else {},
        row.repeats,
    )


def load_trials(storage: Storage, study_id: int) -> tuple[Trial, ...]:
    """All trials of a study, by number."""
    query = select(slots).where(slots.c.study_id == study_id).order_by(slots.c.number)
    with storage.read() as conn:
        return tuple(map(trial_from_row, conn.execute(query)))


def _of(wanted: Filter, first: int | None, *columns: Any) -> Select[Any]:
    """These columns of the slots that count."""
    meant = select(*columns).select_from(slots.join(studies)).where(wanted.clause())
    if first is None:
        return meant
    complete = slots.c.outcome.not_in(("diverged", "failed"))  # of an open one it is NULL
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=slots.c.number)
    placed = select(slots.c.id, place.label("place")).select_from(slots.join(studies))
    placed_all = placed.where(wanted.clause(), complete).subquery()
    counted = select(placed_all.c.id).where(placed_all.c.place <= first)
    return meant.where(or_(studies.c.purpose == "points", slots.c.id.in_(counted)))


def select_winners(wanted: Filter, first: int | None) -> Select[Any]:
    """The slots of the best trials: in their study's order of steps the first, or the middle one
    of all, those that have not reached the goal coming last."""
    order = [slots.c.steps_to_target, slots.c.number]
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=order)
    others = slots.alias()
    all_ = select(func.count()).where(others.c.study_id == studies.c.id).scalar_subquery()
    wins: ColumnElement[int] = case((studies.c.purpose == "points", (all_ + 1) // 2), else_=1)
    ranked = _of(wanted, first, slots.c.id, place.label("place"), wins.label("wins")).where(reached)
    ranks = ranked.subquery()
    return select(slots).join(ranks, ranks.c.id == slots.c.id).where(ranks.c.place == ranks.c.wins)


def select_outcomes(wanted: Filter, first: int | None) -> Select[Any]:
    """How many trials of a study ended so, on these versions: all that needs a look at each."""
    kinds = (slots.c.study_id, slots.c.outcome, slots.c.versions)
    return _of(wanted, first, *kinds, func.count()).group_by(*kinds)


def select_reruns(wanted: Filter) -> Select[Any]:
    """Workload, batch size and versions of what ran trials of these searches again."""
    columns = (studies.c.workload, studies.c.batch_size, slots.c.versions)
    meant = select(*columns).distinct().select_from(slots.join(studies))
    again = (studies.c.purpose.not_in(SEARCHES), slots.c.versions.is_not(None))
    return meant.where(replace(wanted, purposes=()).clause(), *again)


def select_finishers(wanted: Filter, first: int | None) -> Select[Any]:
    """Study, number, steps and the look before of all trials that reached the goal, best first."""
    columns = (slots.c.study_id, slots.c.number, slots.c.steps_to_target, slots.c.steps_lower)
    found = _of(wanted, first, *columns).where(reached)
    return found.order_by(slots.c.study_id, slots.c.steps_to_target, slots.c.number)


if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier


@dataclass(frozen=True, eq=False)
class GoalLooks:
    """The goal metric of a study's trials, as it was measured over the validation split.

    Three columns of [n] looks, by number of the trial and then by step. A value is NaN where the
    metric was not finite.
    """

    numbers: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def by_trial(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Number of a trial to its steps, ascending, and values."""
        numbers, starts = np.unique(self.numbers, return_index=True)
        parts = zip(
            np.split(self.steps, starts[1:]), np.split(self.values, starts[1:]), strict=True
        )
        return dict(zip(numbers.tolist(), parts, strict=True))


Trials = Mapping[int, tuple[Trial, ...]]
"""Id of a study to its trials, by number."""


Curves = Mapping[int, GoalLooks]
"""Id of a study, if any of its trials was measured, to the looks at all of them."""


RuleRuns = Mapping[tuple[str, int], tuple[Trial, ...]]
"""Rule and batch size to the trials that ran what the rule says there."""


def load_workload_trials(storage: Storage, workload: str) -> dict[int, tuple[Trial, ...]]:
    """All trials of the workload's search, by study."""
    found: dict[int, list[Trial]] = {}
    for row in _trials(storage, Filter((workload,), purposes=SEARCHES)):
        found.setdefault(row.study_id, []).append(trial_from_row(row))
    return {study: tuple(trials) for study, trials in found.items()}


def load_rule_runs(storage: Storage, workload: str) -> dict[tuple[str, int], tuple[Trial, ...]]:
    """The trials that followed a scaling rule (`batchfront confirm --rule`)."""
    found: dict[tuple[str, int], list[Trial]] = {}
    for row in _trials(storage, Filter((workload,), purposes=tuple(RULES))):
        found.setdefault((row.purpose, row.batch_size), []).append(trial_from_row(row))
    return {key: tuple(trials) for key, trials in found.items()}


def _trials(storage: Storage, wanted: Filter) -> Iterator[Any]:
    query = (
        select(slots, studies.c.purpose, studies.c.batch_size)
        .select_from(slots.join(studies))
        .where(wanted.clause())
        .order_by(slots.c.study_id, slots.c.number)
    )
    with storage.read() as conn:
        yield from conn.execute(query)


def load_goal_curves(storage: Storage, frontier: "Frontier") -> dict[int, GoalLooks]:
    """The measurements of the goal metric on the validation split, of the workload's search.

    A trial of ours stops as soon as it passes a goal, so that what it passed before it diverged
    counts. Trials that ran elsewhere were judged whole: of those that diverged or failed nothing
    counts, as in Shallue et al. 2018.
    """
    with storage.read() as conn:
        rows = conn.execute(_measured(frontier)).fetchall()
    if not rows:
        return {}
    # A missing value becomes NaN; no whole number is too large to be kept exactly.
    study, *columns = (np.array(column, float) for column in zip(*rows, strict=True))
    ids, starts = np.unique(study, return_index=True)
    parts = (np.split(column, starts[1:]) for column in columns)
    return {
        int(key): GoalLooks(numbers.astype(np.int64), steps.astype(np.int64), values)
        for key, numbers, steps, values in zip(ids, *parts, strict=True)
    }


def _measured(frontier: "Frontier") -> Select[Any]:
    columns = (slots.c.study_id, slots.c.number, measurements.c.step, measurements.c.value)
    joined = measurements.join(slots, measurements.c.slot_id == slots.c.id).join(studies)
    return (
        select(*columns)
        .select_from(joined)
        .where(
            Filter((frontier.workload,), purposes=SEARCHES).clause(),
            measurements.c.split == "validation",
            measurements.c.metric == frontier.goal["metric"],
            or_(studies.c.spec != "", slots.c.outcome.not_in(("diverged", "failed"))),
        )
        .order_by(slots.c.study_id, slots.c.number, measurements.c.step)
    )
