"""What a monitoring system follows of a database: its slots, its workers, and their leases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    Integer,
    Row,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    select,
    true,
)

from batchfront.ledger.workers import has_lease, present
from batchfront.store.database import now
from batchfront.store.schema import leased, slots, studies, workers
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter
from batchfront.vocabulary import WorkerState

SILENT = "silent"
"""Of a worker whose lease has run out, before another finds it to be lost."""


@dataclass(frozen=True)
class WorkloadCounts:
    """The slots of one workload, reruns included.

    by_state    -- number of slots that are not done, by state
    by_outcome  -- number of those that are, by outcome
    last_result -- when a trial last ended, in seconds since 1970; None if none has here
    """

    by_state: Mapping[str, int]
    by_outcome: Mapping[str, int]
    last_result: float | None


@dataclass(frozen=True)
class Counts:
    """A database at one moment.

    workers   -- number of those that have not stopped in order: busy, idle, silent or lost
    lease_age -- seconds since the lease of some slot was last renewed: the longest there is; None
                 where no slot is leased
    """

    workloads: Mapping[str, WorkloadCounts]
    workers: Mapping[str, int]
    lease_age: float | None


def load_counts(source: Source, wanted: Filter) -> Counts:
    """Count the slots of the studies that are meant, and all workers, in three queries."""
    with snapshot(source) as conn:
        clock = now(conn.engine)
        by_slot = conn.execute(_by_slot(wanted)).all()
        state = case(
            (and_(present, not_(has_lease(clock))), literal(SILENT)), else_=workers.c.state
        )
        by_worker = conn.execute(
            select(state.label("state"), func.count().label("number"))
            .where(workers.c.state != WorkerState.STOPPED)
            .group_by(state)
        ).all()
        holding = select(true()).where(slots.c.worker_id == workers.c.id, leased).exists()
        oldest = select(func.max(func.abs(clock - workers.c.seen_at))).where(holding)
        age = conn.execute(oldest).scalar_one()
    return Counts(_by_workload(by_slot), {row.state: row.number for row in by_worker}, age)


def _by_slot(wanted: Filter) -> Select[Any]:
    """Number and last end of slots, by workload, state and outcome. They are counted by study
    first: what is asked of a study is asked once then, and not for each slot."""
    kinds = (slots.c.study_id, slots.c.state, slots.c.outcome)
    counted = (
        select(*kinds, func.count().label("number"), func.max(slots.c.finished_at).label("last"))
        .group_by(*kinds)
        .subquery()
    )
    of = (studies.c.workload, counted.c.state, counted.c.outcome)
    number = cast(func.sum(counted.c.number), Integer).label("number")
    return (
        select(*of, number, func.max(counted.c.last).label("last"))
        .select_from(studies.join(counted, counted.c.study_id == studies.c.id))
        .where(wanted.clause())
        .group_by(*of)
        .order_by(studies.c.workload)
    )


def _by_workload(rows: Sequence[Row[Any]]) -> dict[str, WorkloadCounts]:
    found = {}
    for workload, group in groupby(rows, lambda row: row.workload):
        mine = list(group)
        found[workload] = WorkloadCounts(
            {row.state: row.number for row in mine if row.outcome is None},
            {row.outcome: row.number for row in mine if row.outcome is not None},
            max((row.last for row in mine if row.last is not None), default=None),
        )
    return found
