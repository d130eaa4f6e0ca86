"""How far studies are as a notebook shows it: one table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchfront.outcomes import outcomes_column
from batchfront.phrases import count, listed, several
from batchfront.table import Column, Table

if TYPE_CHECKING:
    from batchfront.ledger.status import Status


def status_tables(status: "Status") -> Sequence[Table]:
    """A row for each study, and what is to be known of all."""
    columns = (
        Column("workload", words=True),
        Column("batch size", count),
        Column("trials", words=True),
        Column("running", count),
        Column("best", count),
        Column("now at", count),
        outcomes_column("ended"),
    )
    names = {study.workload for study in status.studies}
    rows = [
        (
            study.workload if len(names) > 1 else None,
            study.batch_size,
            f"{study.done:,} of {study.total:,}",
            study.running or None,
            study.best,
            study.lead if study.running else None,
            study.outcomes or None,
        )
        for study in status.studies
    ]
    return [Table(columns, rows, _title(status, names), _notes(status)).filled()]


def _title(status: "Status", names: set[str]) -> str:
    done, total = (sum(getattr(study, n) for study in status.studies) for n in ("done", "total"))
    at_work = "" if status.finished else f", {several(len(status.workers), 'worker')}"
    return f"{listed(sorted(names)) or 'No studies'}: {done:,} of {total:,} trials done{at_work}"


def _notes(status: "Status") -> list[str]:
    stopped = [] if status.stopped is None else [status.stopped]
    failed = [f"failed: {one.study} trial {one.trial}: {one.reason}" for one in status.failures]
    return [*stopped, *status.shared_out, *status.nothing_trains, *failed]
