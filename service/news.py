"""What a worker at a study has to hear of the others; inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, not_, select

from service.claims import alone
from service.roster import Clock, should_share, waiting
from service.schema import free, leased, reached, slots, workers

Held = Mapping[int, tuple[int, int]]
"""The slots that a worker has in hand: id to its fence, and to its steps so far."""


@dataclass(frozen=True)
class News:
    """What a worker learns when it renews its lease, and in between.

    cap    -- the fewest steps to target of the study so far
    lost   -- ids of the slots that are no longer this worker's
    share  -- an idle worker waits for a part of this worker's heat
    behind -- the steps of the least advanced trial of the study that this worker could take
              instead; None: no such
    at     -- the number of these news: they come again and again until there are others
    """

    cap: int | None = None
    lost: frozenset[int] = frozenset()
    share: bool = False
    behind: int | None = None
    at: int = 0


class Listener:
    """Asks for the news of one worker: in one query, which is put together once, as it is asked
    every few seconds by each of many workers."""

    def __init__(self, now: Clock, worker_id: str) -> None:
        self._worker_id = worker_id
        study: Any = bindparam("study", type_=Integer)
        others = func.coalesce(slots.c.failed_by, "") != worker_id  # what failed here is theirs
        unheld = select(slots.c.steps).where(slots.c.study_id == study, free, not_(alone), others)
        idlers = select(func.count(workers.c.id)).where(waiting(now), workers.c.study_id == study)
        mine = select(func.count(slots.c.id)).where(slots.c.worker_id == worker_id, leased)
        self._query = select(
            fewest_steps(study).scalar_subquery().label("cap"),
            unheld.order_by(slots.c.steps).limit(1).scalar_subquery().label("behind"),
            idlers.scalar_subquery().label("idle"),
            mine.scalar_subquery().label("mine"),
        )

    def hear(self, conn: Connection, study_id: int, held: Held) -> News:
        """The news for a worker that holds some slots of a study."""
        row = conn.execute(self._query, {"study": study_id}).one()
        # A lease runs out for all slots at once: while the number is right, all are there.
        lost = self._lost(conn, held) if row.mine < len(held) else frozenset()
        share = bool(row.idle) and should_share(conn, self._worker_id, study_id, row.idle)
        return News(row.cap, lost, share, row.behind)

    def _lost(self, conn: Connection, held: Held) -> frozenset[int]:
        mine = select(slots.c.id, slots.c.fence).where(slots.c.worker_id == self._worker_id, leased)
        fences = {row.id: row.fence for row in conn.execute(mine)}
        return frozenset(id_ for id_, (fence, _) in held.items() if fences.get(id_) != fence)


def fewest_steps(study_id: Any) -> Any:
    """The query for the fewest steps to target that a trial of a study has needed."""
    return select(func.min(slots.c.steps_to_target)).where(slots.c.study_id == study_id, reached)
