"""Who works on what: slots claimed under a lease, progress, and endings, each written once.

Every transition is one transaction that checks the slot's fence, a number that grows with each
claim: a worker whose slots have passed to another can't write. Optuna's trial is created and ended
in the same transaction as the slot, so the two can't disagree.

A connection may break between a commit and its answer. So each operation is one that can be
repeated: what the first try did, the second finds done.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    Connection,
    and_,
    case,
    func,
    or_,
    select,
    tuple_,
    update,
)

from batchfront.errors import LeaseLost
from batchfront.ledger import workers as roster
from batchfront.ledger.claims import (
    choose_studies,
    for_another,
    give_back,
    held_by,
    sweep,
    take,
    take_from,
)
from batchfront.ledger.race_state import Held, Listener, RaceState
from batchfront.ledger.results import (
    end_trials,
    finite,
    read_curves,
    upheld,
    with_engine,
    write_looks,
    write_measurements,
)
from batchfront.outcomes import Evaluation, GoalCrossing, LearningCurve, TrialResult
from batchfront.phase_timer import Clock
from batchfront.store.bulk import update_rows
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import create_trials
from batchfront.store.retry import Tries, impatient
from batchfront.store.schema import free, leased, slots, studies, workers
from batchfront.study.generations import open_next
from batchfront.study.reopening import ENDINGS, reopen_if_raised
from batchfront.study.slots import Slot, replace_diverged
from batchfront.study.study import Filter, Study
from batchfront.workload.search_space import SearchSpace

_IDLE = {"trials": 0, "rate": 0.0}


P = ParamSpec("P")


T = TypeVar("T")


def _repeatable(
    method: Callable[Concatenate["Ledger", P], T],
) -> Callable[Concatenate["Ledger", P], T]:
    @wraps(method)
    def tried(self: "Ledger", /, *arguments: P.args, **named: P.kwargs) -> T:
        return self.tries(lambda: method(self, *arguments, **named))

    return tried


class Ledger:
    """The slots of a database, as seen by one worker.

    tries -- how often and how long an operation is tried while the database is away
    clock -- the worker's, from which the list of workers learns where its time goes
    """

    def __init__(
        self,
        storage: Storage,
        worker_id: str,
        tries: Tries = impatient,
        clock: Clock | None = None,
    ) -> None:
        self.storage, self.worker_id, self.tries = storage, worker_id, tries
        self.retries_exhausted: list[
            Slot
        ] = []  # found to have ended with their workers: nobody else knows
        self._clock = clock
        self._last: int | None = None  # the study that it was at
        self._listener = Listener(storage.now, worker_id)

    # -- the worker itself

    @_repeatable
    def register(self, host: str, pid: int, device: str) -> None:
        """Enter the worker in the list of workers."""
        with self.storage.write() as conn:
            roster.excuse_absence(conn, self.storage.now, self.worker_id)
            about = {"host": host, "pid": pid, "device": device}
            roster.enter(conn, self.storage.now, self.worker_id, **about)

    @_repeatable
    def wait(self, wanted: Filter) -> None:
        """Say that the worker has nothing to do, and which study it would take a part of."""
        with self.storage.write() as conn:
            now = self.storage.now
            joins = roster.study_to_join(conn, now, self.worker_id, wanted)
            news = {"study_id": joins, **_IDLE, **self._time()}
            roster.seen(conn, now, self.worker_id, state="idle", **news)

    @_repeatable
    def leave(self, *, in_order: bool) -> None:
        """Say that the worker has stopped, in order or by an error of its own; whatever it still
        holds is free."""
        with self.storage.write() as conn:
            now = self.storage.now
            roster.lock(conn, self.worker_id)
            if in_order:
                give_back(conn, slots.c.worker_id == self.worker_id)
            else:
                take_from(conn, now, [self.worker_id])
            news = {"study_id": None, **_IDLE, **self._time()}
            roster.seen(conn, now, self.worker_id, state="stopped", **news)

    @_repeatable
    def reap(self) -> None:
        """Free what the worker holds: said by the launcher that saw its process die."""
        with self.storage.write() as conn:
            roster.lock(conn, self.worker_id)
            take_from(conn, self.storage.now, [self.worker_id])
            dead = update(workers).where(workers.c.id == self.worker_id)
            conn.execute(dead.values(state="stopped", study_id=None, **_IDLE))

    def _time(self) -> dict[str, str]:
        if self._clock is None:
            return {}
        spent = {name: round(seconds, 3) for name, seconds in self._clock.seconds().items()}
        return {"seconds": json.dumps(spent)}

    # -- claims

    @_repeatable
    def claim(
        self, wanted: Filter, limit: Callable[[Study], int]
    ) -> tuple[Study, list[Slot]] | None:
        """As many free slots of one study as fit, held by this worker; None if none is free.

        limit -- how many trials of a study this worker can hold at once

        Studies that fewer others are busy with come first, then the one that this worker was at,
        then the smaller batch size; within a study the least advanced slots. A study with
        `one-by-one` schedule gives one slot.
        """
        with self.storage.write() as conn:
            now = self.storage.now
            # What it holds is from a claim whose answer was lost: it claims when it holds nothing.
            roster.lock(conn, self.worker_id)
            give_back(conn, slots.c.worker_id == self.worker_id)
            roster.excuse_absence(conn, now, self.worker_id)
            worn = sweep(conn, now)
            claimed = self._take(conn, wanted, limit)
        self.retries_exhausted += worn
        return claimed

    def _take(
        self, conn: Connection, wanted: Filter, limit: Callable[[Study], int]
    ) -> tuple[Study, list[Slot]] | None:
        now = self.storage.now
        spared = for_another(conn, now, self.worker_id)
        for study in choose_studies(conn, now, self.worker_id, wanted, self._last, spared):
            room = 1 if study.schedule == "one-by-one" else limit(study)
            taken = take(conn, self.worker_id, study, room, spared)
            if taken:
                self._last = study.id
                news = {"study_id": study.id, "trials": len(taken), "rate": 0.0}
                news["steps"] = min(slot.steps for slot in taken)
                roster.note(conn, now, self.worker_id, state="busy", **news)
                return study, taken
        return None

    @_repeatable
    def claim_more(self, study: Study, held: Held, limit: int) -> tuple[Study, list[Slot]] | None:
        """Up to `limit` further free slots of the study that this worker is at, the least advanced
        first, beside those in hand; and the study, which may have got a wider space meanwhile.
        None of a study that has been deleted, or has another definition or code by now."""
        with self.storage.write() as conn:
            now = self.storage.now
            # What it doesn't know that it holds is from a claim whose answer was lost.
            roster.lock(conn, self.worker_id)
            unknown = slots.c.id.not_in(held.keys())
            give_back(conn, and_(slots.c.worker_id == self.worker_id, unknown))
            row = conn.execute(select(studies).where(studies.c.id == study.id)).first()
            stored = None if row is None else Study.from_row(row)
            if stored is None or stored.identity != study.identity:
                return None
            spared = for_another(conn, now, self.worker_id)
            taken = take(conn, self.worker_id, stored, limit, spared, in_company=True)
            if taken:
                roster.note(conn, now, self.worker_id, trials=len(held) + len(taken))
        return stored, taken

    @_repeatable
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
            mine = select(slots.c.id, slots.c.trial_id).where(held_by(self.worker_id, taken))
            query = mine.order_by(slots.c.id).with_for_update()
            trial_ids = {row.id: row.trial_id for row in conn.execute(query)}
            held = [replace(s, trial_id=trial_ids[s.id]) for s in taken if s.id in trial_ids]
            if not held:
                raise LeaseLost(f"worker {self.worker_id} lost its lease before it could start")
            new = [s for s in held if s.trial_id is None]
            draws = {s.number: s.params or {} for s in new}
            origins = {s.number: {"origin": s.origin} for s in new if s.origin is not None}
            common = {"versions": dict(versions)}
            ids = create_trials(conn, study.id, space, draws, common, origins)
            trial_ids |= dict(zip((s.id for s in new), ids, strict=True))
            rows = [
                {"id": s.id, "trial_id": trial_ids[s.id], "params": json.dumps(dict(s.params))}
                for s in held
                if s.params is not None
            ]
            started_at = func.coalesce(slots.c.started_at, self.storage.now)
            said = json.dumps(dict(versions))
            update_rows(conn, slots, rows, versions=said, started_at=started_at)
        return [replace(s, trial_id=trial_ids[s.id]) for s in held]

    # -- while it runs

    def heartbeat(self, study_id: int, held: Held, rate: float = 0.0) -> RaceState:
        """Renew the lease, and hear the news.

        held -- id of each slot in hand to its fence and its steps so far
        rate -- steps a second, of all its trials together
        """
        with self.storage.write() as conn:
            now = self.storage.now
            steps = min((steps for _, steps in held.values()), default=0)
            news = {"study_id": study_id, "trials": len(held), "steps": steps, "rate": rate}
            roster.seen(conn, now, self.worker_id, state="busy", **news, **self._time())
            # A trial that a dead worker holds may be one that is behind.
            self.retries_exhausted += sweep(conn, now)
            return self._listener.hear(conn, study_id, held)

    def poll(self, study_id: int, held: Held) -> RaceState:
        """Hear the news, and leave the lease as it is: for between two renewals."""
        with self.storage.read() as conn:
            return self._listener.hear(conn, study_id, held)

    @_repeatable
    def record_evaluations(
        self, study: Study, step: int, looked: Sequence[tuple[Slot, Sequence[Evaluation]]]
    ) -> dict[int, LearningCurve]:
        """Write what trials have shown up to a full look at a step, and read what the study's
        others have that were looked at there before: curves by number of the slot."""
        with self.storage.write() as conn:
            held = held_by(self.worker_id, [slot for slot, _ in looked])
            mine = set(conn.execute(select(slots.c.id).where(held)).scalars())
            ours = [(slot.id, looks) for slot, looks in looked if slot.id in mine]
            write_looks(conn, study.metric, ours)
            curves = read_curves(conn, study, step)
        for slot, _ in looked:
            curves.pop(slot.number, None)
        return curves

    @_repeatable
    def record_crossings(self, passages: Sequence[tuple[Slot, GoalCrossing]]) -> None:
        """Write where trials passed the goal that go on nevertheless: from now on they count as
        finishers. One that did so before, and was begun again, keeps what stands there."""
        if not passages:
            return
        with self.storage.write() as conn:
            claimed = held_by(self.worker_id, [slot for slot, _ in passages])
            new = select(slots.c.id).where(claimed, slots.c.steps_to_target.is_(None))
            held = set(conn.execute(new.order_by(slots.c.id).with_for_update()).scalars())
            rows = [
                {
                    "id": slot.id,
                    "steps_to_target": passage.step,
                    "steps_lower": passage.lower,
                    "metric": finite(passage.metric),
                }
                for slot, passage in passages
                if slot.id in held
            ]
            update_rows(conn, slots, rows)

    @_repeatable
    def record_checkpoints(self, held: Sequence[tuple[Slot, int]]) -> None:
        """Checkpoints of these slots were written at these steps: they have got on, whatever
        ended before."""
        if held:
            with self.storage.write() as conn:
                mine = update(slots).where(held_by(self.worker_id, [slot for slot, _ in held]))
                conn.execute(mine.values(deaths=0, steps=_steps(held)))

    @_repeatable
    def release(self, taken: Iterable[tuple[Slot, int]], *, failed: bool = False) -> None:
        """Free slots (each with the steps that a checkpoint keeps) for whoever claims them next.

        Unless the hand-back is because of a failure, the attempt doesn't count.
        """
        given = list(taken)
        if given:
            with self.storage.write() as conn:
                mine = held_by(self.worker_id, [slot for slot, _ in given])
                values = {"steps": _steps(given)}
                if failed:
                    values |= {"attempts": slots.c.attempts, "failed_by": self.worker_id}
                    values["failed_at"] = self.storage.now
                give_back(conn, mine, **values)

    # -- endings

    @_repeatable
    def finish(self, study: Study, endings: Sequence[tuple[Slot, TrialResult]]) -> list[Slot]:
        """Write how slots ended; those that were lost to other workers are returned instead.

        That a trial had passed the goal, and went on, stands however it ended.
        With `count` "feasible", each diverged slot opens another, up to three times the budget.
        """
        with self.storage.write() as conn:
            taken = [slot for slot, _ in endings]
            passage = (slots.c.steps_to_target, slots.c.steps_lower, slots.c.metric)
            stands = (slots.c.id, *passage, slots.c.versions)
            mine = select(*stands).where(held_by(self.worker_id, taken))
            query = mine.order_by(slots.c.id).with_for_update()
            held = {row.id: row for row in conn.execute(query)}
            written = [(s, upheld(ending, held[s.id])) for s, ending in endings if s.id in held]
            if written:
                self._write(conn, study, written, {row.id: row.versions for row in held.values()})
            return self._not_mine(conn, [slot for slot in taken if slot.id not in held])

    def _write(
        self,
        conn: Connection,
        study: Study,
        written: Sequence[tuple[Slot, TrialResult]],
        versions: Mapping[int, str | None],
    ) -> None:
        columns = ("steps", "steps_to_target", "steps_lower", "outcome", "reason", "micro_batch")
        rows = [
            {
                **{name: getattr(ending, name) for name in columns},
                **asdict(ending.cost),
                "metric": finite(ending.metric),
                "id": slot.id,
                "versions": with_engine(versions[slot.id], ending.engine),
            }
            for slot, ending in written
        ]
        update_rows(conn, slots, rows, state="done", finished_at=self.storage.now)
        end_trials(conn, [(slot.trial_id, ending) for slot, ending in written])
        write_measurements(conn, study, written)
        open_next(conn, study)
        if study.count == "feasible":
            diverged = sum(ending.outcome == "diverged" for _, ending in written)
            replace_diverged(conn, study, diverged)
        if any(ending.outcome in ENDINGS for _, ending in written):
            reopen_if_raised(conn, study)

    def _not_mine(self, conn: Connection, missing: Sequence[Slot]) -> list[Slot]:
        """Those that ended under another claim, not by an earlier try of this one."""
        claims = [(slot.id, slot.fence) for slot in missing]
        query = select(slots.c.id).where(
            tuple_(slots.c.id, slots.c.fence).in_(claims),
            slots.c.worker_id == self.worker_id,
            slots.c.state == "done",
        )
        mine = set(conn.execute(query).scalars()) if missing else set()
        return [slot for slot in missing if slot.id not in mine]

    @_repeatable
    def ended(self, taken: Sequence[Slot]) -> list[Slot]:
        """Those that have ended by now, under whosever claim, or were deleted: a worker that was
        frozen may have kept what nobody needs any more."""
        if not taken:
            return []
        query = select(slots.c.id).where(
            slots.c.id.in_([slot.id for slot in taken]), slots.c.state != "done"
        )
        with self.storage.read() as conn:
            undone = set(conn.execute(query).scalars())
        return [slot for slot in taken if slot.id not in undone]

    @_repeatable
    def is_open(self, wanted: Filter) -> bool:
        """Whether some slot is not done yet, whoever holds it."""
        meant = select(slots.c.id).select_from(slots.join(studies)).where(wanted.clause()).limit(1)
        # Each in the order of an index, so that no planner reads the whole table instead.
        in_order = ((free, slots.c.study_id, slots.c.steps), (leased, slots.c.worker_id))
        some = [meant.where(state).order_by(*columns) for state, *columns in in_order]
        query = select(or_(*(one.scalar_subquery().is_not(None) for one in some)))
        with self.storage.read() as conn:
            return bool(conn.execute(query).scalar_one())


def _steps(pairs: Iterable[tuple[Slot, int]]) -> Any:
    return case({slot.id: steps for slot, steps in pairs}, value=slots.c.id)
