"""Choosing and leasing slots, inside the transaction of a claim."""

import json

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from service.endings import end_trials
from service.schema import slots, studies
from service.slots import Filter, Slot, Study
from service.training.heat import Ending

LEASE_SECONDS = 30.0
"""How long a claim holds without being renewed."""

ATTEMPTS = 3
"""Claims of one slot that may end in an error or a dead worker before it counts as failed."""

Clock = ColumnElement[float]


def choose_study(conn: Connection, now: Clock, wanted: Filter) -> Study | None:
    """The study with open slots that the fewest workers are busy with; of those, the one with
    the smallest batch size."""
    busy = (
        select(slots.c.study_id, func.count(slots.c.worker_id.distinct()).label("workers"))
        .where(slots.c.state == "leased", slots.c.lease_expires > now)
        .group_by(slots.c.study_id)
        .subquery()
    )
    mine = select(slots.c.id).where(slots.c.study_id == studies.c.id, _claimable(now))
    query = (
        select(studies)
        .select_from(studies.outerjoin(busy, busy.c.study_id == studies.c.id))
        .where(wanted.clause(), mine.exists())
        .order_by(func.coalesce(busy.c.workers, 0), studies.c.batch_size, studies.c.id)
        .limit(1)
    )
    row = conn.execute(query).first()
    return None if row is None else Study.from_row(row)


def lease(conn: Connection, now: Clock, worker_id: str, study: Study, limit: int) -> list[Slot]:
    """Up to `limit` open slots of a study, the least advanced first, leased to the worker.

    A trial that kills its worker costs every other in the heat an attempt too. So a slot at its
    last attempt is leased alone, after all others: only the culprit wears out.
    """
    last_attempt = slots.c.attempts >= ATTEMPTS - 1
    query = (
        select(slots)
        .where(slots.c.study_id == study.id, _claimable(now))
        .order_by(last_attempt, slots.c.steps, slots.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = conn.execute(query).all()
    safe = [row for row in found if row.attempts < ATTEMPTS - 1]
    rows = sorted(safe or found[:1], key=lambda row: row.number)
    conn.execute(
        update(slots)
        .where(slots.c.id.in_([row.id for row in rows]))
        .values(
            state="leased",
            worker_id=worker_id,
            lease_expires=now + LEASE_SECONDS,
            fence=slots.c.fence + 1,
            attempts=slots.c.attempts + 1,
        )
    )
    return [
        Slot(
            row.id,
            row.study_id,
            row.number,
            row.fence + 1,
            row.attempts + 1,
            row.steps,
            None if row.params is None else json.loads(row.params),
            row.trial_id,
        )
        for row in rows
    ]


def give_up_worn_out(conn: Connection, now: Clock, wanted: Filter) -> None:
    """End the slots whose workers died once too often: a trial that kills its process must not
    kill every worker in turn."""
    query = (
        select(slots)
        .select_from(slots.join(studies))
        .where(wanted.clause(), _claimable(now), slots.c.attempts >= ATTEMPTS)
        .with_for_update(of=slots, skip_locked=True)
    )
    worn = conn.execute(query).all()
    if not worn:
        return
    reason = f"its worker died {ATTEMPTS} times"
    conn.execute(
        update(slots)
        .where(slots.c.id.in_([row.id for row in worn]))
        .values(
            state="done",
            outcome="failed",
            reason=reason,
            lease_expires=None,
            fence=slots.c.fence + 1,
            finished_at=now,
        )
    )
    end_trials(conn, [(row.trial_id, Ending("failed", reason, row.steps)) for row in worn])


def _claimable(now: Clock) -> ColumnElement[bool]:
    expired = and_(slots.c.state == "leased", slots.c.lease_expires <= now)
    return or_(slots.c.state == "free", expired)
