"""Choosing and taking slots, and taking them from workers that are gone; inside a transaction."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from batchfront.ledger.results import end_trials, upheld
from batchfront.ledger.workers import LEASE_SECONDS, Clock, busy_by_study, gone
from batchfront.outcomes import TrialResult
from batchfront.store.bulk import update_rows
from batchfront.store.schema import free, leased, slots, studies, workers
from batchfront.study.generations import open_next
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study, read_study

ATTEMPTS = 3
"""Claims of one slot that may end in an error before it counts as failed."""


COMPANY_DEATHS, DEATHS = 3, 10
"""Dead workers after which a slot is held alone, and after which it counts as failed. A trial that
kills its worker is then told from those that happened to be with it; one that has got on since,
by a checkpoint, starts to count anew."""


_CANDIDATES = 8  # studies to try when others take the slots of the first at the same moment


alone = or_(slots.c.attempts >= ATTEMPTS - 1, slots.c.deaths >= COMPANY_DEATHS)
"""The condition on a slot that it is held alone: no other is to suffer, or to be in its way."""


def for_another(conn: Connection, now: Clock, worker_id: str) -> ColumnElement[bool]:
    """The condition on a slot that it failed with this worker lately: it is left for another,
    who may have what this one lacks, if there is any."""
    others = select(workers.c.id).where(
        workers.c.id != worker_id,
        workers.c.state.in_(("busy", "idle")),
        workers.c.lease_expires > now,
    )
    if conn.execute(others.limit(1)).first() is None:
        return false()
    lately = slots.c.failed_at > now - LEASE_SECONDS
    return and_(func.coalesce(slots.c.failed_by, "") == worker_id, lately)


def choose_studies(
    conn: Connection,
    now: Clock,
    worker_id: str,
    wanted: Filter,
    last: int | None,
    spared: ColumnElement[bool],
) -> list[Study]:
    """Studies with free slots, the best first: that which the fewest other workers are busy with;
    of those the one that this worker was at, whose data it has; then the smallest batch size.

    spared -- the condition on slots that are left for others
    """
    busy = busy_by_study(now, worker_id)
    # One look into an index for each study: it is in this order. Asked whether some slot EXISTS,
    # in no order, a planner may read every free slot, or the whole table.
    some = select(slots.c.id).where(slots.c.study_id == studies.c.id, free)
    some = some.where(not_(spared))
    some = some.order_by(slots.c.steps, slots.c.number).limit(1)
    query = (
        select(studies)
        .select_from(studies.outerjoin(busy, busy.c.study_id == studies.c.id))
        .where(wanted.clause(), some.scalar_subquery().is_not(None))
        .order_by(
            func.coalesce(busy.c.workers, 0),
            case((studies.c.id == (last or -1), 0), else_=1),
            studies.c.batch_size,
            studies.c.id,
        )
        .limit(_CANDIDATES)
    )
    return [Study.from_row(row) for row in conn.execute(query)]


def is_alone(slot: Slot) -> bool:
    """Whether a slot, as claimed, is held alone."""
    return slot.attempts >= ATTEMPTS or slot.deaths >= COMPANY_DEATHS


def take(
    conn: Connection,
    worker_id: str,
    study: Study,
    limit: int,
    spared: ColumnElement[bool],
    *,
    in_company: bool = False,
) -> list[Slot]:
    """Up to `limit` free slots of a study, the least advanced first, now held by the worker.

    A trial that kills its worker costs every other in the heat a death too. So one with which it
    has happened too often is taken alone, after all others: only the culprit wears out. It isn't
    where the worker holds others already, `in_company`.
    """
    least_advanced = (
        select(slots)
        .where(slots.c.study_id == study.id, free, not_(spared))
        .order_by(slots.c.steps, slots.c.number)
        .with_for_update(skip_locked=True)
    )
    rows = conn.execute(least_advanced.where(not_(alone)).limit(limit)).all()
    if not in_company:
        rows = rows or conn.execute(least_advanced.where(alone).limit(1)).all()
    if rows:
        conn.execute(
            update(slots)
            .where(slots.c.id.in_([row.id for row in rows]))
            .values(
                state="leased",
                worker_id=worker_id,
                fence=slots.c.fence + 1,
                attempts=slots.c.attempts + 1,
            )
        )
    found = map(_slot, rows)
    return [replace(s, fence=s.fence + 1, attempts=s.attempts + 1) for s in found]


def held_by(worker_id: str, taken: Sequence[Slot]) -> ColumnElement[bool]:
    """The condition on `bf_slots` that one is among those taken, and still the worker's."""
    claims = [(slot.id, slot.fence) for slot in taken]
    return and_(
        tuple_(slots.c.id, slots.c.fence).in_(claims),
        slots.c.worker_id == worker_id,
        leased,
    )


def give_back(conn: Connection, condition: Any, **values: Any) -> None:
    """Free held slots for whoever claims them next; the attempt doesn't count unless told so."""
    changes = {"attempts": slots.c.attempts - 1, "state": "free", "worker_id": None}
    conn.execute(update(slots).where(condition, leased).values({**changes, **values}))


def sweep(conn: Connection, now: Clock) -> list[Slot]:
    """Free the slots of workers whose lease has run out; those that have worn out instead."""
    found = gone(conn, now)
    return take_from(conn, now, found) if found else []


def take_from(conn: Connection, now: Clock, worker_ids: Sequence[str]) -> list[Slot]:
    """Free all that workers hold which died; what has seen too many of them die ends as failed (or
    as reached, if the goal had been passed), and is returned: a trial that kills its process must
    not kill every worker in turn."""
    held = and_(slots.c.worker_id.in_(worker_ids), leased)
    found = conn.execute(select(slots).where(held).order_by(slots.c.id).with_for_update()).all()
    worn = [row for row in found if row.deaths >= DEATHS - 1]
    reason = f"its worker died {DEATHS} times"
    endings = [(row, upheld(TrialResult("failed", reason, row.steps), row)) for row in worn]
    ends = [{"id": row.id, "outcome": e.outcome, "reason": e.reason} for row, e in endings]
    common = {"fence": slots.c.fence + 1, "deaths": DEATHS, "finished_at": now}
    update_rows(conn, slots, ends, state="done", **common)
    end_trials(conn, [(row.trial_id, ending) for row, ending in endings])
    give_back(conn, held, fence=slots.c.fence + 1, deaths=slots.c.deaths + 1)
    for study_id in sorted({row.study_id for row in worn}):
        open_next(conn, read_study(conn, study_id))
    return [_slot(row) for row in worn]


def _slot(row: Any) -> Slot:
    params = None if row.params is None else json.loads(row.params)
    counts = (row.fence, row.attempts, row.steps)
    rest = (row.trial_id, row.deaths, row.steps_to_target)
    return Slot(row.id, row.study_id, row.number, *counts, params, *rest)
