"""The sampler of rounds: one surrogate of a workload's searches at all batch sizes."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, not_, select

from batchfront.errors import StudyDeleted
from batchfront.store.bulk import update_rows
from batchfront.store.database import Storage
from batchfront.store.schema import later, slots, studies
from batchfront.study.rounds import lock_search, of_search, open_round
from batchfront.study.shown import as_raced, evidence_of, read_shown
from batchfront.study.study import Filter, Study, load_studies
from batchfront.surrogate.evidence import Evidence
from batchfront.vocabulary import Purpose, SlotState
from batchfront.workload.search_space import Metaparameters


class Search(NamedTuple):
    """The studies of a workload's search in rounds, by batch size, and the ids of those that can't
    be read, which it goes on without."""

    studies: Mapping[int, Study]
    left_out: Sequence[int]


def sample(storage: Storage, study: Study, numbers: Sequence[int]) -> list[Metaparameters]:
    """Sample the metaparameters of slots that are about to be started, with those of all others of
    their round, and write them.

    They depend on the studies of the search, on what those before the round have shown, and on the
    number of the round: so they are the same whoever samples them, and when.

    Raises StudyDeleted if the study can't be read any more.
    """
    while True:
        with storage.read() as conn:
            found = _params(conn, study, numbers)
            search = load_search(conn, study.workload)
            missing = [number for number, (_, params) in found.items() if params is None]
        there = search.studies.get(study.batch_size)
        if there is None or there.id != study.id or len(found) < len(numbers):
            raise StudyDeleted(f"study {study.name} is given up: it has been deleted or damaged")
        if not missing:
            return [json.loads(found[number][1] or "") for number in numbers]
        sample_round(storage, search, min(found[number][0] for number in missing))


def load_search(conn: Connection, workload: str) -> Search:
    """Load the search in rounds of a workload."""
    found = load_studies(conn, Filter((workload,), purposes=(Purpose.SEARCH,)))
    ids = set(conn.execute(select(studies.c.id).where(of_search(workload))).scalars())
    mine = [study for study in found.readable if study.id in ids]
    return Search({s.batch_size: s for s in mine}, [one.id for one in found.unreadable])


def sample_round(storage: Storage, search: Search, number: int) -> None:
    """Sample those slots of a round that aren't sampled yet, and free those that waited for it.

    Nothing is written where it has been sampled meanwhile, or where slots of it have come or gone:
    then it has to be done again.
    """
    from batchfront.surrogate.proposal import propose  # late: of a search alone, in rounds

    with storage.read() as conn:
        bare = _bare(conn, search, number)
    wanted = {b: len(ids) for b, ids in bare.items()}
    first = next(iter(search.studies.values()))
    spaces = {b: study.space for b, study in search.studies.items()}
    shown = read_evidence(storage, search, number)
    points = propose(spaces, shown, wanted, first.round_seed(number))
    params = [json.dumps(dict(point)) for b in bare for point in points[b]]
    ids = [id_ for own in bare.values() for id_ in own]
    sampled = [{"id": i, "params": text} for i, text in zip(ids, params, strict=True)]
    with storage.write() as conn:
        # Slots before studies, as whoever ends some does; those that wait nobody else locks.
        claimable = select(slots.c.id).where(slots.c.id.in_(ids), not_(later))
        conn.execute(claimable.order_by(slots.c.id).with_for_update())
        lock_search(conn, first.workload)
        if _is_as_it_was(conn, search) and _bare(conn, search, number) == bare:
            update_rows(conn, slots, sampled)
            open_round(conn, first.workload, search.left_out)


def read_evidence(storage: Storage, search: Search, before: int) -> list[Evidence]:
    """What the trials of a search have shown in the rounds before one, by batch size and number, as
    one worker alone would have raced them."""
    found = []
    for study in search.studies.values():
        with storage.read() as conn:
            read = read_shown(conn, study).values()
        shown = [one for one in read if one.round is not None and one.round < before]
        found += [evidence_of(study, one) for one in as_raced(study, shown)]
    return [one for one in found if one is not None]


def _params(
    conn: Connection, study: Study, numbers: Sequence[int]
) -> dict[int, tuple[int, str | None]]:
    """The round and the metaparameters, as they are stored, of slots, by number."""
    query = select(slots.c.number, func.coalesce(slots.c.round, 0), slots.c.params)
    mine = slots.c.study_id == study.id, slots.c.number.in_(numbers)
    return {number: (own, params) for number, own, params in conn.execute(query.where(*mine))}


def _is_as_it_was(conn: Connection, search: Search) -> bool:
    """Whether no study has come to a search, or gone."""
    first, *_ = (known := list(search.studies.values()))
    mine = of_search(first.workload), studies.c.id.not_in(search.left_out)
    now = conn.execute(select(studies.c.id).where(*mine)).scalars()
    return set(now) == {study.id for study in known}


def _bare(conn: Connection, search: Search, number: int) -> dict[int, list[int]]:
    """The ids of a round's slots that are to be sampled yet, in the order of their numbers, by
    batch size."""
    query = select(slots.c.id).where(
        slots.c.round == number, slots.c.params.is_(None), slots.c.state != SlotState.DONE
    )
    found = {}
    for batch_size, study in search.studies.items():
        mine = query.where(slots.c.study_id == study.id).order_by(slots.c.number)
        found[batch_size] = list(conn.execute(mine).scalars())
    return {batch_size: ids for batch_size, ids in found.items() if ids}
