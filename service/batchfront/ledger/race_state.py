"""The state of a race, as a worker polls it; inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, case, func, not_, select

from batchfront.ledger.claims import alone
from batchfront.ledger.workers import Clock, should_share, waiting
from batchfront.store.optuna_tables import is_tied
from batchfront.store.schema import free, leased, reached, slots, studies, workers

Held = Mapping[int, tuple[int, int]]
"""The slots that a worker has in hand: id to its fence, and to its steps so far."""

Begun = Mapping[tuple[int, int], int | None]
"""The slots that it has begun, by id and fence: to the ids of their trials."""


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
        held = slots.c.worker_id == worker_id, leased
        there = select(studies.c.id).where(
            studies.c.id == study, is_tied(studies.c.id, studies.c.name)
        )
        passed = select(func.count()).where(slots.c.study_id == study, reached)
        self._query = select(
            _cap(study).scalar_subquery().label("cap"),
            passed.scalar_subquery().label("passed"),
            unheld.order_by(slots.c.steps).limit(1).scalar_subquery().label("behind"),
            idlers.scalar_subquery().label("idle"),
            there.scalar_subquery().label("there"),
            *(
                select(sum_).where(*held).scalar_subquery().label(name)
                for name, sum_ in {
                    "mine": func.count(slots.c.id),
                    "fences": func.sum(slots.c.fence),
                    "trials": func.sum(slots.c.trial_id),
                }.items()
            ),
        )

    def poll(self, conn: Connection, study_id: int, held: Held, begun: Begun) -> RaceState:
        """Ask for the state of a study's race, of which the worker holds some slots."""
        row = conn.execute(self._query, {"study": study_id}).one()
        if row.there is None:  # it has been deleted, here or through Optuna
            lost = frozenset(held)
        elif _are_there(row, held, begun):
            lost = frozenset()
        else:
            lost = self._lost(conn, held, begun)
        share = bool(row.idle) and should_share(conn, self._worker_id, study_id, row.idle)
        return RaceState(row.cap, lost, share, row.behind, row.passed)

    def _lost(self, conn: Connection, held: Held, begun: Begun) -> frozenset[int]:
        mine = select(slots.c.id, slots.c.fence, slots.c.trial_id)
        mine = mine.where(slots.c.worker_id == self._worker_id, leased)
        there = {row.id: (row.fence, row.trial_id) for row in conn.execute(mine)}
        found = set()
        for id_, (fence, _) in held.items():
            now, trial_id = there.get(id_, (None, None))
            if now != fence or begun.get((id_, fence), trial_id) != trial_id:
                found.add(id_)
        return frozenset(found)


def _are_there(row: Any, held: Held, begun: Begun) -> bool:
    """Whether all slots in hand are the worker's, as it began them, by their number and sums: they
    pass to others together, or, in a database that was put back, many at once."""
    claims = [(id_, fence) for id_, (fence, _) in held.items()]
    trials = [begun.get(claim) for claim in claims]
    if row.mine < len(held) or (row.fences or 0) != sum(fence for _, fence in claims):
        return False
    return None in trials or (row.trials or 0) == sum(filter(None, trials))


_NEVER = 2**31 - 1  # so many trials no study has


def _cap(study_id: Any) -> Any:
    """The query for what `batchfront.outcomes.cap` says of a study: one search of an index."""
    skipped = case((studies.c.finishers > 0, studies.c.finishers - 1), else_=_NEVER)
    of_study = select(skipped).where(studies.c.id == study_id).scalar_subquery()
    others = func.coalesce(of_study, _NEVER)  # of a study that has been deleted
    passed = select(slots.c.steps_to_target).where(slots.c.study_id == study_id, reached)
    return passed.order_by(slots.c.steps_to_target).limit(1).offset(others)
