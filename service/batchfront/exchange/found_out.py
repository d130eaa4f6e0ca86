"""What a database knows of workloads beside their studies, in an export: timings and probes.

They are of workloads, not of studies, and an export of an earlier batchfront has none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from batchfront.advice.noise_scale import probe_flaw
from batchfront.advice.timings import timing_flaw
from batchfront.errors import IdentityError
from batchfront.exchange.export_checks import Place, check_columns, check_json
from batchfront.exchange.tables import TableFile, by_column, path_of, pieces, read_manifest
from batchfront.plan.forget import FoundOut
from batchfront.store import schema
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.study.create import wait_for_planners

_ROWS = 500  # to hold at once

_WHEN = "measured_at"

Row = Mapping[str, Any]


def write_found_out(
    conn: Connection, workloads: Sequence[str], files: Mapping[str, TableFile]
) -> list[str]:
    """Write the timings and probes of these workloads, or of all.

    Returns sentences: what was left out, as it can't be right.
    """
    lost = []
    for name, (table, flaw, _) in _TABLES.items():
        query = select(table).order_by(*table.primary_key.columns)
        if workloads:
            query = query.where(table.c.workload.in_(workloads))
        for rows in conn.execute(query.execution_options(yield_per=_ROWS)).mappings().partitions():
            judged = [(dict(row), flaw(dict(row))) for row in rows]
            files[name].write(by_column(name, [row for row, why in judged if why is None]))
            lost += [f"one of the {name} of {row['workload']}: {why}" for row, why in judged if why]
    return lost


def check_found_out(folder: Path) -> Iterator[tuple[str, int]]:
    """Check the tables of an export, and store nothing.

    Yields the name of each that is there, with the number of its rows. Raises DataError, naming the
    row and the column, for the first thing that can't be taken.
    """
    _, there = read_manifest(folder)
    for name, (table, flaw, key) in _TABLES.items():
        if name not in there:
            continue
        seen: set[tuple[Any, ...]] = set()
        number = 0
        for place, row in _rows(folder, name):
            number += 1
            check_columns(place, table, row)
            check_json(place, row, [column for column in _JSON if column in row])
            if (wrong := flaw(row)) is not None:
                raise place.refuse(wrong)
            of = tuple(row[one] for one in key)
            if of in seen:
                raise place.refuse(f"{', '.join(key)}: one stands twice")
            seen.add(of)
        yield name, number


_JSON = ("params", "readings", "versions")


def restore_found_out(storage: Storage, folder: Path) -> FoundOut:
    """Make the timings and probes of an export, after its studies.

    folder -- of an export that `batchfront.exchange.restore.check_export` has found nothing wrong
              with

    Returns how many of each were not there. Raises IdentityError, with the command that removes it,
    where one of the same is there with other numbers; nothing is stored then.
    """
    with storage.write() as conn:
        wait_for_planners(conn)
        made = []
        for name, (table, _, _) in _TABLES.items():
            number = 0
            for _, row in _rows(folder, name):
                if not _is_there(conn, name, row):
                    conn.execute(insert(table).values(**row))
                    number += 1
            made.append(number)
    return FoundOut(*made)


def _is_there(conn: Connection, name: str, row: Row) -> bool:
    """Whether the database has a row of a table, the same but for when it was measured."""
    table, _, key = _TABLES[name]
    there = conn.execute(select(table).filter_by(**{one: row[one] for one in key})).mappings()
    for found in there:
        if all(found[column] == value for column, value in row.items() if column != _WHEN):
            return True
        removal = command(conn.engine.url, "delete", row["workload"], f"--{name}")
        raise IdentityError(
            f"the studies have been imported, timings and probes not: one of the {name} of "
            f"{row['workload']} is another in this database; {removal} removes those that are here"
        )
    return False


def _rows(folder: Path, name: str) -> Iterator[tuple[Place, Row]]:
    format_, there = read_manifest(folder)
    if name not in there:
        return
    path, at = path_of(folder, name, format_), 1
    for piece in pieces(folder, name, format_):
        for row in piece.to_pylist():
            yield Place(path, at), row
            at += 1


_TABLES: Mapping[str, tuple[Table, Callable[[Row], str | None], Sequence[str]]] = {
    "timings": (schema.timings, timing_flaw, [c.name for c in schema.timings.primary_key.columns]),
    "probes": (schema.probes, probe_flaw, ["workload", "batch_size", "trial"]),
}
"""By name the table, what finds a flaw in a row of it, and the columns that tell a row from
others."""
