"""How far the studies of a database are, who is working on them, and what went wrong lately."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from sqlalchemy import URL, ColumnElement, and_, case, func, not_, select

from batchfront.ledger.workers import busy, present
from batchfront.outcomes import cap
from batchfront.store.commands import command
from batchfront.store.database import now
from batchfront.store.schema import leased, reached, slots, studies, workers
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter, Study, Unreadable, load_studies, warn_of
from batchfront.vocabulary import SEARCHES, Outcome, Purpose, SlotState

RECENT_FAILURES = 5

_SHARE = 0.05  # of a core that those who only look may keep busy, here and at the server together

_FURTHER = 1.25  # than it has come, a race may go that nobody has won


@dataclass(frozen=True)
class StudyStatus:
    """One study.

    total, done, running -- slots; the rest are free or waiting
    outcomes -- how the done ones ended
    best     -- the fewest steps to target so far
    lead     -- how far the most advanced open slot is that has not passed the goal, in steps
    behind   -- mean steps of these slots
    steps    -- trained by all its slots together
    cost     -- seconds a step has taken, evaluations included; None before any trial has ended
    workers  -- busy with it
    rate     -- steps a second, of all its workers together
    cap      -- the steps at which its open slots end, once as many have passed the goal as are to
    beyond   -- open slots that have passed the goal and go on, and `left`, the steps that they
                have left to their budget
    """

    name: str
    workload: str
    batch_size: int
    total: int
    done: int
    running: int
    outcomes: Mapping[str, int]
    best: int | None
    lead: int
    behind: float
    steps: int
    cost: float | None
    workers: int = 0
    rate: float = 0.0
    cap: int | None = None
    beyond: int = 0
    left: int = 0

    @property
    def open(self) -> int:
        """Slots that are not done."""
        return self.total - self.done


@dataclass(frozen=True)
class WorkerStatus:
    """One worker that has not stopped; `silent` is the seconds since it was last heard of."""

    id: str
    host: str
    pid: int
    device: str
    state: str
    study: str | None
    silent: float


@dataclass(frozen=True)
class Failure:
    """A trial that failed, with the first line of its reason.

    shows_log -- the command that prints all of what a program has printed; None of others
    """

    study: str
    trial: int
    reason: str
    shows_log: str | None = None


@dataclass(frozen=True)
class Status:
    """A database at one moment.

    at       -- seconds since 1970, by the database's clock
    left_out -- studies that can't be read
    """

    at: float
    studies: tuple[StudyStatus, ...]
    workers: tuple[WorkerStatus, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[Unreadable, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every slot is done."""
        return all(study.done == study.total for study in self.studies)

    def seconds_left(self, study: StudyStatus) -> float | None:
        """Estimate how long one worker still needs for a study, in seconds.

        From where its trials are capped; or, before that is known, from the best so far; or from
        the nearest batch size that has one, as if steps halve when the batch doubles. Trials that
        will go on past the goal count from when they have passed it. Returns None if nothing tells
        yet.
        """
        if not study.open:
            return 0.0
        steps, cost = self._expected_steps(study), self._cost(study)
        if steps is None or cost is None:
            return None
        return ((study.open - study.beyond) * max(steps - study.behind, 0) + study.left) * cost

    @property
    def all_seconds_left(self) -> float | None:
        """How long the workers there are still need, about, in seconds. None if nothing tells
        yet."""
        lefts = [self.seconds_left(study) for study in self.studies]
        known = [left for left in lefts if left is not None]
        if not self.workers or len(known) < len(lefts):
            return None
        return sum(known) / len(self.workers)

    def _expected_steps(self, study: StudyStatus) -> float | None:
        if study.cap is not None:
            return float(study.cap)
        if study.best is not None:
            return _FURTHER * max(study.best, study.lead)
        near = self._nearest(study, [s for s in self.studies if s.best is not None])
        if near is None or near.best is None:
            return None
        guess = (near.cap or near.best) * max(near.batch_size / study.batch_size, 1.0)
        return max(guess, _FURTHER * study.lead)

    def _cost(self, study: StudyStatus) -> float | None:
        if study.cost is not None:
            return study.cost
        near = self._nearest(study, [s for s in self.studies if s.cost is not None])
        return near.cost if near else None

    @staticmethod
    def _nearest(study: StudyStatus, among: Sequence[StudyStatus]) -> StudyStatus | None:
        mine = [s for s in among if s.workload == study.workload]
        return min(mine, key=lambda s: abs(math.log(s.batch_size / study.batch_size)), default=None)


def pause_after(seconds: float, least: float) -> float:
    """Return how long to wait before looking again, in seconds, where the last look took
    `seconds`: a large database is not to be kept busy by those who only look."""
    return max(least, seconds * (1 / _SHARE - 1))


def load_status(source: Source, wanted: Filter, last: Status | None = None) -> Status:
    """The state of the studies that are meant and can be read, in seven queries.

    last -- the status before: what can't be read is found out once, as that takes reading each
            trial, which is too much for whoever looks again and again
    """
    with snapshot(source) as conn:
        clock, url = now(conn.engine), conn.engine.url
        left_out = last.left_out if last else load_studies(conn, wanted).unreadable
        warn_of(url, left_out)
        wanted = replace(wanted, left_out=tuple(one.id for one in left_out))
        at = float(conn.execute(select(clock)).scalar_one())
        rows = conn.execute(_by_study(wanted)).all()
        ended = conn.execute(_by_outcome(wanted)).all()
        caps = _caps(conn.execute(_passed(wanted)))
        budgets = {
            row.id: json.loads(row.identity)["step_budget"]
            for row in conn.execute(_with_continuing(wanted))
        }
        speeds = {row.study_id: row for row in conn.execute(_speeds(clock))}
        at_work = conn.execute(
            select(workers, studies.c.name.label("study"))
            .select_from(workers.outerjoin(studies, workers.c.study_id == studies.c.id))
            .where(present)
            .order_by(workers.c.started_at)
        ).all()
        failed = conn.execute(_failures(wanted)).all()
    outcomes: dict[int, dict[str, int]] = {}
    for row in ended:
        outcomes.setdefault(row.study_id, {})[row.outcome] = row.number
    return Status(
        at,
        tuple(
            replace(
                _study(row, outcomes.get(row.id, {}), speeds.get(row.id)),
                cap=caps.get(row.id),
                left=row.beyond * budgets.get(row.id, 0) - row.beyond_steps,
            )
            for row in rows
        ),
        tuple(
            # Ahead of the clock, which was set back since, it is as silent as it is behind.
            WorkerStatus(w.id, w.host, w.pid, w.device, w.state, w.study, abs(at - w.seen_at))
            for w in at_work
        ),
        tuple(_failure(row, url) for row in failed),
        left_out,
    )


def _by_study(wanted: Filter) -> Any:
    done = slots.c.state == SlotState.DONE
    racing = and_(not_(done), not_(reached))
    beyond = and_(not_(done), reached)
    # A worker publishes one number for its whole heat, which advances together.
    steps = case(
        (and_(leased, workers.c.steps > slots.c.steps), workers.c.steps), else_=slots.c.steps
    )
    seconds = slots.c.training_seconds + slots.c.evaluation_seconds
    searching = studies.c.purpose != Purpose.POINTS  # of seeds measured elsewhere none is the best
    return (
        select(
            studies.c.id,
            studies.c.name,
            studies.c.workload,
            studies.c.batch_size,
            func.count().label("total"),
            func.sum(case((done, 1), else_=0)).label("done"),
            func.sum(case((leased, 1), else_=0)).label("running"),
            func.min(case((searching, slots.c.steps_to_target))).label("best"),
            func.max(case((racing, steps), else_=0)).label("lead"),
            func.avg(case((racing, steps))).label("behind"),
            func.sum(case((beyond, 1), else_=0)).label("beyond"),
            func.sum(case((beyond, steps), else_=0)).label("beyond_steps"),
            func.sum(steps).label("steps"),
            func.sum(case((seconds.is_not(None), slots.c.steps), else_=0)).label("timed_steps"),
            func.sum(seconds).label("seconds"),
        )
        .select_from(studies.join(slots).outerjoin(workers, workers.c.id == slots.c.worker_id))
        .where(wanted.clause())
        .group_by(studies.c.id, studies.c.name, studies.c.workload, studies.c.batch_size)
        .order_by(studies.c.workload, studies.c.batch_size, studies.c.id)
    )


def _by_outcome(wanted: Filter) -> Any:
    return (
        select(slots.c.study_id, slots.c.outcome, func.count().label("number"))
        .select_from(slots.join(studies))
        .where(slots.c.outcome.is_not(None), wanted.clause())
        .group_by(slots.c.study_id, slots.c.outcome)
    )


def _passed(wanted: Filter) -> Any:
    passed = select(slots.c.study_id, studies.c.finishers, slots.c.steps_to_target)
    racing = passed.select_from(slots.join(studies)).where(studies.c.finishers > 0)
    return racing.where(wanted.clause(), reached).order_by(slots.c.study_id)


def _caps(passed: Iterable[Any]) -> dict[int, int | None]:
    """The caps of races, by study, from the trials that have passed the goal."""
    return {
        study_id: cap([row.steps_to_target for row in rows], finishers)
        for (study_id, finishers), rows in groupby(passed, lambda row: (row[0], row[1]))
    }


def _with_continuing(wanted: Filter) -> Any:
    mine = select(studies.c.id, studies.c.identity)
    return mine.where(studies.c.continuing > 0, wanted.clause())


def _speeds(now: ColumnElement[float]) -> Any:
    return (
        select(
            workers.c.study_id,
            func.count().label("workers"),
            func.sum(workers.c.rate).label("rate"),
        )
        .where(busy(now))
        .group_by(workers.c.study_id)
    )


def _failures(wanted: Filter) -> Any:
    return (
        select(studies, slots.c.number, slots.c.reason)
        .select_from(slots.join(studies))
        .where(slots.c.outcome == Outcome.FAILED, wanted.clause())
        .order_by(slots.c.finished_at.desc())
        .limit(RECENT_FAILURES)
    )


def _failure(row: Any, url: URL) -> Failure:
    shows_log, study = None, Study.from_row(row)
    if study.kind == "program" and study.purpose in SEARCHES:
        which = ("--batch-size", str(study.batch_size), "--trial", str(row.number))
        shows_log = command(url, "logs", study.workload, *which)
    return Failure(study.name, row.number, (row.reason or "").split("\n")[0], shows_log)


def _study(row: Any, outcomes: Mapping[str, int], speed: Any) -> StudyStatus:
    return StudyStatus(
        row.name,
        row.workload,
        row.batch_size,
        row.total,
        row.done,
        row.running,
        outcomes,
        row.best,
        row.lead or 0,
        float(row.behind or 0),
        row.steps or 0,
        row.seconds / row.timed_steps if row.timed_steps else None,
        speed.workers if speed else 0,
        speed.rate if speed else 0.0,
        beyond=row.beyond or 0,
    )
