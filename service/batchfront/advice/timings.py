"""Seconds that the parts of a workload's training take, on a kind of device: as they are stored."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from batchfront.advice.stored_rows import are_texts, below_least, rows_of
from batchfront.store.columns import unfit_row
from batchfront.store.database import Storage
from batchfront.store.schema import timings
from batchfront.store.snapshot import Source
from batchfront.vocabulary import TimedPart


@dataclass(frozen=True)
class Timing:
    """What one part of a workload's training takes.

    device      -- the kind of device that computed it: "cpu", "NVIDIA H200"
    devices     -- how many of them shared each batch; 1 for what each does alone
    examples    -- that it is of: of a micro-batch on one device, of a batch over all devices, of
                   the validation split; 0 for what is of no number of examples
    seconds     -- the median of the repetitions
    low, high   -- their quartiles; None for numbers from elsewhere
    repetitions -- None for numbers from elsewhere
    versions    -- what it ran on; {"source": "imported"} for numbers from elsewhere, with the
                   "accumulation" where it was said
    """

    workload: str
    precision: str
    device: str
    devices: int
    part: TimedPart
    examples: int
    seconds: float
    low: float | None = None
    high: float | None = None
    repetitions: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    measured_at: float = 0.0

    @property
    def imported(self) -> bool:
        """Whether it was measured elsewhere."""
        return self.repetitions is None

    @property
    def key(self) -> dict[str, Any]:
        """What it is a timing of: the database holds one of each."""
        return {name: getattr(self, name) for name in _KEY}


_KEY = ("workload", "precision", "device", "devices", "part", "examples")


def load_timings(source: Source, workload: str) -> list[Timing]:
    """The timings of a workload, by precision, device, devices, part and examples.

    Raises StorageError, with the command that removes them, where one of them can't be right.
    """
    order = [timings.c[name] for name in _KEY]
    mine = select(timings).where(timings.c.workload == workload).order_by(*order)
    return [_timing(row) for row in rows_of(source, mine, workload, "timings", timing_flaw)]


def last_timed(moment: Connection, workload: str) -> tuple[object, ...]:
    """A value that differs once timings of a workload have been added, replaced or deleted."""
    told = select(func.count(), func.max(timings.c.measured_at))
    return tuple(moment.execute(told.where(timings.c.workload == workload)).one())


def keep_timings(storage: Storage, measured: Sequence[Timing]) -> None:
    """Write timings, each in the place of the one of the same part that is there."""
    with storage.write() as conn:
        put_timings(conn, storage, measured)


def put_timings(conn: Connection, storage: Storage, measured: Sequence[Timing]) -> None:
    """`keep_timings`, in the caller's transaction."""
    for one in measured:
        conn.execute(delete(timings).filter_by(**one.key))
        told = {name: getattr(one, name) for name in ("seconds", "low", "high", "repetitions")}
        versions = json.dumps(dict(one.versions))
        values = {**one.key, **told, "versions": versions, "measured_at": storage.now}
        conn.execute(insert(timings).values(**values))


def timing_flaw(row: Mapping[Any, Any]) -> str | None:
    """What can't be right in a row of `bf_timings`, as databases are shared and exports come from
    anybody: the column, and what is wrong with it. None if nothing is."""
    if (wrong := unfit_row(timings, row)) is not None:
        return wrong
    if row["part"] not in [*TimedPart]:
        return f"part is {row['part']!r}, not {', '.join(TimedPart)}"
    if (wrong := below_least(row, {"devices": 1, "examples": 0, "repetitions": 1})) is not None:
        return wrong
    for name in ("seconds", "low", "high"):
        if row[name] is not None and not 0 < row[name] <= LONGEST:
            return f"{name} is {row[name]:g}, not above 0 and at most {LONGEST:g}"
    return _versions_flaw(row["versions"])


PEAK = "peak_bytes"
"""In a timing's versions: the most memory that a device had in use during a pass."""

LONGEST = 1e7
"""Seconds that one part may take: some four months."""


def _versions_flaw(text: str) -> str | None:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return "versions is no JSON"
    if not are_texts(read):
        return "versions is no object of texts"
    for name in ("accumulation", PEAK):
        if not re.fullmatch(r"[1-9][0-9]{0,17}", told := read.get(name, "1")):
            return f"versions has {name} {told[:60]!r}, and no whole number above 0"
    return None


def _timing(row: Row[tuple[object, ...]]) -> Timing:
    told = dict(row._mapping)
    found = Timing(**{**told, "part": TimedPart(told["part"])})
    return replace(found, versions=json.loads(told["versions"]))
