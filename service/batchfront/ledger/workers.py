"""The workers of a database: who there is, what each is at, and whose lease has run out.

A worker has one lease for all slots that it holds, on its row of `bf_workers`, which it renews.
All functions work inside the caller's transaction, and by the database's clock.
"""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from batchfront.store.schema import LEASE_SECONDS, studies, workers
from batchfront.study.study import Filter
from batchfront.vocabulary import WorkerState

Clock = ColumnElement[float]

present = workers.c.state.in_((WorkerState.BUSY, WorkerState.IDLE))
"""The condition on a worker that it has neither stopped nor been found to be lost."""


def has_lease(now: Clock) -> ColumnElement[bool]:
    """The condition on a worker that its lease hasn't run out.

    One that ends further ahead than a lease lasts is from before the database's clock was set back,
    and says nothing: whoever is alive renews it in time.
    """
    return workers.c.lease_expires.between(now, now + LEASE_SECONDS)


def was_seen(now: Clock, seconds: float) -> ColumnElement[bool]:
    """The condition on a worker that it was heard of so lately. What is ahead of the clock was
    before it was set back, and nobody knows how long."""
    return workers.c.seen_at.between(now - seconds, now)


def busy(now: Clock) -> ColumnElement[bool]:
    """The condition on a worker that it holds slots, by a lease that hasn't run out."""
    return and_(workers.c.state == WorkerState.BUSY, has_lease(now))


def enter(conn: Connection, now: Clock, worker_id: str, **about: Any) -> None:
    """Add a worker (host, pid, device, about) to the list, unless it is there: its heartbeat may
    do so at the same moment."""
    fields = {"state": WorkerState.IDLE, "trials": 0, "steps": 0, "rate": 0.0}
    times = {"started_at": now, "seen_at": now, "lease_expires": now + LEASE_SECONDS}
    new = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(workers)
    row = new.values(id=worker_id, **times, **fields, **about)
    conn.execute(row.on_conflict_do_nothing())


def lock(conn: Connection, worker_id: str) -> bool:
    """Hold the worker's row until the transaction ends: whoever goes on to its slots has to, so
    that two who do can't wait for each other. Returns whether there is one."""
    row = select(workers.c.id).where(workers.c.id == worker_id).with_for_update()
    return conn.execute(row).first() is not None


def seen(conn: Connection, now: Clock, worker_id: str, **said: Any) -> bool:
    """The worker is there: excuse an absence of all, and do as `note` does."""
    excuse_absence(conn, now, worker_id)
    return note(conn, now, worker_id, **said)


def note(conn: Connection, now: Clock, worker_id: str, **said: Any) -> bool:
    """Renew the worker's lease, and note what it is at. Returns whether it is in the list."""
    noted = conn.execute(
        update(workers)
        .where(workers.c.id == worker_id)
        .values(seen_at=now, clock=time.time(), lease_expires=now + LEASE_SECONDS, **said)
    )
    return bool(noted.rowcount)


def excuse_absence(conn: Connection, now: Clock, worker_id: str) -> None:
    """After a silence of all workers alike, give each a whole lease to come back in.

    It was the server that was away, or the network, and whoever is back first must not take the
    others' trials. On SQLite, which no network comes between, silence means that they died.
    """
    if conn.dialect.name == "sqlite":
        return
    heard = select(workers.c.id).where(was_seen(now, LEASE_SECONDS / 2))
    own, anyone = exists(heard.where(workers.c.id == worker_id)), exists(heard)
    # Its own time comes first: if that is recent, nobody else's has to be read.
    conn.execute(
        update(workers)
        .where(not_(own), not_(anyone), workers.c.state == WorkerState.BUSY)
        .values(lease_expires=now + LEASE_SECONDS)
    )


def lose_stale(conn: Connection, now: Clock) -> Sequence[str]:
    """Count the workers whose lease has run out as lost, but for those that another transaction is
    at. Cuts leases, too. Returns their ids."""
    over = workers.c.lease_expires < now
    query = select(workers.c.id, over.label("over")).where(present, not_(has_lease(now)))
    rows = conn.execute(query.with_for_update(skip_locked=True)).all()
    stale, ahead = ([row.id for row in rows if bool(row.over) is late] for late in (True, False))
    if stale:
        conn.execute(update(workers).where(workers.c.id.in_(stale)).values(state=WorkerState.LOST))
    if ahead:
        _cut(conn, now, workers.c.id.in_(ahead))
    return stale


def cut_leases(conn: Connection, now: Clock) -> None:
    """Cut leases that end further ahead than a lease lasts, as the database's clock was set back
    since, to a whole one from now on, in which whoever is alive renews it."""
    _cut(conn, now, and_(present, workers.c.lease_expires > now + LEASE_SECONDS))


def _cut(conn: Connection, now: Clock, condition: ColumnElement[bool]) -> None:
    cut = {"lease_expires": now + LEASE_SECONDS, "seen_at": now}
    conn.execute(update(workers).where(condition).values(cut))


def busy_by_study(now: Clock, without: str) -> Any:
    """Study to the number of workers at it, other than one, as a subquery."""
    return (
        select(workers.c.study_id, func.count().label("workers"))
        .where(busy(now), workers.c.id != without)
        .group_by(workers.c.study_id)
        .subquery()
    )


def waiting(now: Clock) -> ColumnElement[bool]:
    """The condition on `bf_workers` that one is there and has nothing to do."""
    return and_(workers.c.state == WorkerState.IDLE, was_seen(now, LEASE_SECONDS))


def study_to_join(conn: Connection, now: Clock, worker_id: str, wanted: Filter) -> int | None:
    """The study of which an idle worker would take a part: the one with the most trials to each
    worker that holds some or waits for some; None if none has two to share."""
    held = (
        select(
            workers.c.study_id,
            func.sum(workers.c.trials).label("trials"),
            func.count().label("holders"),
        )
        .where(busy(now))
        .group_by(workers.c.study_id)
        .subquery()
    )
    others = (
        select(workers.c.study_id, func.count().label("waiting"))
        .where(waiting(now), workers.c.id != worker_id)
        .group_by(workers.c.study_id)
        .subquery()
    )
    claimants = held.c.holders + func.coalesce(others.c.waiting, 0)
    query = (
        select(held.c.study_id)
        .select_from(
            held.join(studies, studies.c.id == held.c.study_id).outerjoin(
                others, others.c.study_id == held.c.study_id
            )
        )
        .where(wanted.clause(), held.c.trials > claimants)
        .order_by((held.c.trials * 1.0 / claimants).desc(), held.c.study_id)
        .limit(1)
    )
    found: int | None = conn.execute(query).scalar_one_or_none()
    return found


def should_share(conn: Connection, worker_id: str, study_id: int, idle: int) -> bool:
    """Whether this worker is among the `idle` ones that hold the most trials of a study."""
    holders = (
        select(workers.c.id)
        .where(workers.c.study_id == study_id, workers.c.state == WorkerState.BUSY)
        .order_by(workers.c.trials.desc(), workers.c.id)
        .limit(idle)
    )
    return worker_id in conn.execute(holders).scalars().all()
