"""How far the studies of a database are, who is working on them, and what went wrong lately."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, and_, case, func, not_, select

from batchfront.displayed import Displayed
from batchfront.errors import UsageError
from batchfront.ledger.overview import status_tables
from batchfront.ledger.workers import busy, present
from batchfront.outcomes import cap
from batchfront.phrases import listed, several
from batchfront.store.commands import command
from batchfront.store.database import now, shown
from batchfront.store.schema import leased, reached, slots, studies, workers
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.infeasible import Ended, are_given_up, nothing_trains
from batchfront.study.study import Filter, Study, Unreadable, load_studies, warn_of
from batchfront.table import Table
from batchfront.vocabulary import SEARCHES, Outcome, Phase, Purpose, SlotState
from batchfront.workload.metric_fields import Better

RECENT_FAILURES = 5

_ALL = Filter()

_SHARE = 0.05  # of a core that those who only look may keep busy, here and at the server together


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
    shared   -- whether its search shares out its trials, so that it may get more: at most so many
                `further` ones
    settled  -- why such a search gets no further one; None while it may
    stopped_by -- the option that stopped the last run before all was done
    beyond   -- open slots that have passed the goal and go on, and `left`, the steps that they
                have left to their budget
    metric, goal, better -- what its trials race to: the metric, the value to pass, and which are
                better
    now      -- the best value of it that a trial in hand has shown at its last evaluation
    budget   -- the steps that a trial takes at most
    finishers, passed -- how many trials are to pass the goal, and have
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
    shared: bool = False
    settled: str | None = None
    stopped_by: str | None = None
    metric: str = ""
    goal: float | None = None
    better: Better = "lower"
    now: float | None = None
    budget: int | None = None
    finishers: int = 1
    passed: int = 0
    further: int = 0

    @property
    def finished(self) -> bool:
        """Whether every slot is done, and no further one may come."""
        return not self.open and (not self.shared or self.settled is not None)

    @property
    def open(self) -> int:
        """Slots that are not done."""
        return self.total - self.done


@dataclass(frozen=True)
class WorkerStatus:
    """One worker that has not stopped.

    silent -- seconds since it was last heard of
    phase  -- what it does that isn't training; None where it trains or waits
    """

    id: str
    host: str
    pid: int
    device: str
    state: str
    study: str | None
    silent: float
    phase: Phase | None = None


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
class Status(Displayed):
    """A database at one moment.

    at       -- seconds since 1970, by the database's clock
    left_out -- studies that can't be read
    nothing_trains -- sentences: of which searches all trials have diverged or stalled so far
    """

    at: float
    studies: tuple[StudyStatus, ...]
    workers: tuple[WorkerStatus, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[Unreadable, ...] = ()
    nothing_trains: tuple[str, ...] = ()

    def __repr__(self) -> str:
        done, total = (sum(getattr(study, n) for study in self.studies) for n in ("done", "total"))
        studies = several(len(self.studies), "batch size")
        return f"<Status of {studies}: {done:,} of {total:,} trials done>"

    def as_tables(self) -> Sequence[Table]:
        return status_tables(self)

    @property
    def finished(self) -> bool:
        """Whether every slot is done, and no further one may come."""
        return all(study.finished for study in self.studies)

    @property
    def stopped(self) -> str | None:
        """What stopped the last run before all was done, and what it left undone, in a sentence;
        None where nothing did, or others are at work on it."""
        by = sorted({study.stopped_by for study in self.studies if study.stopped_by})
        if not by or self.finished or any(study.workers for study in self.studies):
            return None
        return f"The last run was stopped by {listed(by)}: {self.undone}."

    @property
    def shared_out(self) -> list[str]:
        """How each search stands that shares out its trials: a sentence."""
        searches: dict[str, list[StudyStatus]] = {}
        for study in self.studies:
            if study.shared:
                searches.setdefault(study.workload, []).append(study)
        return [_standing(workload, mine) for workload, mine in searches.items()]

    @property
    def undone(self) -> str:
        """How many trials ran, and which batch sizes have fewer than they are to have: "212 of 320
        trials ran; batch sizes 128 and 256 have fewer". Empty where all is done."""
        if self.finished:
            return ""
        done, total = (sum(getattr(study, n) for study in self.studies) for n in ("done", "total"))
        if any(study.shared and not study.settled for study in self.studies):
            return f"{done:,} trials ran, and the answer isn't as sure yet as was asked"
        fewer = [f"{study.batch_size:,}" for study in self.studies if study.open]
        if len(fewer) == 1:
            which = f"batch size {fewer[0]} has"
        else:
            which = f"batch sizes {listed(fewer)} have"
        if len(fewer) == len(self.studies) > 1:
            which = "all batch sizes have"
        return f"{done:,} of {total:,} trials ran; {which} fewer"


def _standing(workload: str, search: Sequence[StudyStatus]) -> str:
    why = next((study.settled for study in search if study.settled), None)
    trials = sum(study.done for study in search)
    if why is None:
        return (
            f"{workload} shares out its trials between its batch sizes, a round at a time: "
            f"{trials:,} have ended so far."
        )
    return f"{workload} is settled after {trials:,} trials: {why}."


def pause_after(seconds: float, least: float) -> float:
    """Return how long to wait before looking again, in seconds, where the last look took
    `seconds`: a large database is not to be kept busy by those who only look."""
    return max(least, seconds * (1 / _SHARE - 1))


def load_status(source: Source, wanted: Filter | str = _ALL, last: Status | None = None) -> Status:
    """The state of the studies that are meant and can be read, in seven queries, or eight where
    nothing trains.

    wanted -- by default all; a text is the name of a workload
    last   -- the status before: what can't be read is found out once, as that takes reading each
              trial, which is too much for whoever looks again and again

    Raises UsageError where a workload that is named has no studies.
    """
    named = wanted if isinstance(wanted, str) else None
    wanted = Filter((wanted,)) if isinstance(wanted, str) else wanted
    with snapshot(source) as conn:
        clock, url = now(conn.engine), conn.engine.url
        left_out = last.left_out if last else load_studies(conn, wanted).unreadable
        warn_of(url, left_out)
        wanted = replace(wanted, left_out=tuple(one.id for one in left_out))
        at = float(conn.execute(select(clock)).scalar_one())
        rows = conn.execute(_by_study(wanted)).all()
        ended = conn.execute(_by_outcome(wanted)).all()
        passed = conn.execute(_passed(wanted)).all()
        caps, finished = _caps(passed), Counter(row.study_id for row in passed)
        defined = select(studies.c.id, studies.c.finishers, studies.c.identity)
        aims = {
            row.id: (row.finishers, _aim(row.identity))
            for row in conn.execute(defined.where(wanted.clause()))
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
        if named is not None and not rows:
            raise UsageError(f"no studies of {named!r} in {shown(url)}")
        lost = _lost(conn, outcomes, {row.id: row.total for row in rows})
    return Status(
        at,
        tuple(
            replace(
                _study(row, outcomes.get(row.id, {}), speeds.get(row.id)),
                cap=caps.get(row.id),
                left=row.beyond * (aims[row.id][1].budget or 0) - row.beyond_steps,
                now=_best_shown(row.id, aims[row.id][1].better, at_work),
                finishers=aims[row.id][0],
                passed=finished[row.id],
                **asdict(aims[row.id][1]),
            )
            for row in rows
        ),
        tuple(
            # Ahead of the clock, which was set back since, it is as silent as it is behind.
            WorkerStatus(
                w.id,
                w.host,
                w.pid,
                w.device,
                w.state,
                w.study,
                abs(at - w.seen_at),
                None if w.phase is None else Phase(w.phase),
            )
            for w in at_work
        ),
        tuple(_failure(row, url) for row in failed),
        left_out,
        tuple(nothing_trains(lost)),
    )


def _lost(
    conn: Connection, outcomes: Mapping[int, Mapping[str, int]], totals: Mapping[int, int]
) -> list[Ended]:
    """The studies of which all trials so far were given up, if there are any."""
    ids = [study_id for study_id, ended in outcomes.items() if are_given_up(ended)]
    if not ids:
        return []
    query = select(studies).where(studies.c.id.in_(ids)).order_by(studies.c.batch_size)
    found = map(Study.from_row, conn.execute(query.order_by(studies.c.id)))
    return [Ended(study, outcomes[study.id], totals[study.id]) for study in found]


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
    own = (
        studies.c.id,
        studies.c.name,
        studies.c.workload,
        studies.c.batch_size,
        studies.c.max_trials,
        studies.c.settled,
        studies.c.stopped_by,
    )
    return (
        select(
            *own,
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
        .group_by(*own)
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


@dataclass(frozen=True)
class _Aim:
    """What a study's identity says that its trials race to, and in how many steps at most."""

    goal: float
    better: Better
    metric: str
    budget: int | None


@lru_cache(maxsize=1000)
def _aim(identity: str) -> _Aim:
    said = json.loads(identity)
    goal = said["goal"]
    return _Aim(goal["value"], goal["better"], goal["metric"], said.get("step_budget"))


def _best_shown(study_id: int, better: Better, workers: Iterable[Any]) -> float | None:
    """The best that a study's workers have told of their trials' last evaluations."""
    shown = [w.metric for w in workers if w.study_id == study_id and w.metric is not None]
    return (min if better == "lower" else max)(shown, default=None)


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
        shared=row.max_trials is not None,
        further=max((row.max_trials or 0) - row.total, 0) if row.settled is None else 0,
        settled=row.settled,
        stopped_by=row.stopped_by,
    )
