"""What is stuck: trials that nobody will run, or that go wrong again and again."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import case, func, select

from batchfront.doctor.finding import Finding, failure, ok, warning
from batchfront.ledger.claims import DEATHS, alone
from batchfront.phrases import first_few, several
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.vocabulary import Outcome, SlotState

_OFTEN = 0.2  # of the trials that have ended, from which failures are no accident


def examine_studies(storage: Storage, alive: int) -> Iterator[Finding]:
    """Look at the studies of a database with so many workers alive."""
    rows = _count(storage)
    open_ = sum(row.open for row in rows)
    waiting = sorted({row.workload for row in rows if row.open})
    if not rows:
        yield ok("studies", "nothing is planned")
    elif not open_:
        yield ok("studies", "all trials that are planned have ended")
    elif not alive:
        yield warning(
            "studies",
            f"{several(open_, 'trial')} of {first_few(waiting)} wait, and no worker is alive",
            command(storage, "work"),
        )
    else:
        yield ok("studies", f"{several(open_, 'trial')} are open")
    yield from _failing(storage, rows)
    yield from _deadly(storage)


def _count(storage: Storage) -> Sequence[Any]:
    """One row for each study."""
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
        .group_by(studies.c.id, studies.c.name, studies.c.workload)
        .order_by(studies.c.workload, studies.c.batch_size)
    )
    with storage.read() as conn:
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


def _deadly(storage: Storage) -> Iterator[Finding]:
    """Trials with which workers died again and again, and which are held alone."""
    query = (
        select(studies.c.name, slots.c.number, slots.c.deaths)
        .select_from(slots.join(studies))
        .where(slots.c.state != SlotState.DONE, alone, slots.c.deaths > 0)
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
