"""Who runs what: slots claimed under a lease, progress, and results, each written once.

A worker has one lease, on its row of `bf_workers`, for all slots that it holds. Optuna's trial is
created and ended in the same transaction as the slot, so the two can't disagree.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, and_, case, func, not_, or_, select, update

from batchfront.errors import LeaseLost, StudyDeleted, Unreachable
from batchfront.ledger import workers as roster
from batchfront.ledger.claims import (
    ATTEMPTS,
    begun_by,
    choose_studies,
    claimed_by,
    held_by,
    is_alone,
    left_for_others,
    reap,
    reap_stale,
    reap_unlisted,
    release,
    take,
)
from batchfront.ledger.race_state import Begun, Held, RaceState, RaceStateQuery
from batchfront.ledger.results import (
    read_learning_curves,
    with_crossing,
    with_engine,
    write_evaluations,
    write_measurements,
)
from batchfront.ledger.self_description import SelfDescription
from batchfront.ledger.trials import begin_trials, end_trials
from batchfront.outcomes import Evaluation, GoalCrossing, LearningCurve, TrialResult
from batchfront.phase_timer import Clock
from batchfront.store.bulk import finite, update_rows
from batchfront.store.database import Storage
from batchfront.store.retry import Tries, impatient
from batchfront.store.schema import (
    LEASE_SECONDS,
    free,
    imported,
    later,
    leased,
    reached,
    slots,
    studies,
    workers,
)
from batchfront.study.reopening import REOPENED, reopen_if_raised
from batchfront.study.rounds import (
    between_rounds,
    is_worked_on,
    lock_search,
    open_waiting,
    unsettled,
    waited_for,
    waits_for_others,
)
from batchfront.study.slots import Slot, go_on
from batchfront.study.study import Filter, Study, read_study
from batchfront.vocabulary import Outcome, Phase, Schedule, SlotState, WorkerState
from batchfront.workload.search_space import SearchSpace

__all__ = ["ATTEMPTS", "LEASE_SECONDS", "Held", "Ledger", "RaceState", "is_alone"]

_IDLE = {"trials": 0, "rate": 0.0, "phase": None, "metric": None}

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

    Each method is one transaction: what it does happens whole or not at all. Each that writes
    about slots checks their fences first, numbers that grow with every claim: a worker whose slots
    have passed to another changes nothing of theirs. A connection may break between a commit and
    its answer, so each method is one that can be repeated: what the first try did, the second finds
    done. `tries` does that, but for `heartbeat`, `poll` and `record_progress`, which their caller
    repeats anyway.

    Rows are locked in one order, so that no two workers wait for each other: the worker's own row,
    then slots by id (those to be claimed without waiting: what another has locked is passed over),
    then Optuna's row of the study, or of all studies of its search, by id, where that is sampled in
    rounds. On SQLite a transaction that writes locks the database.

    Two threads may use a ledger, the one that trains and the one of its heartbeat. Every method
    raises Unreachable when the database is away for longer than `tries` allows, and StorageError
    when it fails for good.

    retries_exhausted -- slots that this worker has found to have ended as their workers died too
                         often: nobody else knows, so their checkpoints are this worker's to drop
    """

    def __init__(
        self,
        storage: Storage,
        worker_id: str,
        tries: Tries = impatient,
        clock: Clock | None = None,
    ) -> None:
        self.storage, self.worker_id, self.tries = storage, worker_id, tries
        self.retries_exhausted: list[Slot] = []
        self._clock = clock
        self._about: dict[str, Any] = {}  # host, pid and device, once it is registered
        self._last: int | None = None  # the study that it was at
        self._phase: Phase | None = None
        self._begun: Begun = {}  # since its last claim
        self._left_out: set[int] = (
            set()
        )  # ids of studies that it couldn't read when it claimed last
        self._race_state = RaceStateQuery(storage.now, worker_id)

    # -- the worker itself

    @_repeatable
    def register(
        self, host: str, pid: int, device: str, about: SelfDescription | None = None
    ) -> None:
        """Enter the worker in the list of workers, with a lease. It may be there already."""
        with self.storage.write() as conn:
            roster.excuse_absence(conn, self.storage.now, self.worker_id)
            said = None if about is None else about.to_json()
            self._about = {"host": host, "pid": pid, "device": device, "about": said}
            self._enter(conn)

    @_repeatable
    def describe(self, about: SelfDescription) -> None:
        """Write what the worker says of itself by now."""
        self._about |= {"about": about.to_json()}
        with self.storage.write() as conn:
            mine = update(workers).where(workers.c.id == self.worker_id)
            conn.execute(mine.values(about=self._about["about"]))

    def enter_phase(self, phase: Phase | None) -> None:
        """Say, to whoever looks, which phase the worker is in; None: it trains, or waits. Tried
        once: nothing depends on it."""
        if phase != self._phase:
            self._phase = phase
            with suppress(Unreachable), self.storage.write() as conn:
                mine = update(workers).where(workers.c.id == self.worker_id)
                conn.execute(mine.values(phase=phase))

    def _enter(self, conn: Connection) -> None:
        """Enter the worker in the list, also of a database that was put back to before it came:
        while it isn't there, nobody would see it die."""
        if self._about:
            roster.enter(conn, self.storage.now, self.worker_id, **self._about)

    def _is_listed(self, conn: Connection) -> bool:
        """Whether the worker is in the list, in which it is entered again; locks its row."""
        if roster.lock(conn, self.worker_id):
            return True
        self._enter(conn)
        return roster.lock(conn, self.worker_id)

    def _seen(self, conn: Connection, **said: Any) -> None:
        """Renew the lease, and note what the worker is at: in a list that has lost it, too."""
        said |= self._time()
        if not roster.seen(conn, self.storage.now, self.worker_id, **said):
            self._enter(conn)
            roster.note(conn, self.storage.now, self.worker_id, **said)

    @_repeatable
    def wait(self, wanted: Filter) -> None:
        """Renew the lease of a worker that has nothing to do, and say which study it would take a
        part of."""
        with self.storage.write() as conn:
            now = self.storage.now
            meant = self._readable(wanted)
            joins = roster.study_to_join(conn, now, self.worker_id, meant)
            self._seen(conn, state=WorkerState.IDLE, study_id=joins, **_IDLE)

    @_repeatable
    def leave(self, *, in_order: bool) -> None:
        """Say that the worker has stopped, and release whatever it still holds.

        in_order -- False: by an error of its own, which counts as a death of its slots
        """
        with self.storage.write() as conn:
            now = self.storage.now
            roster.lock(conn, self.worker_id)
            if in_order:
                release(conn, slots.c.worker_id == self.worker_id)
            else:
                reap(conn, now, [self.worker_id])
            said = {"study_id": None, **_IDLE, **self._time()}
            roster.seen(conn, now, self.worker_id, state=WorkerState.STOPPED, **said)

    @_repeatable
    def reap(self) -> None:
        """Release what the worker holds, without waiting for its lease to run out: the launcher,
        which saw its process die, says so. It counts as a death of each slot."""
        with self.storage.write() as conn:
            roster.lock(conn, self.worker_id)
            reap(conn, self.storage.now, [self.worker_id])
            dead = update(workers).where(workers.c.id == self.worker_id)
            conn.execute(dead.values(state=WorkerState.STOPPED, study_id=None, **_IDLE))

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
        """Claim as many free slots of one study as fit, for a worker that holds none.

        limit -- how many trials of a study this worker can hold at once

        Studies that fewer others are busy with come first, then the one that this worker was at,
        then the smaller batch size; within a study the least advanced slots. A study with
        `one-by-one` schedule gives one slot. Slots of stale workers are reaped before, and what
        this worker holds is released: it is from a claim whose answer was lost.

        Returns the study and its slots, leased; None if none is free.
        """
        with self.storage.write() as conn:
            now = self.storage.now
            if not self._is_listed(conn):
                return None
            release(conn, slots.c.worker_id == self.worker_id)
            roster.excuse_absence(conn, now, self.worker_id)
            given_up = reap_stale(conn, now) + reap_unlisted(conn, now)
            claimed = self._claim(conn, wanted, limit)
            if claimed is None and open_waiting(conn, self._readable(wanted)):
                claimed = self._claim(conn, wanted, limit)
        self._begun = {}
        if claimed is not None:
            self._phase = None
        self.retries_exhausted += given_up
        return claimed

    def _claim(
        self, conn: Connection, wanted: Filter, limit: Callable[[Study], int]
    ) -> tuple[Study, list[Slot]] | None:
        now = self.storage.now
        spared = left_for_others(conn, now, self.worker_id)
        self._left_out = set()
        asks = (wanted, self._last, spared, self._left_out)
        for study in choose_studies(conn, now, self.worker_id, *asks):
            room = 1 if study.schedule == Schedule.ONE_BY_ONE else limit(study)
            try:
                taken = take(conn, self.worker_id, study, room, spared)
            except StudyDeleted:  # it was damaged since this worker has read all of its trials
                self._last = None
                return self._claim(conn, wanted, limit)
            if taken:
                self._last = study.id
                said = {**_IDLE, "study_id": study.id, "trials": len(taken)}
                said["steps"] = min(slot.steps for slot in taken)
                roster.note(conn, now, self.worker_id, state=WorkerState.BUSY, **said)
                return study, taken
        return None

    def _readable(self, wanted: Filter) -> Filter:
        return replace(wanted, left_out=tuple(self._left_out))

    @_repeatable
    def claim_more(self, study: Study, held: Held, limit: int) -> tuple[Study, list[Slot]] | None:
        """Claim up to `limit` further free slots of the study that this worker is at, the least
        advanced first, beside those in hand. What it doesn't know that it holds is released.

        Returns the study, which may have a wider space by now, and the slots, perhaps none; None
        of a study that has been deleted, can't be read, or has another definition by now.
        """
        with self.storage.write() as conn:
            now = self.storage.now
            if not self._is_listed(conn):
                return None
            unknown = slots.c.id.not_in(held.keys())
            release(conn, and_(slots.c.worker_id == self.worker_id, unknown))
            # What it has in hand is never free, but in a database that was put back.
            spared = or_(left_for_others(conn, now, self.worker_id), slots.c.id.in_(held.keys()))
            try:
                stored = read_study(conn, study.id)
                if stored.identity != study.identity:
                    return None
                taken = take(conn, self.worker_id, stored, limit, spared, in_company=True)
            except StudyDeleted:
                return None
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
        """Give each slot, its `params` sampled, an Optuna trial where it has none yet. Locks the
        slots, then Optuna's row of the study.

        Returns the slots that are still this worker's, with their trials. Raises LeaseLost if none
        is, or if the study has been deleted through Optuna.
        """
        with self.storage.write() as conn:
            # As they were claimed: an earlier try may have given them their trials.
            mine = and_(claimed_by(self.worker_id, taken), leased)
            rows = self._lock(conn, mine, slots.c.trial_id)
            held = [replace(s, trial_id=rows[s.id].trial_id) for s in taken if s.id in rows]
            if not held:
                raise LeaseLost(f"worker {self.worker_id} lost its lease before it could start")
            started = begin_trials(conn, study, held, space, versions)
            changed = [
                {"id": s.id, "trial_id": s.trial_id, "params": json.dumps(dict(s.params))}
                for s in started
                if s.params is not None
            ]
            started_at = func.coalesce(slots.c.started_at, self.storage.now)
            said = json.dumps(dict(versions))
            update_rows(conn, slots, changed, versions=said, started_at=started_at)
        self._begun = {**self._begun, **{(s.id, s.fence): s.trial_id for s in started}}
        return started

    # -- while it runs

    def heartbeat(
        self, study_id: int, held: Held, rate: float = 0.0, metric: float | None = None
    ) -> RaceState:
        """Renew the lease, say what the worker is at, and reap stale workers.

        held   -- id of each slot in hand to its fence and its steps so far
        rate   -- steps a second, of all its trials together
        metric -- the best that one of them has shown at its last evaluation, if any has

        Returns the state of the race. To be repeated: it is tried once.
        """
        with self.storage.write() as conn:
            now = self.storage.now
            steps = min((steps for _, steps in held.values()), default=0)
            said: dict[str, Any] = {"study_id": study_id, "trials": len(held), "steps": steps}
            said |= {"rate": rate, "phase": self._phase, "metric": finite(metric)}
            self._seen(conn, state=WorkerState.BUSY, **said)
            # A trial that a dead worker holds may be one that is behind.
            self.retries_exhausted += reap_stale(conn, now)
            return self._race_state.poll(conn, study_id, held, self._begun)

    def poll(self, study_id: int, held: Held) -> RaceState:
        """Ask for the state of the race, between two heartbeats: writes and locks nothing.

        Returns it as `heartbeat` does. To be repeated: it is tried once.
        """
        with self.storage.read() as conn:
            return self._race_state.poll(conn, study_id, held, self._begun)

    def record_progress(
        self, study: Study, evaluated: Sequence[tuple[Slot, Sequence[Evaluation]]]
    ) -> None:
        """Write what trials have shown since the last time, for whoever looks: their results say
        it again. Locks the slots; of those that are no longer this worker's, nothing is written.

        To be repeated: it is tried once.
        """
        with self.storage.write() as conn:
            mine = self._lock(conn, held_by(self.worker_id, [slot for slot, _ in evaluated]))
            ours = [(slot.id, evaluations) for slot, evaluations in evaluated if slot.id in mine]
            write_evaluations(conn, study.metric, ours, over=True)

    @_repeatable
    def record_evaluations(
        self, study: Study, step: int, evaluated: Sequence[tuple[Slot, Sequence[Evaluation]]]
    ) -> dict[int, LearningCurve]:
        """Write what trials have shown up to a full evaluation at a step. Of slots that are no
        longer this worker's, nothing is written.

        Returns the learning curves of the study's other trials that have been evaluated there, by
        number of the slot.
        """
        with self.storage.write() as conn:
            held = held_by(self.worker_id, [slot for slot, _ in evaluated])
            mine = set(conn.execute(select(slots.c.id).where(held)).scalars())
            ours = [(slot.id, evaluations) for slot, evaluations in evaluated if slot.id in mine]
            write_evaluations(conn, study.metric, ours)
            curves = read_learning_curves(conn, study, step)
        for slot, _ in evaluated:
            curves.pop(slot.number, None)
        return curves

    @_repeatable
    def record_crossings(self, crossings: Sequence[tuple[Slot, GoalCrossing]]) -> None:
        """Write where trials passed the goal that go on nevertheless: from now on they count as
        finishers. Locks the slots.

        Of one that did so before, and was begun again, what stands there stays; of slots that are
        no longer this worker's, nothing is written.
        """
        if not crossings:
            return
        with self.storage.write() as conn:
            mine = held_by(self.worker_id, [slot for slot, _ in crossings])
            rows = self._lock(conn, mine, slots.c.steps_to_target)
            new = {id_ for id_, row in rows.items() if row.steps_to_target is None}
            changed = [
                {
                    "id": slot.id,
                    "steps_to_target": crossing.step,
                    "steps_lower": crossing.lower,
                    "metric": finite(crossing.metric),
                }
                for slot, crossing in crossings
                if slot.id in new
            ]
            update_rows(conn, slots, changed)

    @_repeatable
    def record_checkpoints(self, held: Sequence[tuple[Slot, int]]) -> None:
        """Write at which steps checkpoints of these slots were written: they have got on, so that
        the deaths of workers count anew. Slots that are no longer this worker's stay as they
        are."""
        if held:
            with self.storage.write() as conn:
                mine = update(slots).where(held_by(self.worker_id, [slot for slot, _ in held]))
                conn.execute(mine.values(deaths=0, steps=_steps(held)))

    @_repeatable
    def release(self, taken: Iterable[tuple[Slot, int]], *, failed: bool = False) -> None:
        """Free slots (each with the steps that a checkpoint keeps) for whoever claims them next.

        failed -- True: by an error, so the attempt counts, and for a while the slots are left for
                  other workers, if there are any

        Slots that are no longer this worker's stay as they are.
        """
        given = list(taken)
        if given:
            with self.storage.write() as conn:
                mine = claimed_by(self.worker_id, [slot for slot, _ in given])
                values = {"steps": _steps(given)}
                if failed:
                    values |= {"attempts": slots.c.attempts, "failed_by": self.worker_id}
                    values["failed_at"] = self.storage.now
                release(conn, mine, **values)

    # -- results

    @_repeatable
    def finish(self, study: Study, results: Sequence[tuple[Slot, TrialResult]]) -> list[Slot]:
        """Write how trials ended: slots, Optuna's trials and measurements. Locks the slots, then
        Optuna's row of the study.

        That a trial had passed the goal, and went on, stands however it ended. With `count`
        "feasible", each diverged slot opens another, up to three times the budget. Where a
        generation, or a round, is over, the next is free.

        Returns the slots that were lost, of which nothing is written: another worker has them, or
        the database has lost the commit with which they were begun, so that they are free again,
        or their study has been deleted through Optuna.
        """
        taken = [slot for slot, _ in results]
        try:
            with self.storage.write() as conn:
                crossing = (slots.c.steps_to_target, slots.c.steps_lower, slots.c.metric)
                mine = held_by(self.worker_id, taken)
                rows = self._lock(conn, mine, *crossing, slots.c.versions)
                written = [(s, with_crossing(r, rows[s.id])) for s, r in results if s.id in rows]
                if written:
                    versions = {id_: row.versions for id_, row in rows.items()}
                    self._write(conn, study, written, versions)
                return self._lost(conn, [slot for slot in taken if slot.id not in rows])
        except StudyDeleted:
            return taken

    def _write(
        self,
        conn: Connection,
        study: Study,
        written: Sequence[tuple[Slot, TrialResult]],
        versions: Mapping[int, str | None],
    ) -> None:
        columns = ("steps", "steps_to_target", "steps_lower", "outcome", "reason", "micro_batch")
        changed = [
            {
                **{name: getattr(result, name) for name in columns},
                **asdict(result.cost),
                "metric": finite(result.metric),
                "id": slot.id,
                "versions": with_engine(versions[slot.id], result.engine),
            }
            for slot, result in written
        ]
        if study.in_rounds:
            lock_search(conn, study.workload)
        update_rows(conn, slots, changed, state=SlotState.DONE, finished_at=self.storage.now)
        end_trials(conn, study, written, versions)
        write_measurements(conn, study, written)
        go_on(conn, study, sum(result.outcome == Outcome.DIVERGED for _, result in written))
        if any(result.outcome in REOPENED for _, result in written):
            reopen_if_raised(conn, study)

    def _lock(self, conn: Connection, condition: Any, *columns: Any) -> dict[int, Any]:
        """The rows of slots by a condition, by id, locked in this order."""
        mine = select(slots.c.id, *columns).where(condition)
        rows = conn.execute(mine.order_by(slots.c.id).with_for_update())
        return {row.id: row for row in rows}

    def _lost(self, conn: Connection, missing: Sequence[Slot]) -> list[Slot]:
        """Those that ended under another claim, not by an earlier try of this one. Any that this
        worker holds, but not as it began it, is free again."""
        if not missing:
            return []
        query = select(slots.c.id).where(begun_by(self.worker_id, missing))
        ended = set(conn.execute(query.where(slots.c.state == SlotState.DONE)).scalars())
        release(conn, claimed_by(self.worker_id, missing), steps=0)
        return [slot for slot in missing if slot.id not in ended]

    @_repeatable
    def ended(self, taken: Sequence[Slot]) -> list[Slot]:
        """Find those that have ended by now, under whosever claim, or were deleted: a worker that
        was frozen may have kept checkpoints that nobody needs any more. Writes and locks nothing.
        """
        if not taken:
            return []
        query = select(slots.c.id).where(
            slots.c.id.in_([slot.id for slot in taken]), slots.c.state != SlotState.DONE
        )
        with self.storage.read() as conn:
            undone = set(conn.execute(query).scalars())
        return [slot for slot in taken if slot.id not in undone]

    @_repeatable
    def steps_to_target(self, study: Study) -> dict[int, int]:
        """The steps of a study's trials that have passed the goal, by number. Writes and locks
        nothing."""
        query = select(slots.c.number, slots.c.steps_to_target)
        with self.storage.read() as conn:
            rows = conn.execute(query.where(slots.c.study_id == study.id, reached))
            return {row.number: int(row.steps_to_target) for row in rows}

    @_repeatable
    def is_open(self, wanted: Filter, *, patient: bool = False) -> bool:
        """Whether some slot is not done yet, whoever holds it, that a worker could do: now, or once
        others have done theirs. Writes and locks nothing.

        patient -- also where nobody is at those that it waits for
        """
        some_slot = select(slots.c.id).select_from(slots.join(studies)).limit(1)
        readable = self._readable(wanted)
        meant = some_slot.where(readable.clause(), not_(imported))
        waits = later if patient else waits_for_others()
        # Each in the order of an index, so that no planner reads the whole table instead.
        in_order = (
            (free, slots.c.study_id, slots.c.steps),
            (leased, slots.c.worker_id),
            (waits, slots.c.study_id),
        )
        some = [meant.where(state).order_by(*columns) for state, *columns in in_order]
        goes_on = or_(between_rounds(readable.left_out), is_worked_on())
        some.append(select(studies.c.id).where(unsettled(readable), goes_on).limit(1))
        query = select(or_(*(one.scalar_subquery().is_not(None) for one in some)))
        with self.storage.read() as conn:
            return bool(conn.execute(query).scalar_one())

    @_repeatable
    def waited_for(self, wanted: Filter) -> dict[str, list[int]]:
        """What `batchfront.study.rounds.waited_for` finds."""
        with self.storage.read() as conn:
            return waited_for(conn, self._readable(wanted))


def _steps(pairs: Iterable[tuple[Slot, int]]) -> Any:
    return case({slot.id: steps for slot, steps in pairs}, value=slots.c.id)
