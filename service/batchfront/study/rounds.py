"""Rounds: trials of a workload's searches, at all its batch sizes, that are sampled at once.

With `--sampler joint` the searches of a workload are one. Each slot belongs to a round (`round` in
`bf_slots`), whose slots wait (`later`) until all those of the rounds before it are done. Then those
of one batch size are freed. Whoever claims some of them samples the whole round (see
`batchfront.study.joint_sampler`), which frees the others: so a round is sampled once, however many
are at work, and by whomever.

What a study's trials race against is its own: each is capped at the best of its own batch size, of
its own round or one before.
"""

from collections.abc import Collection, Sequence
from itertools import chain, count, islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select, true, update

from batchfront.store.optuna_tables import is_tied, lock_studies
from batchfront.store.schema import imported, later, leased, slots, studies
from batchfront.study.study import Filter, Study
from batchfront.vocabulary import Purpose, Sampler, SlotState

_slots = slots.join(studies, slots.c.study_id == studies.c.id)

_drawn = slots.c.params.is_not(None)

_joint = and_(
    studies.c.sampler == Sampler.JOINT,
    studies.c.purpose == Purpose.SEARCH,
    not_(imported),
    is_tied(studies.c.id, studies.c.name),
)


_workloads = select(studies.c.workload).where(_joint).correlate(None)


def of_search(workload: str) -> ColumnElement[bool]:
    """The condition on `bf_studies` that one belongs to a workload's search in rounds: it isn't an
    orphan, and it can be run here."""
    return and_(studies.c.workload == workload, _joint)


def lock_search(conn: Connection, workload: str) -> None:
    """Lock Optuna's rows of all studies of a workload's search in rounds, by id: before any of them
    is locked alone, so that no two wait for each other."""
    ids = conn.execute(select(studies.c.id).where(of_search(workload))).scalars()
    lock_studies(conn, ids.all())


def lock_searches(conn: Connection, study_ids: Collection[int]) -> None:
    """The same of all searches in rounds that some of these studies belong to."""
    theirs = _workloads.where(studies.c.id.in_(study_ids))
    ids = conn.execute(select(studies.c.id).where(studies.c.workload.in_(theirs), _joint)).scalars()
    lock_studies(conn, ids.all())


def rounds_of_more(conn: Connection, study: Study, more: int) -> list[int]:
    """The rounds of so many slots that are to be appended to a study, whose search is locked.

    Each round has as many of a study's slots as race together. The first new ones fill up the
    study's last round, unless that has been sampled; the next begin the round after it, or after
    the last of the search that has been sampled: so they know of all that there is to know, and are
    sampled beside what the others are still to run.
    """
    over = or_(_drawn, slots.c.state == SlotState.DONE)
    sampled = select(func.max(slots.c.round)).select_from(_slots)
    begun = conn.execute(sampled.where(of_search(study.workload), over)).scalar_one()
    mine = select(slots.c.round, func.count().label("slots")).where(slots.c.study_id == study.id)
    own = {row.round: row.slots for row in conn.execute(mine.group_by(slots.c.round))}
    last = max(own, default=-1)
    first = 0 if begun is None else begun + 1
    room = study.generation - own[last] if last >= first else 0
    later_ones = (n for n in count(max(last + 1, first)) for _ in range(study.generation))
    return list(islice(chain([last] * room, later_ones), more))


def open_round(
    conn: Connection,
    workload: str,
    left_out: Collection[int] = (),
    wanted: Filter | None = None,
) -> bool:
    """Free what can be claimed of the earliest round that isn't over: all of it once it has been
    sampled, until then the slots of one study, for whoever is to sample it.

    left_out -- ids of studies that can't be read: nobody waits for their slots
    wanted   -- the studies that somebody would run who has found none of their slots free: theirs
                are freed unless another is about to sample the round

    Whoever ends slots of such a search, adds some or samples them calls it in the same transaction.
    Returns whether there were any to free.
    """
    lock_search(conn, workload)
    found = _to_free(conn, workload, left_out, wanted)
    if found:
        conn.execute(update(slots).where(slots.c.id.in_(found)).values(state=SlotState.FREE))
    return bool(found)


def open_waiting(conn: Connection, wanted: Filter) -> bool:
    """The same of all searches, for whoever has found no free slot of the studies that are wanted:
    what the others waited for may have been deleted since, or can't be read any more.

    Returns whether there were any to free.
    """
    waiting = _workloads.select_from(_slots).where(later, wanted.clause())
    workloads = conn.execute(waiting.distinct().order_by(studies.c.workload)).scalars().all()
    opened = [
        open_round(conn, workload, wanted.left_out, wanted)
        for workload in workloads
        if _to_free(conn, workload, wanted.left_out, wanted)  # or nobody has to be locked
    ]
    return any(opened)


def waits_for_others() -> ColumnElement[bool]:
    """The condition on a slot, and its study, that it waits, and that somebody is at work on its
    search, at whichever batch size."""
    return and_(later, _joint, is_worked_on())


def unsettled(wanted: Filter) -> ColumnElement[bool]:
    """The condition on `bf_studies` that one is wanted, and of a search that shares out its trials
    and isn't settled yet."""
    return and_(
        wanted.clause(), _joint, studies.c.max_trials.is_not(None), studies.c.settled.is_(None)
    )


def between_rounds(left_out: Collection[int] = ()) -> ColumnElement[bool]:
    """The condition on `bf_studies` that all slots of its search are done.

    left_out -- ids of studies that can't be read: nobody waits for their slots
    """
    undone = slots.c.state != SlotState.DONE, studies.c.id.not_in(left_out)
    return studies.c.workload.not_in(_workloads.select_from(_slots).where(*undone))


def is_worked_on() -> ColumnElement[bool]:
    """The condition on `bf_studies` that somebody is at work on its search."""
    return studies.c.workload.in_(_workloads.select_from(_slots).where(leased))


def waited_for(conn: Connection, wanted: Filter) -> dict[str, list[int]]:
    """The batch sizes beside those that are wanted whose trials have to end before waiting ones
    that are wanted can be sampled, by workload."""
    waiting = _workloads.select_from(_slots).where(later, wanted.clause()).distinct()
    found = {}
    for workload in conn.execute(waiting.order_by(studies.c.workload)).scalars():
        rows = _current(conn, workload, wanted.left_out, wanted.clause())
        others = {row.batch_size for row in rows if not row.wanted}
        found[workload] = sorted(others) if not any(row.wanted for row in rows) else []
    return {workload: sizes for workload, sizes in found.items() if sizes}


def _to_free(
    conn: Connection, workload: str, left_out: Collection[int], wanted: Filter | None
) -> list[int]:
    """The ids of the slots that `open_round` frees."""
    rows = _current(conn, workload, left_out, true() if wanted is None else wanted.clause())
    bare = [row for row in rows if not row.drawn]
    about_to_be = (SlotState.LEASED,) if wanted else (SlotState.LEASED, SlotState.FREE)
    found = [row for row in rows if row.drawn and row.state == SlotState.LATER]
    if not any(row.state in about_to_be for row in bare):
        waiting = [row for row in bare if row.state == SlotState.LATER and row.wanted]
        found += [row for row in waiting if row.study_id == waiting[0].study_id]
    return [row.id for row in found]


def _current(
    conn: Connection, workload: str, left_out: Collection[int], wanted: ColumnElement[bool]
) -> Sequence[Any]:
    """The slots that aren't done of a search's earliest round that isn't over, the smallest batch
    size's first."""
    undone = (
        of_search(workload),
        studies.c.id.not_in(left_out),
        slots.c.state != SlotState.DONE,
    )
    first = select(func.min(slots.c.round)).select_from(_slots).where(*undone)
    earliest = slots.c.round == conn.execute(first).scalar_one()
    own = (slots.c.id, slots.c.study_id, slots.c.state, studies.c.batch_size)
    told = (_drawn.label("drawn"), wanted.label("wanted"))
    query = select(*own, *told).select_from(_slots)
    in_order = query.order_by(studies.c.batch_size, studies.c.id, slots.c.number)
    return conn.execute(in_order.where(*undone, earliest)).all()
