"""What was found out about a workload beside its trials, counted and taken out of a database: how
long training takes, and how noisy its gradients are."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, false, func, select

from batchfront.errors import UsageError
from batchfront.phrases import listed, several
from batchfront.store.database import Storage
from batchfront.store.schema import probes, timings
from batchfront.study.create import wait_for_planners


@dataclass(frozen=True)
class FoundOut:
    """How many of a workload's timings and probes are meant."""

    timings: int
    probes: int

    def __bool__(self) -> bool:
        return bool(self.timings or self.probes)

    def words(self) -> list[str]:
        """What there is of it: 14 timings, 1 probe."""
        there = ((self.timings, "timing"), (self.probes, "probe"))
        return [several(number, what) for number, what in there if number]


def count_found_out(conn: Connection, workload: str, left: Collection[int] = ()) -> FoundOut:
    """What goes when studies of these batch sizes are `left` of a workload."""
    meant = _lost_timings(workload, left), _lost_probes(workload, left)
    return FoundOut(*(conn.execute(select(func.count()).where(one)).scalar_one() for one in meant))


def forget_found_out(conn: Connection, workload: str, left: Collection[int]) -> None:
    """Delete what nobody has a use for when studies of these batch sizes are `left`."""
    conn.execute(delete(timings).where(_lost_timings(workload, left)))
    conn.execute(delete(probes).where(_lost_probes(workload, left)))


def _lost_timings(workload: str, left: Collection[int]) -> ColumnElement[bool]:
    """All, with the last study: a timing is of the workload, whatever batch sizes it has."""
    return false() if left else timings.c.workload == workload


def _lost_probes(workload: str, left: Collection[int]) -> ColumnElement[bool]:
    """All, with the last study, and before those of trials that are gone."""
    mine = probes.c.workload == workload
    if not left:
        return mine
    return and_(mine, probes.c.trial.is_not(None), probes.c.batch_size.not_in(left))


def find_alone(storage: Storage, workload: str, *, timed: bool, probed: bool) -> FoundOut:
    """The timings, the probes, or both of a workload whose studies stay. Raises UsageError if there
    are none, naming the workloads that have some."""
    meant = [(timings, "timings")] * timed + [(probes, "probes")] * probed
    with storage.read() as conn:
        there = count_found_out(conn, workload)
        found = FoundOut(there.timings * timed, there.probes * probed)
        if found:
            return found
        known = {
            name
            for table, _ in meant
            for name in conn.execute(select(table.c.workload).distinct()).scalars()
        }
    what = " or ".join(name for _, name in meant)
    raise UsageError(
        f"no {what} of {workload!r} in this database; there are some of: "
        f"{listed(sorted(known)) or 'none'}"
    )


def delete_alone(storage: Storage, workload: str, *, timed: bool, probed: bool) -> None:
    """Delete the timings, the probes, or both of a workload whose studies stay."""
    with storage.write() as conn:
        wait_for_planners(conn)
        for table, meant in ((timings, timed), (probes, probed)):
            if meant:
                conn.execute(delete(table).where(table.c.workload == workload))
