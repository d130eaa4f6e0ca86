"""Who works on what: slots claimed under leases, progress, and endings, each written once.

Every transition is one transaction that checks the lease's fence, a number that grows with each
claim: a worker whose lease has passed to another can't write. Optuna's trial is created and ended
in the same transaction as the slot, so the two can't disagree.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

from service.claims import LEASE_SECONDS, choose_study, give_up_worn_out, lease
from service.endings import end_trials, finite, write_measurements
from service.errors import LeaseLost
from service.optuna_tables import create_trials
from service.points import replace_diverged
from service.schema import slots, studies, workers
from service.search_space import SearchSpace
from service.slots import Filter, Slot, Study
from service.storage import Storage
from service.training.heat import Ending


@dataclass(frozen=True)
class News:
    """What a worker learns when it renews its leases.

    cap  -- the fewest steps to target of the study so far
    lost -- ids of the slots that are no longer this worker's
    idle -- workers that are waiting for something to do
    free -- slots of the study that they could take already
    """

    cap: int | None
    lost: frozenset[int]
    idle: int
    free: int


class Ledger:
    """The slots of a database, as seen by one worker."""

    def __init__(self, storage: Storage, worker_id: str) -> None:
        self.storage = storage
        self.worker_id = worker_id

    # -- the worker itself

    def register(self, host: str, pid: int, device: str) -> None:
        """Enter the worker in the list of workers."""
        now = self.storage.now
        with self.storage.write() as conn:
            conn.execute(
                insert(workers).values(
                    id=self.worker_id,
                    host=host,
                    pid=pid,
                    device=device,
                    state="idle",
                    started_at=now,
                    seen_at=now,
                )
            )

    def report(self, state: str, study_id: int | None = None) -> None:
        """Say what the worker is doing: busy, idle or stopped."""
        with self.storage.write() as conn:
            conn.execute(
                update(workers)
                .where(workers.c.id == self.worker_id)
                .values(state=state, study_id=study_id, seen_at=self.storage.now)
            )

    # -- claims

    def claim(
        self, wanted: Filter, limit: Callable[[Study], int]
    ) -> tuple[Study, list[Slot]] | None:
        """As many open slots of one study as fit, leased to this worker; None if none is open.

        limit -- how many trials of a study this worker can hold at once

        Studies that fewer workers are busy with come first, then the smaller batch size; within
        a study the least advanced slots. A study with `one-by-one` schedule gives one slot.
        """
        with self.storage.write() as conn:
            give_up_worn_out(conn, self.storage.now, wanted)
            study = choose_study(conn, self.storage.now, wanted)
            if study is None:
                return None
            room = 1 if study.schedule == "one-by-one" else limit(study)
            taken = lease(conn, self.storage.now, self.worker_id, study, room)
            conn.execute(
                update(workers)
                .where(workers.c.id == self.worker_id)
                .values(state="busy", study_id=study.id, seen_at=self.storage.now)
            )
            return (study, taken) if taken else None

    def start(
        self,
        study: Study,
        taken: Sequence[Slot],
        space: SearchSpace,
        versions: Mapping[str, Any],
    ) -> list[Slot]:
        """Give each slot, its `params` drawn, an Optuna trial where it has none yet.

        Returns the slots that are still this worker's. Raises LeaseLost if none is.
        """
        with self.storage.write() as conn:
            held = [
                s for s in taken if conn.execute(select(slots.c.id).where(self._mine(s))).first()
            ]
            if not held:
                raise LeaseLost(f"worker {self.worker_id} lost its lease before it could start")
            new = [s for s in held if s.trial_id is None]
            draws = {s.number: s.params or {} for s in new}
            ids = create_trials(conn, study.id, space, draws, {"versions": dict(versions)})
            trial_ids = dict(zip((s.id for s in new), ids, strict=True))
            started = [replace(s, trial_id=trial_ids.get(s.id, s.trial_id)) for s in held]
            for s in started:
                conn.execute(
                    update(slots)
                    .where(slots.c.id == s.id)
                    .values(
                        trial_id=s.trial_id,
                        params=json.dumps(dict(s.params or {})),
                        versions=json.dumps(dict(versions)),
                        started_at=func.coalesce(slots.c.started_at, self.storage.now),
                    )
                )
        return started

    # -- while it runs

    def renew(self, study_id: int, progress: Mapping[int, tuple[int, int]]) -> News:
        """Renew the leases of slots (id to fence and steps so far), and hear the news."""
        with self.storage.write() as conn:
            rows = [
                {"b_id": slot_id, "b_fence": fence, "b_steps": steps}
                for slot_id, (fence, steps) in progress.items()
            ]
            if rows:
                conn.execute(
                    update(slots)
                    .where(slots.c.id == bindparam("b_id"), slots.c.fence == bindparam("b_fence"))
                    .where(slots.c.state == "leased")
                    .values(
                        lease_expires=self.storage.now + LEASE_SECONDS, steps=bindparam("b_steps")
                    ),
                    rows,
                )
            conn.execute(
                update(workers)
                .where(workers.c.id == self.worker_id)
                .values(seen_at=self.storage.now)
            )
            mine = select(slots.c.id).where(
                slots.c.worker_id == self.worker_id,
                slots.c.state == "leased",
                slots.c.id.in_(list(progress)),
            )
            held = set(conn.execute(mine).scalars())
            idle = conn.execute(
                select(func.count())
                .select_from(workers)
                .where(workers.c.state == "idle")
                .where(workers.c.seen_at > self.storage.now - LEASE_SECONDS)
            ).scalar_one()
            free = conn.execute(
                select(func.count()).where(slots.c.study_id == study_id, slots.c.state == "free")
            ).scalar_one()
            return News(_cap(conn, study_id), frozenset(set(progress) - held), idle, free)

    def kept(self, held: Sequence[Slot]) -> None:
        """Checkpoints of these slots were written: they have got on, whatever ended before."""
        with self.storage.write() as conn:
            for slot in held:
                conn.execute(update(slots).where(self._mine(slot)).values(attempts=1))

    def hand_back(self, taken: Iterable[tuple[Slot, int]], *, failed: bool = False) -> None:
        """Free slots (each with the steps that a checkpoint keeps) for whoever claims them next.

        Unless the hand-back is because of a failure, the attempt doesn't count.
        """
        with self.storage.write() as conn:
            for slot, steps in taken:
                conn.execute(
                    update(slots)
                    .where(self._mine(slot))
                    .values(
                        state="free",
                        worker_id=None,
                        lease_expires=None,
                        steps=steps,
                        attempts=slots.c.attempts - (0 if failed else 1),
                    )
                )

    # -- endings

    def finish(self, study: Study, endings: Sequence[tuple[Slot, Ending]]) -> list[Slot]:
        """Write how slots ended; those that were lost to other workers are returned instead.

        With `count` "feasible", each diverged slot opens another, up to three times the budget.
        """
        lost, written = [], []
        with self.storage.write() as conn:
            for slot, ending in endings:
                result = conn.execute(
                    update(slots)
                    .where(self._mine(slot))
                    .values(
                        state="done",
                        lease_expires=None,
                        steps=ending.steps,
                        steps_to_target=ending.steps_to_target,
                        steps_lower=ending.steps_lower,
                        outcome=ending.outcome,
                        reason=ending.reason,
                        metric=finite(ending.metric),
                        **asdict(ending.spent),
                        finished_at=self.storage.now,
                    )
                )
                if result.rowcount:
                    written.append((slot, ending))
                else:
                    lost.append(slot)
            end_trials(conn, [(slot.trial_id, ending) for slot, ending in written])
            write_measurements(conn, study, written)
            if study.count == "feasible":
                diverged = sum(ending.outcome == "diverged" for _, ending in written)
                replace_diverged(conn, study, diverged)
        return lost

    def open_slots(self, wanted: Filter) -> int:
        """How many slots are not done yet, whoever holds them."""
        query = (
            select(func.count())
            .select_from(slots.join(studies))
            .where(slots.c.state != "done", wanted.clause())
        )
        with self.storage.read() as conn:
            return int(conn.execute(query).scalar_one())

    def cap(self, study_id: int) -> int | None:
        """The fewest steps to target that a trial of the study has needed so far."""
        with self.storage.read() as conn:
            return _cap(conn, study_id)

    def release_worker(self) -> None:
        """Free whatever this worker holds: said by the launcher that saw its process end."""
        with self.storage.write() as conn:
            conn.execute(
                update(slots)
                .where(slots.c.worker_id == self.worker_id, slots.c.state == "leased")
                .values(lease_expires=self.storage.now)
            )
            conn.execute(
                update(workers).where(workers.c.id == self.worker_id).values(state="stopped")
            )

    def _mine(self, slot: Slot) -> ColumnElement[bool]:
        return and_(
            slots.c.id == slot.id,
            slots.c.fence == slot.fence,
            slots.c.worker_id == self.worker_id,
            slots.c.state == "leased",
        )


def _cap(conn: Connection, study_id: int) -> int | None:
    query = select(func.min(slots.c.steps_to_target)).where(slots.c.study_id == study_id)
    found: int | None = conn.execute(query).scalar_one()
    return found
