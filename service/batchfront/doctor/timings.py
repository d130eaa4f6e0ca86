"""Whether what was timed and probed can be read, and of which devices it is."""

from collections.abc import Iterator

from sqlalchemy import func, select

from batchfront.advice.timings import timing_flaw
from batchfront.doctor.finding import Finding, ok, warning
from batchfront.phrases import first_few, several
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import probes, timings

_NAMED = 10  # workloads with timings that can't be read, of which each has a line of its own


def examine_timings(storage: Storage) -> Iterator[Finding]:
    """Look at the timings and probes of a database; where there are none, nothing is said."""
    with storage.read() as conn:
        rows = conn.execute(select(timings).order_by(timings.c.workload)).mappings().all()
        probed = conn.execute(select(func.count()).select_from(probes)).scalar_one()
    flaws = {row["workload"]: flaw for row in rows if (flaw := timing_flaw(row)) is not None}
    for workload, flaw in list(flaws.items())[:_NAMED]:
        yield warning(
            "timings",
            f"those of {workload} can't be read: of one, {flaw}",
            command(storage, "delete", workload, "--timings"),
        )
    if len(flaws) > _NAMED:
        yield warning("timings", f"those of {len(flaws) - _NAMED:,} more workloads can't be read")
    whole = [row for row in rows if row["workload"] not in flaws]
    if whole:
        devices = first_few(sorted({row["device"] for row in whole}))
        workloads = several(len({row["workload"] for row in whole}), "workload")
        yield ok("timings", f"{several(len(whole), 'timing')} of {workloads}, on {devices}")
    if probed:
        yield ok("probes", several(probed, "probe"))
