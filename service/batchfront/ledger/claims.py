"""Choosing and taking slots, releasing them, and reaping stale workers; inside a transaction."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from batchfront.errors import StudyDeleted
from batchfront.ledger.results import with_crossing
from batchfront.ledger.trials import end_trials
from batchfront.ledger.workers import Clock, busy_by_study, has_lease, lose_stale, present
from batchfront.outcomes import TrialResult
from batchfront.printable import printable
from batchfront.store.bulk import update_rows
from batchfront.store.schema import LEASE_SECONDS, free, imported, leased, slots, studies, workers
from batchfront.study.flaws import Params
from batchfront.study.rounds import lock_searches
from batchfront.study.slots import Slot, go_on
from batchfront.study.study import Filter, Stored, Study, find_study, read_study, warn_of
from batchfront.vocabulary import Outcome, SlotState

ATTEMPTS = 3
"""Claims of one slot that may end in an error before it counts as failed."""

COMPANY_DEATHS, DEATHS = 3, 10
"""Dead workers after which a slot is held alone, and after which it counts as failed. A trial that
kills its worker is then told from those that happened to be with it; one that has got on since,
by a checkpoint, starts to count anew."""

_CANDIDATES = 8  # studies to try when others take the slots of the first at the same moment

alone = or_(slots.c.attempts >= ATTEMPTS - 1, slots.c.deaths >= COMPANY_DEATHS)
"""The condition on a slot that it is held alone: no other is to suffer, or to be in its way."""


def left_for_others(conn: Connection, now: Clock, worker_id: str) -> ColumnElement[bool]:
    """The condition on a slot that it failed with this worker lately: it is left for another,
    who may have what this one lacks, if there is any."""
    others = select(workers.c.id).where(workers.c.id != worker_id, present, has_lease(now))
    if conn.execute(others.limit(1)).first() is None:
        return false()
    lately = slots.c.failed_at.between(now - LEASE_SECONDS, now)
    return and_(func.coalesce(slots.c.failed_by, "") == worker_id, lately)


def choose_studies(
    conn: Connection,
    now: Clock,
    worker_id: str,
    wanted: Filter,
    last: int | None,
    spared: ColumnElement[bool],
    left_out: set[int],
) -> Iterator[Study]:
    """Studies with free slots, the best first: that which the fewest other workers are busy with;
    of those the one that this worker was at, whose data it has; then the smallest batch size.

    spared   -- the condition on slots that are left for others
    left_out -- gains the ids of those that can't be read, which are warned of once
    """
    while True:
        wanted = replace(wanted, left_out=tuple(left_out))
        before, found = len(left_out), _candidates(conn, now, worker_id, wanted, last, spared)
        for study_id in found:
            study = _still(conn, study_id) if study_id == last else None
            study = study or find_study(conn, study_id)
            if isinstance(study, Study):
                yield study
            elif study is not None:
                warn_of(conn.engine.url, [study])
                left_out.add(study.id)
        if len(left_out) == before:
            return


def _still(conn: Connection, study_id: int) -> Stored | None:
    """A study whose trials have been read before; None if it can't be read now."""
    with suppress(StudyDeleted):
        return read_study(conn, study_id)
    return None


def _candidates(
    conn: Connection,
    now: Clock,
    worker_id: str,
    wanted: Filter,
    last: int | None,
    spared: ColumnElement[bool],
) -> Sequence[int]:
    busy = busy_by_study(now, worker_id)
    # One search of an index for each study: it is in this order. Asked whether some slot EXISTS,
    # in no order, a planner may read every free slot, or the whole table.
    some = select(slots.c.id).where(slots.c.study_id == studies.c.id, free)
    some = some.where(not_(spared))
    some = some.order_by(slots.c.steps, slots.c.number).limit(1)
    query = (
        select(studies.c.id)
        .select_from(studies.outerjoin(busy, busy.c.study_id == studies.c.id))
        .where(wanted.clause(), not_(imported), some.scalar_subquery().is_not(None))
        .order_by(
            func.coalesce(busy.c.workers, 0),
            case((studies.c.id == (last or -1), 0), else_=1),
            studies.c.batch_size,
            studies.c.id,
        )
        .limit(_CANDIDATES)
    )
    return conn.execute(query).scalars().all()


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
    """Lease up to `limit` free slots of a study to the worker, the least advanced first.

    A trial that kills its worker costs every other in the heat a death too. So one with which it
    has happened too often is taken alone, after all others: only the culprit's retries are
    exhausted. It isn't taken where the worker holds others already, `in_company`.

    Raises StudyDeleted, having taken none, if the metaparameters of one can't be read.
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
    found, possible = [_slot(row) for row in rows], Params(study.space)
    for slot, row in zip(found, rows, strict=True):
        wrong = None if row.params is None else possible.flaw(row.params, is_done=False)
        if wrong is not None:
            raise StudyDeleted(
                f"study {printable(study.name)} is given up: trial {slot.number}: {wrong}"
            )
    if rows:
        conn.execute(
            update(slots)
            .where(slots.c.id.in_([row.id for row in rows]))
            .values(
                state=SlotState.LEASED,
                worker_id=worker_id,
                fence=slots.c.fence + 1,
                attempts=slots.c.attempts + 1,
            )
        )
    return [replace(s, fence=s.fence + 1, attempts=s.attempts + 1) for s in found]


def claimed_by(worker_id: str, taken: Sequence[Slot]) -> ColumnElement[bool]:
    """The condition on `bf_slots` that one is among those taken, by the claim that took it."""
    claims = [(slot.id, slot.fence) for slot in taken]
    return and_(tuple_(slots.c.id, slots.c.fence).in_(claims), slots.c.worker_id == worker_id)


def begun_by(worker_id: str, taken: Sequence[Slot]) -> ColumnElement[bool]:
    """The same, and that its trial is the one that was begun.

    It isn't where the database has lost the commit of that, by a failover to a standby that lagged
    behind or a backup that was put back: the trial's id is by then another's, or nobody's, and the
    slot's metaparameters may be sampled anew.
    """
    begun = [(slot.id, _NONE if slot.trial_id is None else slot.trial_id) for slot in taken]
    trial = func.coalesce(slots.c.trial_id, _NONE)
    return and_(claimed_by(worker_id, taken), tuple_(slots.c.id, trial).in_(begun))


_NONE = -1  # no trial's id


def held_by(worker_id: str, taken: Sequence[Slot]) -> ColumnElement[bool]:
    """The condition on `bf_slots` that one is among those taken, and still the worker's: whatever
    is written about slots asks for it."""
    return and_(begun_by(worker_id, taken), leased)


def release(conn: Connection, condition: Any, **values: Any) -> None:
    """Free held slots for whoever claims them next; the attempt doesn't count unless told so."""
    changes = {"attempts": slots.c.attempts - 1, "state": SlotState.FREE, "worker_id": None}
    conn.execute(update(slots).where(condition, leased).values({**changes, **values}))


def reap_stale(conn: Connection, now: Clock) -> list[Slot]:
    """Reap the workers whose lease has run out. Returns the slots whose retries are exhausted."""
    stale = lose_stale(conn, now)
    return reap(conn, now, stale) if stale else []


def reap_unlisted(conn: Connection, now: Clock) -> list[Slot]:
    """Reap whoever holds slots and isn't in the list of workers, or has stopped: in a database that
    was put back, say, no lease of theirs would ever run out. Returns what `reap` does."""
    there = exists().where(workers.c.id == slots.c.worker_id, present)
    query = select(slots.c.worker_id).where(leased, not_(there)).distinct()
    unlisted = conn.execute(query.order_by(slots.c.worker_id)).scalars().all()
    if None in unlisted:  # it came so, with an import
        release(conn, slots.c.worker_id.is_(None), attempts=slots.c.attempts)
    named = [worker_id for worker_id in unlisted if worker_id is not None]
    return reap(conn, now, named) if named else []


def reap(conn: Connection, now: Clock, worker_ids: Sequence[str]) -> list[Slot]:
    """Free all slots of workers that died, but for those with which too many have: they end as
    failed (or as reached, if the goal had been passed), as a trial that kills its process must not
    kill every worker in turn.

    Returns those that have ended, their retries exhausted.
    """
    held = and_(slots.c.worker_id.in_(worker_ids), leased)
    found = conn.execute(select(slots).where(held).order_by(slots.c.id).with_for_update()).all()
    exhausted = [row for row in found if row.deaths >= DEATHS - 1]
    reason = f"its worker died {DEATHS} times"
    failed = [TrialResult(Outcome.FAILED, reason, row.steps) for row in exhausted]
    results = [(row, with_crossing(r, row)) for row, r in zip(exhausted, failed, strict=True)]
    ends = [{"id": row.id, "outcome": r.outcome, "reason": r.reason} for row, r in results]
    common = {"fence": slots.c.fence + 1, "deaths": DEATHS, "finished_at": now}
    update_rows(conn, slots, ends, state=SlotState.DONE, **common)
    release(conn, held, fence=slots.c.fence + 1, deaths=slots.c.deaths + 1)
    versions = {row.id: row.versions for row in exhausted}
    lock_searches(conn, {row.study_id for row in exhausted})
    for study_id in sorted({row.study_id for row in exhausted}):
        with suppress(StudyDeleted):
            study = read_study(conn, study_id)
            written = [(_slot(row), result) for row, result in results if row.study_id == study_id]
            end_trials(conn, study, written, versions)
            go_on(conn, study)
    return [
        Slot(r.id, r.study_id, r.number, r.fence, r.attempts, r.steps, None, r.trial_id)
        for r in exhausted
    ]


def _slot(row: Any) -> Slot:
    try:
        params = None if row.params is None else json.loads(row.params)
    except ValueError:
        raise StudyDeleted(f"trial {row.number} of study {row.study_id} can't be read") from None
    counts = (row.fence, row.attempts, row.steps)
    rest = (row.trial_id, row.deaths, row.steps_to_target)
    return Slot(row.id, row.study_id, row.number, *counts, params, *rest)
