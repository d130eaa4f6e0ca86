"""Searches that share out their trials: the next round once all before it are over, or why there is
none."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.study.joint_sampler import Search, load_search, read_evidence
from batchfront.study.rounds import between_rounds, lock_search, open_round, unsettled
from batchfront.study.slots import add_slots
from batchfront.study.study import Filter, Study
from batchfront.vocabulary import SlotState


class _Standing(NamedTuple):
    """How many slots each study of a search has, by batch size, and the round that comes next."""

    trials: Mapping[int, int]
    next: int


def share_out(storage: Storage, wanted: Filter) -> bool:
    """Give each search that shares out its trials, and whose rounds are all over, its next round,
    or settle it.

    What a round has depends on the studies of the search and on what they have shown alone: of two
    who do this at once the second finds it done. Returns whether any search was given one, by
    whomever.
    """
    with storage.read() as conn:
        due = select(studies.c.workload).where(unsettled(wanted), between_rounds(wanted.left_out))
        workloads = conn.execute(due.distinct().order_by(studies.c.workload)).scalars().all()
    given = [_go_on(storage, workload) for workload in workloads]
    return any(given)


def _go_on(storage: Storage, workload: str) -> bool:
    # Late: of such a search alone, by whoever has nothing else to do.
    from batchfront.frontier.allocation import Settled, foretold, next_round

    with storage.read() as conn:
        search = load_search(conn, workload)
        standing = _standing(conn, search)
    sharing = _sharing(search)
    if not sharing:
        return False
    spaces = {b: study.space for b, study in search.studies.items()}
    shown = read_evidence(storage, search, standing.next)
    decided = next_round(
        foretold(spaces, shown, max(study.finishers for study in sharing.values())),
        standing.trials,
        {b: max((s.max_trials or 0) - standing.trials[b], 0) for b, s in sharing.items()},
        together=max(study.generation for study in sharing.values()),
        until=min(study.until or 1.0 for study in sharing.values()),
    )
    with storage.write() as conn:
        lock_search(conn, workload)
        now = load_search(conn, workload)
        if now.studies != search.studies or _standing(conn, now) != standing:
            return True  # somebody has done it, or planned something else
        if isinstance(decided, Settled):
            ids = [study.id for study in sharing.values()]
            conn.execute(update(studies).where(studies.c.id.in_(ids)).values(settled=decided.why))
            return False
        for batch_size, count in decided.items():
            _add(conn, sharing[batch_size], standing.trials[batch_size], count, standing.next)
        open_round(conn, workload, search.left_out)
    return True


def _sharing(search: Search) -> dict[int, Study]:
    """The studies of a search that get a share, by batch size."""
    return {b: study for b, study in search.studies.items() if study.max_trials is not None}


def _standing(conn: Connection, search: Search) -> _Standing:
    ids = {study.id: b for b, study in search.studies.items()}
    query = select(slots.c.study_id, func.count(), func.max(slots.c.round))
    rows = conn.execute(query.where(slots.c.study_id.in_(ids)).group_by(slots.c.study_id)).all()
    trials = dict.fromkeys(search.studies, 0) | {ids[id_]: count for id_, count, _ in rows}
    return _Standing(trials, 1 + max((last for *_, last in rows if last is not None), default=-1))


def _add(conn: Connection, study: Study, first: int, count: int, number: int) -> None:
    """Append the slots of a round to one of its studies."""
    bare = [None] * count
    add_slots(conn, study.id, first, bare, state=SlotState.LATER, rounds=[number] * count)
    conn.execute(
        update(studies).where(studies.c.id == study.id).values(trials=study.trials + count)
    )
