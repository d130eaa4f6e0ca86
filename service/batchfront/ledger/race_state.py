"""The state of a race, as a worker polls it; inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, case, func, not_, select

from batchfront.ledger.claims import alone
from batchfront.ledger.workers import Clock, should_share, waiting
from batchfront.store.schema import free, leased, reached, slots, studies, workers

Held = Mapping[int, tuple[int, int]]
"""The slots that a worker has in hand: id to its fence, and to its steps so far."""


@dataclass(frozen=True)
class RaceState:
    """What a worker at a study learns of the others by its heartbeats, and by polling in between.

    cap    -- the steps in which as many trials of the study have passed the goal as are to be
              finishers; None while fewer have, or where no trial is to be capped
    passed -- how many trials of the study have passed the goal
    lost   -- ids of the slots that are no longer this worker's
    share  -- an idle worker waits for a part of this worker's heat
    behind -- the steps of the least advanced trial of the study that this worker could take
              instead; None: no such
    at     -- the number of this state: it is read again and again until there is another
    """

    cap: int | None = None
    lost: frozenset[int] = frozenset()
    share: bool = False
    behind: int | None = None
    passed: int = 0
    at: int = 0


class RaceStateQuery:
    """The state of races for one worker: one query, which is put together once, as it is asked
    every few seconds by each of many workers."""

    def __init__(self, now: Clock, worker_id: str) -> None:
        self._worker_id = worker_id
        study: Any = bindparam("study", type_=Integer)
        others = func.coalesce(slots.c.failed_by, "") != worker_id  # what failed here is theirs
        unheld = select(slots.c.steps).where(slots.c.study_id == study, free, not_(alone), others)
        idlers = select(func.count(workers.c.id)).where(waiting(now), workers.c.study_id == study)
        mine = select(func.count(slots.c.id)).where(slots.c.worker_id == worker_id, leased)
        passed = select(func.count()).where(slots.c.study_id == study, reached)
        self._query = select(
            _cap(study).scalar_subquery().label("cap"),
            passed.scalar_subquery().label("passed"),
            unheld.order_by(slots.c.steps).limit(1).scalar_subquery().label("behind"),
            idlers.scalar_subquery().label("idle"),
            mine.scalar_subquery().label("mine"),
        )

    def poll(self, conn: Connection, study_id: int, held: Held) -> RaceState:
        """Ask for the state of a study's race, of which the worker holds some slots."""
        row = conn.execute(self._query, {"study": study_id}).one()
        # A lease runs out for all slots at once: while the number is right, all are there.
        lost = self._lost(conn, held) if row.mine < len(held) else frozenset()
        share = bool(row.idle) and should_share(conn, self._worker_id, study_id, row.idle)
        return RaceState(row.cap, lost, share, row.behind, row.passed)

    def _lost(self, conn: Connection, held: Held) -> frozenset[int]:
        mine = select(slots.c.id, slots.c.fence).where(slots.c.worker_id == self._worker_id, leased)
        fences = {row.id: row.fence for row in conn.execute(mine)}
        return frozenset(id_ for id_, (fence, _) in held.items() if fences.get(id_) != fence)


_NEVER = 2**31 - 1  # so many trials no study has


def _cap(study_id: Any) -> Any:
    """The query for what `batchfront.outcomes.cap` says of a study: one search of an index."""
    skipped = case((studies.c.finishers > 0, studies.c.finishers - 1), else_=_NEVER)
    of_study = select(skipped).where(studies.c.id == study_id).scalar_subquery()
    others = func.coalesce(of_study, _NEVER)  # of a study that has been deleted
    passed = select(slots.c.steps_to_target).where(slots.c.study_id == study_id, reached)
    return passed.order_by(slots.c.steps_to_target).limit(1).offset(others)
