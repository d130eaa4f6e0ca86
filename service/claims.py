"""Choosing and taking slots, and taking them from workers that are gone; inside a transaction."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select, tuple_, update

from service.endings import end_trials
from service.roster import Clock, busy_by_study, gone
from service.schema import free, leased, slots, studies
from service.slots import Filter, Slot, Study
from service.training.heat import Ending

ATTEMPTS = 3
"""Claims of one slot that may end in an error or a dead worker before it counts as failed."""

_CANDIDATES = 8  # studies to try when others take the slots of the first at the same moment


def choose_studies(
    conn: Connection, now: Clock, worker_id: str, wanted: Filter, last: int | None
) -> list[Study]:
    """Studies with free slots, the best first: that which the fewest other workers are busy with;
    of those the one that this worker was at, whose data it has; then the smallest batch size."""
    busy = busy_by_study(now, worker_id)
    # One look into an index for each study: it is in this order. Asked whether some slot EXISTS,
    # in no order, a planner may read every free slot, or the whole table.
    some = select(slots.c.id).where(slots.c.study_id == studies.c.id, free)
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


def take(conn: Connection, worker_id: str, study: Study, limit: int) -> list[Slot]:
    """Up to `limit` free slots of a study, the least advanced first, now held by the worker.

    A trial that kills its worker costs every other in the heat an attempt too. So a slot at its
    last attempt is taken alone, after all others: only the culprit wears out.
    """
    least_advanced = (
        select(slots)
        .where(slots.c.study_id == study.id, free)
        .order_by(slots.c.steps, slots.c.number)
        .with_for_update(skip_locked=True)
    )
    last_attempt = slots.c.attempts >= ATTEMPTS - 1
    found = conn.execute(least_advanced.where(~last_attempt).limit(limit)).all()
    found = found or conn.execute(least_advanced.where(last_attempt).limit(1)).all()
    rows = sorted(found, key=lambda row: row.number)
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


def held_by(worker_id: str, taken: Sequence[Slot]) -> ColumnElement[bool]:
    """The condition on `bf_slots` that one is among those taken, and still the worker's."""
    claims = [(slot.id, slot.fence) for slot in taken]
    return and_(
        tuple_(slots.c.id, slots.c.fence).in_(claims),
        slots.c.worker_id == worker_id,
        leased,
    )


def give_back(conn: Connection, condition: Any, *, counted: bool, **values: Any) -> None:
    """Free held slots for whoever claims them next; the attempt counts, or doesn't."""
    conn.execute(
        update(slots)
        .where(condition, leased)
        .values(
            state="free",
            worker_id=None,
            attempts=slots.c.attempts - (0 if counted else 1),
            **values,
        )
    )


def sweep(conn: Connection, now: Clock) -> None:
    """Free the slots of workers whose lease has run out."""
    found = gone(conn, now)
    if found:
        take_from(conn, now, found)


def take_from(conn: Connection, now: Clock, worker_ids: Sequence[str]) -> None:
    """Free all that workers hold which are gone; what has worn out too many ends as failed: a
    trial that kills its process must not kill every worker in turn."""
    held = and_(slots.c.worker_id.in_(worker_ids), leased)
    worn = conn.execute(
        select(slots).where(held, slots.c.attempts >= ATTEMPTS).with_for_update()
    ).all()
    if worn:
        reason = f"its worker died {ATTEMPTS} times"
        conn.execute(
            update(slots)
            .where(slots.c.id.in_([row.id for row in worn]))
            .values(
                state="done",
                outcome="failed",
                reason=reason,
                fence=slots.c.fence + 1,
                finished_at=now,
            )
        )
        end_trials(conn, [(row.trial_id, Ending("failed", reason, row.steps)) for row in worn])
    give_back(conn, held, counted=True, fence=slots.c.fence + 1)
