"""Seconds per step that were measured elsewhere: read from a CSV or JSON file, and kept.

Whatever can't be meant raises UsageError in one line with the file and the line, or the entry of a
JSON list, before anything is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection

from batchfront.advice.timings import LONGEST, Timing, load_timings, put_timings
from batchfront.errors import UsageError
from batchfront.exchange.rows import check_lengths, check_workload, number, read_rows, whole
from batchfront.frontier.queries import require
from batchfront.phrases import several
from batchfront.store.columns import longest
from batchfront.store.database import Storage
from batchfront.store.schema import timings
from batchfront.study.create import wait_for_planners
from batchfront.study.study import Filter, load_studies
from batchfront.vocabulary import SEARCHES, Purpose, TimedPart
from batchfront.workload.definition import LONGEST_NAME

_REQUIRED = ("workload", "device", "devices", "batch_size")

_TIMES = ("seconds_per_step", "examples_per_second")

_COLUMNS = (*_REQUIRED, *_TIMES, "precision", "accumulation")

_LIMITS = {
    "workload": LONGEST_NAME,
    "device": longest(timings.c.device),
    "precision": longest(timings.c.precision),
}

_SHORTEST = 1e-9  # seconds that a step may take; beyond either, the unit must be another one


@dataclass(frozen=True)
class Row:
    """A timing of a whole step, and where the file has it; of no precision if none is said."""

    where: str
    timing: Timing


@dataclass(frozen=True)
class Taken:
    """What became of a workload's timings."""

    workload: str
    new: int
    replaced: int
    unchanged: int


def read_timings(file: Path) -> list[Row]:
    """All timings of a file, in its order."""
    found = [Row(where, _timing(where, row)) for where, row in read_rows(file, _check_columns)]
    if not found:
        raise UsageError(f"{file}: holds no timing")
    return found


def import_timings(
    storage: Storage, rows: Sequence[Row], *, replace_changed: bool = False
) -> list[Taken]:
    """Import all timings or, if one can't be, none.

    Raises UsageError, naming the line, for one of a workload that the database has no study of,
    for a second one of the same, and, unless `replace_changed`, for one that is in the database
    with other numbers.
    """
    with storage.write() as conn:
        wait_for_planners(conn)
        done = []
        for workload, mine in groupby(sorted(rows, key=_workload), _workload):
            told = _precise(conn, list(mine))
            _refuse_second(told)
            done.append(_take(conn, storage, workload, told, replace_changed))
        return done


def _check_columns(where: str, columns: set[str]) -> None:
    unknown = sorted(columns.difference(_COLUMNS))
    if unknown:
        raise UsageError(f"{where}: unknown column {unknown[0]!r}; there are {', '.join(_COLUMNS)}")
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise UsageError(f"{where}: lacks the column {missing[0]}")
    if not columns.intersection(_TIMES):
        raise UsageError(f"{where}: needs a column of {' or '.join(_TIMES)}")


def _timing(where: str, row: Mapping[str, str]) -> Timing:
    workload = check_workload(where, row)
    check_lengths(where, row, _LIMITS)
    if "device" not in row:
        raise UsageError(f"{where}: device is empty: write its kind, such as NVIDIA H100")
    devices, batch_size = (whole(where, row, name, 1) for name in ("devices", "batch_size"))
    accumulation = whole(where, row, "accumulation", 1, 1)
    _require_shares(where, batch_size, devices, accumulation)
    versions = {"source": "imported"}
    if "accumulation" in row:
        versions["accumulation"] = str(accumulation)
    return Timing(
        workload,
        row.get("precision", ""),
        row["device"],
        devices,
        TimedPart.STEP,
        batch_size,
        _seconds(where, row, batch_size),
        versions=versions,
    )


def _require_shares(where: str, batch_size: int, devices: int, accumulation: int) -> None:
    """Raise UsageError for a batch that can't be cut into as many equal micro-batches, which is
    how one for each device alone, in place of all together, shows."""
    parts = devices * accumulation
    if batch_size % parts == 0:
        return
    each = f" in {accumulation} micro-batches" if accumulation > 1 else ""
    raise UsageError(
        f"{where}: batch_size {batch_size} is that of all devices together, and can't be shared "
        f"by {several(devices, 'device')}{each}: it must be a multiple of {parts}"
    )


def _seconds(where: str, row: Mapping[str, str], batch_size: int) -> float:
    """The seconds of a step, of whichever of both the row states."""
    stated = [name for name in _TIMES if name in row]
    if len(stated) != 1:
        said = " and ".join(f"{name} {row[name]}" for name in stated)
        raise UsageError(
            f"{where}: has {said or 'neither of both'}; state seconds_per_step, or "
            "examples_per_second of all devices together"
        )
    (name,) = stated
    stands = number(row[name])
    if stands is None or stands <= 0:
        raise UsageError(
            f"{where}: {name} {row[name]!r} must be a number above 0, without separators of "
            "thousands"
        )
    seconds = float(stands if name == "seconds_per_step" else batch_size / stands)
    if not _SHORTEST <= seconds <= LONGEST:
        raise UsageError(
            f"{where}: {name} {row[name]} is {seconds:.3g} seconds a step; one takes "
            f"{_SHORTEST:g} to {LONGEST:g}"
        )
    return seconds


def _workload(row: Row) -> str:
    return row.timing.workload


def _precise(conn: Connection, rows: Sequence[Row]) -> list[Row]:
    """The timings of a workload, each with its precision. Where none is said, it is that of the
    search; a curve that was measured elsewhere is of one, whichever it is."""
    workload = rows[0].timing.workload
    try:
        require(conn, (workload,))
    except UsageError as error:
        raise UsageError(f"{rows[0].where}: {error}. Plan it first, or import its steps") from None
    study = load_studies(conn, Filter((workload,), purposes=SEARCHES)).readable[0]
    usual = study.identity.get("precision", "float32")
    if study.purpose == Purpose.POINTS:
        there = [timing.precision for timing in load_timings(conn, workload)]
        usual = next(filter(None, [*there, *(row.timing.precision for row in rows)]), usual)
        for row in rows:
            if row.timing.precision not in ("", usual):
                raise UsageError(
                    f"{row.where}: {workload} has timings in {usual}, here in "
                    f"{row.timing.precision}; its steps were measured elsewhere, in one of them: "
                    "give each precision a workload name of its own, with its steps"
                )
    return [
        replace(row, timing=replace(row.timing, precision=row.timing.precision or usual))
        for row in rows
    ]


def _refuse_second(rows: Sequence[Row]) -> None:
    first: dict[tuple[object, ...], str] = {}
    for row in rows:
        of = tuple(row.timing.key.values())
        if of in first:
            raise UsageError(f"{row.where}: {_said(row.timing)} is there already, in {first[of]}")
        first[of] = row.where


def _take(
    conn: Connection, storage: Storage, workload: str, rows: Sequence[Row], replace_changed: bool
) -> Taken:
    there = {tuple(t.key.values()): t for t in load_timings(conn, workload)}
    new, changed = [], []
    for row in rows:
        stored = there.get(tuple(row.timing.key.values()))
        if stored is None:
            new.append(row.timing)
        elif _told(stored) != _told(row.timing):
            changed.append(row.timing)
            if not replace_changed:
                raise UsageError(
                    f"{row.where}: {_said(row.timing)} has {_words(stored)} in the database, "
                    f"here {_words(row.timing)}; --replace takes those given here"
                )
    put_timings(conn, storage, [*new, *changed])
    return Taken(workload, len(new), len(changed), len(rows) - len(new) - len(changed))


def _told(timing: Timing) -> tuple[object, ...]:
    return timing.seconds, timing.repetitions, timing.versions.get("accumulation")


def _said(timing: Timing) -> str:
    return (
        f"{timing.workload} on {timing.devices} × {timing.device} in {timing.precision}, "
        f"batch size {timing.examples},"
    )


def _words(timing: Timing) -> str:
    parts = timing.versions.get("accumulation")
    return (
        f"{timing.seconds:.6g} seconds a step"
        + ("" if timing.imported else ", measured here")
        + (f", in {parts} micro-batches" if parts else "")
    )
