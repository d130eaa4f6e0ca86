"""What the reading side asks the database: trials, measurements and reruns, each of one row type.

Every function here takes a `Source`: given a database it reads a moment of its own, given a moment
that one. So a page, a command's output or an answer in Python is of one moment, as all that it is
made from is read within one `snapshot`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import URL, ColumnElement, Connection, Select, case, func, or_, select

from batchfront.errors import StorageError, UsageError
from batchfront.ledger.self_description import SelfDescription
from batchfront.store.commands import EXAMPLE, command
from batchfront.store.database import shown
from batchfront.store.schema import leased, measurements, reached, slots, studies, workers
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.flaws import is_measurable
from batchfront.study.study import Filter, load_studies, measured, readable
from batchfront.vocabulary import SEARCHES, Outcome, Purpose, Sampler, SlotState, WorkerState
from batchfront.workload.search_space import Value


@dataclass(frozen=True)
class Trial:
    """One slot as the frontier and the report see it.

    outcome     -- None while it is not done
    rerun_of    -- of a trial that runs another one again, that one's number in the search
    micro_batch -- examples that were computed at once, where memory was too small for a batch
    """

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
    rerun_of: int | None = None
    micro_batch: int | None = None

    @classmethod
    def from_row(cls, row: Any) -> "Trial":
        """A row of `bf_slots` as a trial."""
        return cls(
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
            row.micro_batch,
        )


Trials = Mapping[int, Sequence[Trial]]
"""Id of a study to its trials, by number."""

Reruns = Mapping[tuple[str, int], Sequence[Trial]]
"""Purpose and batch size to the trials that ran trials of a search again: `confirm` its best ones,
the name of a rule what that makes of the winner of the smallest batch size."""


@dataclass(frozen=True, eq=False)
class LearningCurves:
    """One metric of a study's trials, as it was measured over one split.

    Three columns of [n] evaluations, by number of the trial and then by step. A value is NaN where
    the metric was not finite.
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


Curves = Mapping[int, LearningCurves]
"""Id of a study, if any of its trials was measured, to the learning curves of all of them."""


def workload_names(source: Source) -> list[str]:
    """The workloads that the database holds studies of."""
    there = Filter(purposes=SEARCHES).clause()
    query = select(studies.c.workload).where(there).distinct().order_by(studies.c.workload)
    with snapshot(source) as moment:
        return list(moment.execute(query).scalars())


def without_studies(source: Source) -> str | None:
    """Of a database that holds no studies, a sentence that says so, with the command that makes
    some; None of one that does."""
    with snapshot(source) as moment:
        if workload_names(moment):
            return None
        url = moment.engine.url
    return (
        f"database {shown(url)} holds no studies: {command(url, 'run', EXAMPLE)}, say, makes some"
    )


def require_some(source: Source) -> None:
    """Raise StorageError for a database that holds no studies."""
    if (said := without_studies(source)) is not None:
        raise StorageError(said)


def require(source: Source, workloads: Iterable[str]) -> None:
    """Raise UsageError, naming those there are, unless all of these workloads have studies, and
    StorageError where they have some and none of them can be read."""
    named = tuple(workloads)
    if not named:
        return
    with snapshot(source) as moment:
        there = workload_names(moment)
        found = load_studies(moment, Filter(named, purposes=SEARCHES))
        url = moment.engine.url
    whole = {study.workload for study in found.readable}
    for workload in named:
        if workload in whole:
            continue
        lost = [one for one in found.unreadable if one.workload == workload]
        if lost:
            more = f" So are {len(lost) - 1} others of this workload." if lost[1:] else ""
            raise StorageError(
                f"{workload} has no study that can be read: {lost[0].told(url)}.{more}"
            )
        raise UsageError(f"no studies of {workload!r} in {_meant(workload, there, url)}")


def _meant(workload: str, there: Sequence[str], url: URL) -> str:
    """Which database has no studies of a workload, and what may have been meant."""
    if not there:
        return f"database {shown(url)}: {command(url, 'run', EXAMPLE)}, say, makes some there"
    near = get_close_matches(workload, there, n=2, cutoff=0.8)
    if near:
        return f"this database; did you mean {' or '.join(near)}?"
    return f"this database; there are: {', '.join(there)}"


def last_change(source: Source, workloads: Sequence[str] = ()) -> dict[str, tuple[object, ...]]:
    """By workload, a value that differs once studies, slots or results have been added: whether
    a frontier must be read again, in one query."""
    with snapshot(source) as moment:
        return {row[0]: tuple(row[1:]) for row in moment.execute(_by_workload(workloads))}


def how_far(source: Source, workload: str) -> tuple[tuple[object, ...], ...]:
    """A value that differs once trials of a workload that run may have written more of their
    learning curves: how far the workers are that have them."""
    query = (
        select(workers.c.id, workers.c.study_id, workers.c.steps)
        .join(studies, workers.c.study_id == studies.c.id)
        .where(workers.c.state == WorkerState.BUSY, studies.c.workload == workload)
        .order_by(workers.c.id)
    )
    with snapshot(source) as moment:
        return tuple(tuple(row) for row in moment.execute(query))


@dataclass(frozen=True)
class Progress:
    """How far a workload's trials are.

    change  -- as of `last_change`
    total   -- trials, those run again included; of them are so many done, `running` and `failed`
    """

    change: tuple[object, ...]
    total: int
    done: int
    running: int
    failed: int


def load_progress(source: Source, workloads: Sequence[str] = ()) -> dict[str, Progress]:
    """How far these workloads are, or all, by name, in one query."""
    query = _by_workload(workloads).add_columns(
        func.count(case((slots.c.state == SlotState.DONE, 1))),
        func.count(case((leased, 1))),
        func.count(case((slots.c.outcome == Outcome.FAILED, 1))),
    )
    with snapshot(source) as moment:
        return {
            row.workload: Progress(tuple(row[1:-3]), row.slots, *row[-3:])
            for row in moment.execute(query)
        }


def _by_workload(workloads: Sequence[str]) -> Select[Any]:
    """What differs, by workload, once studies, slots or results have been added."""
    return (
        select(
            studies.c.workload,
            func.count(studies.c.id.distinct()),
            func.count(slots.c.id).label("slots"),
            func.count(slots.c.trial_id),
            func.count(slots.c.finished_at),
            func.count(slots.c.steps_to_target),
            # Whatever the clock said: of what has run again, and of points that were replaced.
            func.sum(slots.c.fence),
            func.sum(slots.c.finished_at),
            func.max(slots.c.finished_at),
            func.max(studies.c.id),
        )
        .select_from(studies.outerjoin(slots))
        .where(Filter(tuple(workloads)).clause())
        .group_by(studies.c.workload)
    )


def load_trials(source: Source, study_id: int) -> tuple[Trial, ...]:
    """All trials of a study, by number."""
    return tuple(trial for _, trial in _trials(source, studies.c.id == study_id))


def load_workload_trials(source: Source, workload: str) -> dict[int, tuple[Trial, ...]]:
    """All trials of the workload's search, by study."""
    found: dict[int, list[Trial]] = {}
    with snapshot(source) as moment:
        wanted = readable(moment, Filter((workload,), purposes=SEARCHES))
        for row, trial in _trials(moment, wanted.clause()):
            found.setdefault(row.study_id, []).append(trial)
    return {study: tuple(trials) for study, trials in found.items()}


def load_period(source: Source, workload: str) -> tuple[float, float] | None:
    """When the first trial of the workload's search began and the last one ended, in seconds since
    1970 by the database's clock; None where that isn't known."""
    ran = select(func.min(slots.c.started_at), func.max(slots.c.finished_at))
    with snapshot(source) as moment:
        wanted = readable(moment, Filter((workload,), purposes=SEARCHES))
        found = moment.execute(ran.select_from(slots.join(studies)).where(wanted.clause())).one()
    return None if None in found else (found[0], found[1])


def load_optuna_versions(source: Source, workload: str) -> frozenset[str | None]:
    """The versions of Optuna that the workload's search was sampled with, by what its workers said
    of themselves; None among them where one said nothing, as of trials of another database."""
    ran = select(workers.c.about).distinct()
    with snapshot(source) as moment:
        wanted = readable(moment, Filter((workload,), purposes=SEARCHES)).clause()
        began = wanted & slots.c.started_at.is_not(None)
        by = slots.join(studies).outerjoin(workers, workers.c.id == slots.c.worker_id)
        found = moment.execute(ran.select_from(by).where(began)).scalars().all()
    told = map(SelfDescription.from_json, found)
    return frozenset(None if one is None else one.versions.get("optuna") for one in told)


def load_reruns(source: Source, workload: str) -> dict[tuple[str, int], tuple[Trial, ...]]:
    """The trials that ran trials of the workload's search again, by purpose and batch size."""
    found: dict[tuple[str, int], list[Trial]] = {}
    again = studies.c.purpose.not_in(SEARCHES)
    with snapshot(source) as moment:
        wanted = readable(moment, Filter((workload,)))
        for row, trial in _trials(moment, wanted.clause() & again):
            found.setdefault((row.purpose, row.batch_size), []).append(trial)
    return {key: tuple(trials) for key, trials in found.items()}


def _trials(source: Source, wanted: ColumnElement[bool]) -> Iterator[tuple[Any, Trial]]:
    query = (
        select(slots, studies.c.purpose, studies.c.batch_size)
        .select_from(slots.join(studies))
        .where(wanted)
        .order_by(slots.c.study_id, slots.c.number)
    )
    with snapshot(source) as moment:
        for row in moment.execute(query):
            yield row, Trial.from_row(row)


_ran_by_us = studies.c.sampler != Sampler.IMPORTED
"""The condition on a study that batchfront ran its trials, here or where an export was made."""


def load_goal_curves(source: Source, workload: str, metric: str) -> dict[int, LearningCurves]:
    """The goal metric of the trials of the workload's search, over the validation split.

    A trial of ours stops as soon as it passes a goal, so that what it passed before it diverged
    counts. Trials that ran elsewhere were judged whole: of those that diverged or failed nothing
    counts, as in Shallue et al. 2018.
    """
    counts = or_(_ran_by_us, slots.c.outcome.not_in((Outcome.DIVERGED, Outcome.FAILED)))
    return _curves(source, workload, "validation", metric, counts)


def load_loss_curves(source: Source, workload: str) -> dict[int, LearningCurves]:
    """The training loss of the trials of the workload's search."""
    return _curves(source, workload, "train", "loss")


def load_measure_curves(source: Source, workload: str, metric: str) -> dict[str, Curves]:
    """What else than the goal metric was measured of the validation split by the trials of the
    workload's search, by name. Of trials that ran elsewhere it is left to whoever ran them."""
    elsewhere = (measurements.c.metric != metric, _ran_by_us)
    with snapshot(source) as moment:
        query = _select_curves(moment, workload, "validation").where(*elsewhere)
        rows = moment.execute(query.add_columns(measurements.c.metric)).fetchall()
    names = sorted({row.metric for row in rows})
    return {name: _by_study([row[:4] for row in rows if row.metric == name]) for name in names}


def _curves(
    source: Source, workload: str, split: str, metric: str, *counts: ColumnElement[bool]
) -> dict[int, LearningCurves]:
    with snapshot(source) as moment:
        query = _select_curves(moment, workload, split)
        rows = moment.execute(query.where(measurements.c.metric == metric, *counts)).fetchall()
    return _by_study(rows)


def _select_curves(moment: Connection, workload: str, split: str) -> Select[Any]:
    wanted = measured(moment, Filter((workload,), purposes=SEARCHES))
    return (
        select(slots.c.study_id, slots.c.number, measurements.c.step, measurements.c.value)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id).join(studies))
        .where(wanted.clause(), measurements.c.split == split)
        .order_by(slots.c.study_id, slots.c.number, measurements.c.step)
    )


def _by_study(rows: Sequence[Any]) -> dict[int, LearningCurves]:
    """Rows of study, number, step and value, in this order, as learning curves."""
    if not rows:
        return {}
    # A missing value becomes NaN; no whole number is too large to be kept exactly.
    study, *columns = (np.array(column, float) for column in zip(*rows, strict=True))
    ids, starts = np.unique(study, return_index=True)
    parts = (np.split(column, starts[1:]) for column in columns)
    return {
        int(key): LearningCurves(numbers.astype(np.int64), steps.astype(np.int64), values)
        for key, numbers, steps, values in zip(ids, *parts, strict=True)
    }


def select_winners(wanted: Filter, first: int | None) -> Select[Any]:
    """The slots of the best trials: in their study's order of steps the first, or the middle one
    of all, those that have not reached the goal coming last.

    first -- here and below: count, of every search, only so many complete trials, as
             `batchfront.frontier.frontier.load_frontiers` says
    """
    order = [slots.c.steps_to_target, slots.c.number]
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=order)
    others = slots.alias()
    all_ = select(func.count()).where(others.c.study_id == studies.c.id).scalar_subquery()
    wins: ColumnElement[int] = case((studies.c.purpose == Purpose.POINTS, (all_ + 1) // 2), else_=1)
    columns = (slots.c.id, place.label("place"), wins.label("wins"))
    ranks = _counted(wanted, first, *columns).where(reached).subquery()
    return select(slots).join(ranks, ranks.c.id == slots.c.id).where(ranks.c.place == ranks.c.wins)


def select_at_goal(slot_ids: Sequence[int]) -> Select[Any]:
    """Study, metric and value of what was measured of the validation split by these slots' trials
    where they passed the goal."""
    held = measurements.join(slots, measurements.c.slot_id == slots.c.id)
    return (
        select(slots.c.study_id, measurements.c.metric, measurements.c.value)
        .select_from(held)
        .where(
            slots.c.id.in_(slot_ids),
            measurements.c.step == slots.c.steps_to_target,
            measurements.c.split == "validation",
            or_(measurements.c.value.is_(None), is_measurable),
        )
        .order_by(slots.c.study_id, measurements.c.metric)
    )


def select_outcomes(wanted: Filter, first: int | None) -> Select[Any]:
    """How many trials of a study ended so, on these versions: all that needs each trial read."""
    kinds = (slots.c.study_id, slots.c.outcome, slots.c.versions)
    return _counted(wanted, first, *kinds, func.count()).group_by(*kinds)


def select_finishers(wanted: Filter, first: int | None) -> Select[Any]:
    """Study, number, steps and the evaluation before of all trials that reached the goal, best
    first."""
    columns = (slots.c.study_id, slots.c.number, slots.c.steps_to_target, slots.c.steps_lower)
    found = _counted(wanted, first, *columns).where(reached)
    return found.order_by(slots.c.study_id, slots.c.steps_to_target, slots.c.number)


@dataclass(frozen=True)
class ShownTrial:
    """What a trial that is done, or past the goal, has shown, for a surrogate.

    text  -- its metaparameters as they are stored
    round -- of a search in rounds, its own
    """

    number: int
    text: str
    round: int | None
    outcome: str | None
    steps: int
    steps_to_target: float | None
    metric: float | None

    @property
    def params(self) -> Mapping[str, Value]:
        """Its metaparameters."""
        params: Mapping[str, Value] = json.loads(self.text)
        return params


def select_shown(wanted: Filter, first: int | None) -> Select[Any]:
    """Study and fields of `ShownTrial` of all searched trials that are done, or past the goal."""
    told = (slots.c.outcome, slots.c.steps, slots.c.steps_to_target, slots.c.metric)
    own = (slots.c.study_id, slots.c.number, slots.c.params, slots.c.round)
    found = _counted(wanted, first, *own, *told)
    searched = studies.c.purpose == Purpose.SEARCH
    shown = or_(slots.c.outcome.is_not(None), reached)
    return found.where(searched, shown, slots.c.params.is_not(None)).order_by(
        slots.c.study_id, slots.c.number
    )


def select_rerun_versions(wanted: Filter) -> Select[Any]:
    """Workload, batch size and versions of what ran trials of these searches again."""
    columns = (studies.c.workload, studies.c.batch_size, slots.c.versions)
    meant = select(*columns).distinct().select_from(slots.join(studies))
    again = (studies.c.purpose.not_in(SEARCHES), slots.c.versions.is_not(None))
    return meant.where(replace(wanted, purposes=()).clause(), *again)


def _counted(wanted: Filter, first: int | None, *columns: Any) -> Select[Any]:
    """These columns of the slots that count."""
    meant = select(*columns).select_from(slots.join(studies)).where(wanted.clause())
    if first is None:
        return meant
    # Of an open one it is NULL.
    complete = slots.c.outcome.not_in((Outcome.DIVERGED, Outcome.FAILED))
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=slots.c.number)
    placed = select(slots.c.id, place.label("place")).select_from(slots.join(studies))
    placed_all = placed.where(wanted.clause(), complete).subquery()
    counted = select(placed_all.c.id).where(placed_all.c.place <= first)
    return meant.where(or_(studies.c.purpose == Purpose.POINTS, slots.c.id.in_(counted)))
