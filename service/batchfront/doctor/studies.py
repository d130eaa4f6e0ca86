"""What is stuck: studies that can't be read, trials that nobody will run or whose code isn't here,
and those that go wrong again and again."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, case, func, select

from batchfront.doctor.finding import Finding, failure, ok, warning
from batchfront.errors import BatchfrontError, IdentityError, UntrustedCode
from batchfront.ledger.claims import DEATHS, alone
from batchfront.phrases import first_few, several
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.study.code import spec_here
from batchfront.study.study import Filter, Study, Unreadable, damaged_curves, load_studies
from batchfront.vocabulary import Outcome, SlotState
from batchfront.workload.catalog import NOWHERE
from batchfront.workload.trust import Trust

_OFTEN = 0.2  # of the trials that have ended, from which failures are no accident

_NAMED = 10  # studies that can't be read, of which each has a line of its own


def examine_studies(storage: Storage, alive: int, trust: Trust) -> Iterator[Finding]:
    """Look at the studies of a database with so many workers alive.

    trust -- the code that workers here would be told to trust
    """
    with storage.read() as conn:
        there = load_studies(conn, Filter())
        wanted = Filter(left_out=tuple(one.id for one in there.unreadable if not one.is_orphan))
        damaged = damaged_curves(conn, wanted)
        rows = _count(conn, wanted)
    yield from _unreadable(storage, [*there.unreadable, *damaged])
    if there.unreadable and not rows:
        return
    open_ = sum(row.open for row in rows)
    waiting = {row.id for row in rows if row.open}
    open_studies = [study for study in there.readable if study.id in waiting]
    cannot = list(_not_here(open_studies, trust))
    left = {study.id for those, _ in cannot for study in those}
    if not rows:
        yield ok("studies", "nothing is planned")
    elif not open_:
        yield ok("studies", "all trials that are planned have ended")
    elif not alive:
        yield warning(
            "studies",
            f"{several(open_, 'trial')} of {_named(open_studies)} wait, and no worker is alive",
            command(storage, "work", *_told(trust)) if left != waiting else None,
        )
    else:
        yield ok("studies", f"{several(open_, 'trial')} are open")
    for those, why in cannot[:_NAMED]:
        yield _elsewhere(storage, those, why, alive, trust)
    if len(cannot) > _NAMED:
        yield (ok if alive else warning)("code", f"{len(cannot) - _NAMED:,} more are not here")
    yield from _failing(storage, rows)
    yield from _deadly(storage, wanted)


def _unreadable(storage: Storage, lost: Sequence[Unreadable]) -> Iterator[Finding]:
    """Studies that are left out everywhere, each with the command that removes it."""
    for one in lost[:_NAMED]:
        yield warning("unreadable study", one.says, one.removal(storage.url))
    if len(lost) > _NAMED:
        yield warning("unreadable study", f"{len(lost) - _NAMED:,} more can't be read")


def _not_here(
    there: Sequence[Study], trust: Trust
) -> Iterator[tuple[list[Study], BatchfrontError]]:
    """Studies that a worker on this machine would leave to others, as far as that can be told
    without running anything of them: those of the same code together, and why."""
    of_code: dict[Any, list[Study]] = {}
    for study in there:
        of_code.setdefault((study.spec, str(study.checksums)), []).append(study)
    for those in of_code.values():
        why = _refusal(those[0], trust)
        if why is not None:
            yield those, why


def _refusal(study: Study, trust: Trust) -> BatchfrontError | None:
    if not study.spec:
        return BatchfrontError(f"{study.workload} was imported, and its code did not come with it")
    if study.spec.endswith(NOWHERE):
        return BatchfrontError(
            f"{study.workload} was planned from Python, which asks for its trials: no worker can"
        )
    try:
        spec_here(study, trust)
    except BatchfrontError as error:
        return error
    return None


def _elsewhere(
    storage: Storage, those: Sequence[Study], why: BatchfrontError, alive: int, trust: Trust
) -> Finding:
    """Workloads that can't be run here: no fault while others are there to run them."""
    others = [study for study in those if study.workload != those[0].workload]
    says = f"{why}; likewise {_named(others)}" if others else str(why)
    if alive:
        return ok("code", f"left to other machines: {says}")
    if isinstance(why, UntrustedCode) and why.place is not None:
        allow = command(storage, "work", *_told(trust), "--code", why.place)
        return warning("code", says, allow)
    if isinstance(why, IdentityError) and why.planned:
        says = f"{says}; bring the code here to that version, or accept it"
        return warning("code", says, command(storage, "plan", *why.planned))
    return warning("code", says)


def _named(those: Iterable[Study]) -> str:
    return first_few(sorted({study.workload for study in those}))


def _told(trust: Trust) -> list[str]:
    """The options that say as much."""
    return [word for place in trust.places for word in ("--code", str(place))]


def _count(conn: Connection, wanted: Filter) -> Sequence[Any]:
    """One row for each study that is meant, and can be read."""
    done = slots.c.state == SlotState.DONE
    query = (
        select(
            studies.c.id,
            studies.c.name,
            studies.c.workload,
            func.sum(case((done, 0), else_=1)).label("open"),
            func.sum(case((done, 1), else_=0)).label("done"),
            func.sum(case((slots.c.outcome == Outcome.FAILED, 1), else_=0)).label("failed"),
        )
        .select_from(studies.join(slots))
        .where(wanted.clause())
        .group_by(studies.c.id, studies.c.name, studies.c.workload)
        .order_by(studies.c.workload, studies.c.batch_size)
    )
    return conn.execute(query).all()


def _failing(storage: Storage, rows: Iterable[Any]) -> Iterator[Finding]:
    """Workloads of which many trials failed, with the last one's reason."""
    for workload, of_it in groupby(rows, lambda row: row.workload):
        mine = list(of_it)
        failed, done = sum(row.failed for row in mine), sum(row.done for row in mine)
        if not done or failed < _OFTEN * done:
            continue
        last = (
            select(slots.c.reason)
            .where(
                slots.c.study_id.in_([row.id for row in mine]), slots.c.outcome == Outcome.FAILED
            )
            .order_by(slots.c.finished_at.desc())
            .limit(1)
        )
        with storage.read() as conn:
            reason = (conn.execute(last).scalar() or "").split("\n")[0]
        says = f"{failed:,} of {workload}'s {done:,} ended trials failed, the last: {reason}"
        yield (failure if failed == done else warning)(
            "failed trials", says, command(storage, "status", workload)
        )


def _deadly(storage: Storage, wanted: Filter) -> Iterator[Finding]:
    """Trials with which workers died again and again, and which are held alone."""
    query = (
        select(studies.c.name, slots.c.number, slots.c.deaths)
        .select_from(slots.join(studies))
        .where(slots.c.state != SlotState.DONE, alone, slots.c.deaths > 0, wanted.clause())
        .order_by(slots.c.deaths.desc(), slots.c.id)
        .limit(4)
    )
    with storage.read() as conn:
        for row in conn.execute(query):
            yield warning(
                "deadly trials",
                f"{row.name} trial {row.number} has ended {several(row.deaths, 'worker')}, and is "
                f"held alone; after {DEATHS} it counts as failed",
            )
