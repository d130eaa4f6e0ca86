"""Whether workers are there, agree with each other, and share what they have to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select

from batchfront.doctor.database import clock_finding
from batchfront.doctor.finding import Finding, Level, failure, ok, warning
from batchfront.extras import installed
from batchfront.ledger.self_description import SelfDescription
from batchfront.ledger.workers import has_lease, present
from batchfront.phrases import first_few, several
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import leased, slots, workers


@dataclass(frozen=True, eq=False)
class ListedWorker:
    """A worker that hasn't stopped.

    silent -- seconds since it was heard of
    alive  -- whether its lease goes on
    ahead  -- seconds that its machine's clock is ahead of the database's
    holds  -- trials
    """

    id: str
    host: str
    silent: float
    alive: bool
    ahead: float | None
    holds: int
    about: SelfDescription | None

    def __str__(self) -> str:
        return f"{self.id[:8]} on {self.host}"


def load_workers(storage: Storage) -> list[ListedWorker]:
    """The workers that hold trials, or haven't stopped and were not found to be lost."""
    held = (
        select(slots.c.worker_id, func.count().label("holds"))
        .where(leased)
        .group_by(slots.c.worker_id)
        .subquery()
    )
    query = (
        select(
            workers,
            func.coalesce(held.c.holds, 0).label("holds"),
            func.abs(storage.now - workers.c.seen_at).label("silent"),
            and_(present, has_lease(storage.now)).label("alive"),
        )
        .select_from(workers.outerjoin(held, held.c.worker_id == workers.c.id))
        .where(present | held.c.holds.is_not(None))
        .order_by(workers.c.started_at, workers.c.id)
    )
    with storage.read() as conn:
        return [
            ListedWorker(
                row.id,
                row.host,
                float(row.silent),
                bool(row.alive),
                None if row.clock is None else row.clock - row.seen_at,
                row.holds,
                SelfDescription.from_json(row.about),
            )
            for row in conn.execute(query)
        ]


def examine_workers(storage: Storage, there: Sequence[ListedWorker]) -> Iterator[Finding]:
    """Look at the workers of a database, as `load_workers` found them."""
    alive = [worker for worker in there if worker.alive]
    if alive:
        hosts = len({worker.host for worker in alive})
        last = max(worker.silent for worker in alive)
        yield ok(
            "workers",
            f"{several(len(alive), 'worker')} on {several(hosts, 'machine')}, "
            f"heard of within {last:.0f} s",
        )
        yield from _clocks(alive)
        yield from _versions(alive)
        yield from _checkpoints(alive)
        yield from _left(alive)
    for worker in there:
        if not worker.alive:
            yield _silent(storage, worker, last=not alive)


def _silent(storage: Storage, worker: ListedWorker, *, last: bool) -> Finding:
    said = f"{worker} hasn't been heard of for {worker.silent:,.0f} s and holds"
    if not worker.holds:
        return ok("workers", f"{said} nothing")
    return warning(
        "workers",
        f"{said} {several(worker.holds, 'trial')}, which the next worker takes over",
        command(storage, "work") if last else None,
    )


def _clocks(alive: Sequence[ListedWorker]) -> Iterator[Finding]:
    worst: dict[str, float] = {}
    for worker in alive:
        if worker.ahead is not None:
            worst[worker.host] = max(worst.get(worker.host, 0.0), worker.ahead, key=abs)
    for host, ahead in worst.items():
        found = clock_finding(f"the clock of {host}", ahead)
        if found.level is not Level.OK:
            yield found


def _versions(alive: Sequence[ListedWorker]) -> Iterator[Finding]:
    """Where workers differ, or this environment from theirs."""
    said = [worker.about for worker in alive if worker.about is not None]
    for package in sorted({package for about in said for package in about.versions}):
        found = sorted({about.versions.get(package, "none") for about in said})
        here = installed(package)
        if len(found) > 1:
            yield warning("versions", f"workers run {package} {' and '.join(found)}: install one")
        elif package == "batchfront" and here not in (None, *found):
            yield warning("versions", f"workers run batchfront {found[0]}, and this is {here}")


def _checkpoints(alive: Sequence[ListedWorker]) -> Iterator[Finding]:
    told = {worker: worker.about for worker in alive if worker.about is not None}
    without = [worker for worker, about in told.items() if about.checkpoints is None]
    if without:
        yield warning(
            "checkpoints",
            f"{_named(without)} keep none, so that trials which are interrupted there start again: "
            "give workers a --checkpoint-dir",
        )
    places: dict[str | None, list[ListedWorker]] = {}
    for worker, about in told.items():
        if about.checkpoints is not None:
            places.setdefault(about.mark, []).append(worker)
    if len(places) > 1:
        says = "; ".join(
            f"{_named(those)} in {those[0].about.checkpoints}"
            for those in places.values()
            if those[0].about is not None
        )
        yield failure(
            "checkpoints",
            f"workers keep them in different places, so that a trial which passes from one to "
            f"another starts again: {says}; name one --checkpoint-dir that all of them reach",
        )
    elif places:
        yield ok(
            "checkpoints", f"one place is shared by {several(len(told) - len(without), 'worker')}"
        )


def _left(alive: Sequence[ListedWorker]) -> Iterator[Finding]:
    """Workloads that workers leave to others: a failure where no other is there."""
    leaving: dict[tuple[str, str], list[ListedWorker]] = {}
    for worker in alive:
        for left in (worker.about.left if worker.about else {}).items():
            leaving.setdefault(left, []).append(worker)
    by_workload: dict[str, int] = {}
    for (workload, _), those in leaving.items():
        by_workload[workload] = by_workload.get(workload, 0) + len(those)
    for (workload, why), those in leaving.items():
        nobody = by_workload[workload] == len(alive)
        says = f"{_named(those)} can't run {workload}{', and no other is there' * nobody}: {why}"
        yield (failure if nobody else warning)("workloads", says)


def _named(those: Sequence[ListedWorker]) -> str:
    return first_few([str(worker) for worker in those], 3)
