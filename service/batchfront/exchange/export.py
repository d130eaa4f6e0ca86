"""A database's studies as tables, from which `restore` makes the same studies again."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from batchfront import __version__
from batchfront.exchange.folder import replacing
from batchfront.exchange.found_out import write_found_out
from batchfront.exchange.tables import (
    SCHEMAS,
    Columns,
    TableFile,
    by_column,
    exported,
    write_manifest,
)
from batchfront.frontier.code_versions import by_version
from batchfront.frontier.frontier import Frontier, load_frontiers
from batchfront.frontier.queries import workload_names
from batchfront.store.optuna_tables import encodable_json, read_attributes, read_trials
from batchfront.store.schema import measurements, slots, studies
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import (
    Filter,
    damaged_curves,
    find_studies,
    load_studies,
    measured,
    readable,
)
from batchfront.vocabulary import SlotState

_STUDIES, _TRIALS, _MEASUREMENTS = 50, 500, 20_000  # to hold at once

_WORKLOADS = 10  # whose frontiers are held at once


def export(
    source: Source,
    workloads: Sequence[str],
    folder: Path,
    format_: str,
    advance: Callable[[int], None],
) -> dict[str, int]:
    """Write all studies of these workloads, or of all, in place of an earlier export, with their
    timings and probes.

    advance -- is called with how many more studies have been written

    What is not done yet is exported as free or waiting, from its first step on: leases, and the
    checkpoints that they go on from, stay where they are.

    Studies that can't be read are left out, and so are learning curves, timings and probes: the
    manifest says which.

    Returns how many rows each table has, by its name. Raises what
    `batchfront.exchange.folder.replacing` does.
    """
    with snapshot(source) as conn, replacing(folder) as part:
        with ExitStack() as open_files:
            files = {
                name: open_files.enter_context(TableFile(part, name, format_)) for name in SCHEMAS
            }
            told = measured(conn, Filter(tuple(workloads)))
            for some in _parts(conn, workloads):
                files["studies"].write(by_column("studies", study_rows(conn, some)))
                for columns in trial_columns(conn, some):
                    files["trials"].write(columns)
                whole = [study_id for study_id in some if study_id not in told.left_out]
                for columns in _measurement_columns(conn, whole):
                    files["measurements"].write(columns)
                advance(len(some))
            for frontier in _frontiers(conn, workloads):
                files["frontier"].write(by_column("frontier", _points(frontier)))
            lost = write_found_out(conn, workloads, files)
        rows = {name: file.rows for name, file in files.items()}
        left_out = [*_left_out(conn, workloads), *lost]
        write_manifest(part, format_, __version__, rows, left_out)
    return rows


def _left_out(conn: Connection, workloads: Sequence[str]) -> list[str]:
    """What isn't in the export, and why, in sentences."""
    meant = Filter(tuple(workloads))
    lost = [*load_studies(conn, meant).unreadable, *damaged_curves(conn, readable(conn, meant))]
    return [one.told(conn.engine.url) for one in lost]


def count_studies(source: Source, workloads: Sequence[str]) -> int:
    """How many studies `export` would write."""
    with snapshot(source) as conn:
        return len(find_studies(conn, Filter(tuple(workloads))))


def _parts(conn: Connection, workloads: Sequence[str]) -> Iterator[list[int]]:
    """The ids of the studies of these workloads, by name, a few at a time."""
    meant = readable(conn, Filter(tuple(workloads))).clause()
    ids = list(conn.execute(select(studies.c.id).where(meant).order_by(studies.c.name)).scalars())
    return (ids[at : at + _STUDIES] for at in range(0, len(ids), _STUDIES))


def study_rows(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of `bf_studies`, by name, with Optuna's attributes of each study."""
    names = exported(studies)
    attributes, settings = read_attributes(conn, ids)
    found = []
    for row in conn.execute(_of(studies.select(), ids)):
        about = {"attributes": attributes[row.id], "settings": settings[row.id]}
        optuna = encodable_json(about)
        found.append({**{name: getattr(row, name) for name in names}, "optuna": optuna})
    return found


def trial_columns(conn: Connection, ids: Sequence[int]) -> Iterator[Columns]:
    """The slots of studies, by the study's name and number, each with its Optuna trial if it has
    one."""
    names = exported(slots)
    columns = (slots.c.study_id, slots.c.trial_id, studies.c.name, *(slots.c[n] for n in names))
    query = _of(select(*columns).select_from(slots.join(studies)), ids, slots.c.number)
    for rows in _streamed(conn, query, _TRIALS):
        study_ids, trial_ids, of, *values = zip(*rows, strict=True)
        found: dict[str, Sequence[Any]] = {"study": of, **dict(zip(names, values, strict=True))}
        done = [state == SlotState.DONE for state in found["state"]]
        found["steps"] = [n if ended else 0 for n, ended in zip(found["steps"], done, strict=True)]
        found["state"] = [SlotState.FREE if s == SlotState.LEASED else s for s in found["state"]]
        owners = dict(zip(trial_ids, study_ids, strict=True))
        owners.pop(None, None)
        theirs = {trial_id: copy.to_json() for trial_id, copy in read_trials(conn, owners).items()}
        yield {**found, "optuna": list(map(theirs.get, trial_ids))}


def _measurement_columns(conn: Connection, ids: Sequence[int]) -> Iterator[Columns]:
    own = [measurements.c[name] for name in exported(measurements)]
    query = select(studies.c.name, slots.c.number, *own).select_from(
        measurements.join(slots, measurements.c.slot_id == slots.c.id).join(studies)
    )
    place = (slots.c.number, measurements.c.step, measurements.c.split, measurements.c.metric)
    for rows in _streamed(conn, _of(query, ids, *place), _MEASUREMENTS):
        yield dict(zip(SCHEMAS["measurements"].names, zip(*rows, strict=True), strict=True))


def _of(query: Select[Any], ids: Sequence[int], *place: ColumnElement[Any]) -> Select[Any]:
    """Of these studies, by name, and within each by its place."""
    return query.where(studies.c.id.in_(ids)).order_by(studies.c.name, *place)


def _streamed(conn: Connection, query: Select[Any], rows: int) -> Iterator[Sequence[Row[Any]]]:
    """What a query finds, so many rows at once, of which the database sends no more before."""
    return conn.execute(query.execution_options(yield_per=rows)).partitions()


def _frontiers(conn: Connection, workloads: Sequence[str]) -> Iterator[Frontier]:
    names = [name for name in workload_names(conn) if not workloads or name in workloads]
    for at in range(0, len(names), _WORKLOADS):
        yield from load_frontiers(conn, names[at : at + _WORKLOADS])


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
            "params": encodable_json(dict(point.params)),
            "outcomes": json.dumps(dict(point.outcomes)),
            "code_version": fastest.get(point.batch_size),
        }
        for point in frontier.points
    ]
