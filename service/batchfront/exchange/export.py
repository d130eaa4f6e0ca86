"""A database's studies as tables, from which `restore` makes the same studies again."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from batchfront import __version__
from batchfront.errors import UsageError
from batchfront.exchange.tables import (
    FORMATS,
    MANIFEST,
    SCHEMAS,
    TableFile,
    by_column,
    exported,
    write_manifest,
)
from batchfront.frontier.code_versions import by_version
from batchfront.frontier.frontier import Frontier, load_frontiers
from batchfront.store.optuna_tables import read_attributes, read_trials
from batchfront.store.schema import measurements, slots, studies
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter, find_studies
from batchfront.vocabulary import SlotState

_ROWS = 50_000  # measurements to hold at once


def export(
    source: Source,
    workloads: Sequence[str],
    folder: Path,
    format_: str,
    advance: Callable[[int], None],
) -> dict[str, int]:
    """Write all studies of these workloads, or of all.

    advance -- is called with how many more studies have been written

    What is not done yet is exported as free or waiting, from its first step on: leases, and the
    checkpoints that they go on from, stay where they are.

    Returns how many rows each table has, by its name.
    """
    _make_room(folder)
    files = {name: TableFile(folder, name, format_) for name in SCHEMAS}
    try:
        with snapshot(source) as conn:
            wanted = select(studies).where(Filter(tuple(workloads)).clause())
            for row in conn.execute(wanted.order_by(studies.c.name)).all():
                files["studies"].write(by_column("studies", [study_row(conn, row)]))
                files["trials"].write(by_column("trials", trial_rows(conn, row)))
                for columns in _measurements(conn, row):
                    files["measurements"].write(columns)
                advance(1)
            for frontier in load_frontiers(conn, workloads):
                files["frontier"].write(by_column("frontier", _points(frontier)))
    finally:
        for file in files.values():
            file.close()
    rows = {name: file.rows for name, file in files.items()}
    write_manifest(folder, format_, __version__, rows)
    return rows


def count_studies(source: Source, workloads: Sequence[str]) -> int:
    """How many studies `export` would write."""
    with snapshot(source) as conn:
        return len(find_studies(conn, Filter(tuple(workloads))))


def _make_room(folder: Path) -> None:
    """An empty folder, or one whose earlier export goes."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    ours = {MANIFEST, *(f"{name}.{format_}" for name in SCHEMAS for format_ in FORMATS)}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there and not (there <= ours):
        raise UsageError(
            f"--output {folder}: holds {min(there - ours)}, which is no part of an export; name a "
            "new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, *there):
        (folder / name).unlink(missing_ok=True)


def study_row(conn: Connection, row: Row[Any]) -> dict[str, Any]:
    """A row of `bf_studies`, with Optuna's attributes of the study."""
    attributes, settings = read_attributes(conn, row.id)
    optuna = json.dumps({"attributes": attributes, "settings": settings}, ensure_ascii=False)
    return {**{name: getattr(row, name) for name in exported(studies)}, "optuna": optuna}


def trial_rows(conn: Connection, study: Row[Any]) -> list[dict[str, Any]]:
    """A study's slots, by number, each with its Optuna trial if it has one."""
    theirs = read_trials(conn, study.id)
    query = select(slots).where(slots.c.study_id == study.id).order_by(slots.c.number)
    rows = []
    for slot in conn.execute(query):
        row = {name: getattr(slot, name) for name in exported(slots)}
        if slot.state == SlotState.LEASED:
            row["state"] = SlotState.FREE
        if slot.state != SlotState.DONE:
            row["steps"] = 0
        trial = theirs.get(slot.trial_id) if slot.trial_id is not None else None
        rows.append({"study": study.name, **row, "optuna": trial and trial.to_json()})
    return rows


def _measurements(conn: Connection, study: Row[Any]) -> Iterator[dict[str, Sequence[Any]]]:
    own = [measurements.c[name] for name in exported(measurements)]
    query = (
        select(slots.c.number, *own)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(slots.c.study_id == study.id)
        .order_by(slots.c.number, measurements.c.step, measurements.c.split, measurements.c.metric)
        .execution_options(yield_per=_ROWS)
    )
    names = SCHEMAS["measurements"].names
    for rows in conn.execute(query).partitions():
        values = zip(*rows, strict=True)
        yield dict(zip(names, ([study.name] * len(rows), *values), strict=True))


def _points(frontier: Frontier) -> list[dict[str, Any]]:
    versions = by_version(frontier)
    fastest = {size: one["version"] for one in versions for size in one["fastest_at"]}
    return [
        {
            "workload": frontier.workload,
            "goal": frontier.goal_text,
            "purpose": point.study.purpose,
            "batch_size": point.batch_size,
            "train_examples": point.study.train_examples,
            "steps": point.steps,
            "steps_lower": point.steps_lower,
            "examples": point.examples,
            "trial": point.trial,
            "trials": point.trials,
            "params": json.dumps(dict(point.params), ensure_ascii=False),
            "outcomes": json.dumps(dict(point.outcomes)),
            "code_version": fastest.get(point.batch_size),
        }
        for point in frontier.points
    ]
