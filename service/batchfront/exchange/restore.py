"""The studies of an export, made again in a database: each whole, or not at all."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from batchfront.errors import DataError, IdentityError, StorageError
from batchfront.exchange.export import study_rows, trial_columns
from batchfront.exchange.export_checks import (
    Place,
    check_measurements,
    check_study_row,
    check_trial_rows,
)
from batchfront.exchange.found_out import check_found_out
from batchfront.exchange.tables import MANIFEST, by_row, exported, path_of, pieces, read_manifest
from batchfront.store.bulk import load_columns
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import TrialCopy, write_trials
from batchfront.store.schema import measurements, slots, studies
from batchfront.study.create import new_id, wait_for_planners
from batchfront.study.identity import refuse_difference
from batchfront.study.study import Filter, Unreadable, find_named, find_studies
from batchfront.vocabulary import SEARCHES


@dataclass(frozen=True)
class Restored:
    """What became of a study; `made` is False for one that was there, the same."""

    name: str
    made: bool


def restore(storage: Storage, folder: Path) -> Iterator[Restored]:
    """Make the studies of an export, one by one; those that are there, the same, are passed over.

    folder -- of an export that `check_export` has found nothing wrong with

    Its timings and probes are left to `restore_found_out`. Raises IdentityError for a study that is
    there with other content, or whose workload has another definition there; what was made before
    stays.
    """
    for found in _studies(folder):
        trials = [row for _, row in found.trials]
        yield Restored(found.row["name"], _restore(storage, found.row, trials, found.measured))


def check_export(folder: Path) -> int:
    """Read a whole export, and store nothing.

    Returns how many studies it holds. Raises DataError for the first thing in it that can't be
    taken, naming the file, and the row and column where it is one.
    """
    counted = dict.fromkeys(("studies", "trials", "measurements"), 0)
    names: set[str] = set()
    for found in _studies(folder):
        space = check_study_row(found.place, found.row)
        if found.row["name"] in names:
            raise found.place.refuse(f"name: {found.row['name']!r} stands twice")
        names.add(found.row["name"])
        numbers = check_trial_rows(found.trials, space)
        if found.row["trials"] and not numbers:
            raise found.place.refuse(
                "trials: its rows are missing, or out of place: they must be in the order of the "
                "studies"
            )
        pieces = list(found.measured)
        check_measurements(pieces, numbers)
        counted["studies"] += 1
        counted["trials"] += len(numbers)
        counted["measurements"] += sum(piece.num_rows for _, piece in pieces)
    counted.update(check_found_out(folder))
    format_, said = read_manifest(folder)
    for name, rows in counted.items():
        if said[name] != rows:
            path = path_of(folder, name, format_)
            raise DataError(f"{path}: has {rows} rows, where {MANIFEST} says {said[name]}")
    return counted["studies"]


@dataclass(frozen=True)
class _Found:
    """A study as an export has it: its row, those of its trials, and pieces of its measurements,
    which come while they are asked for."""

    place: Place
    row: Mapping[str, Any]
    trials: Sequence[tuple[Place, Mapping[str, Any]]]
    measured: Iterator[tuple[Place, Any]]


def _studies(folder: Path) -> Iterator[_Found]:
    """The studies of an export, in its order. Raises DataError where its tables don't fit."""
    format_, _ = read_manifest(folder)
    trials = _Runs(folder, "trials", format_)
    measured = _Runs(folder, "measurements", format_)
    rows = _Runs(folder, "studies", format_)
    for place, row in rows.each():
        own = [
            (Place(first.path, first.row + at), trial)
            for first, part in trials.of(row["name"])
            for at, trial in enumerate(part.to_pylist())
        ]
        pieces = measured.of(row["name"])
        yield _Found(place, row, own, pieces)
        for _ in pieces:  # passed over, up to the next study's
            pass
    for others in (trials, measured):
        if others.left is not None:
            place, study = others.left
            raise place.refuse(
                f"study: {study!r} is out of place; the rows must be in the order of the studies"
            )


class _Runs:
    """The rows of a table's file, given out study by study, in the file's order."""

    def __init__(self, folder: Path, name: str, format_: str) -> None:
        self._path = path_of(folder, name, format_)
        self._pieces = pieces(folder, name, format_)
        self._parts = self._split()
        self._next: tuple[str, Place, Any] | None = None

    def each(self) -> Iterator[tuple[Place, Mapping[str, Any]]]:
        """All rows, one by one."""
        at = 1
        for piece in self._pieces:
            for row in piece.to_pylist():
                yield Place(self._path, at), row
                at += 1

    def _split(self) -> Iterator[tuple[str, Place, Any]]:
        row = 1
        for piece in self._pieces:
            at = 0
            for study, run in groupby(piece.column("study").to_pylist()):
                size = sum(1 for _ in run)
                yield study, Place(self._path, row + at), piece.slice(at, size)
                at += size
            row += len(piece)

    def of(self, study: str) -> Iterator[tuple[Place, Any]]:
        """The study's rows, in pieces, if they are next, each with the place of its first."""
        self._ahead()
        while self._next is not None and self._next[0] == study:
            _, place, piece = self._next
            self._next = None
            yield place, piece
            self._ahead()

    def _ahead(self) -> None:
        self._next = self._next or next(self._parts, None)

    @property
    def left(self) -> tuple[Place, str] | None:
        """The study whose rows are next, and where they begin, if there are any more."""
        self._ahead()
        return None if self._next is None else (self._next[1], self._next[0])


Row = Mapping[str, Any]


def _restore(
    storage: Storage, row: Row, trials: Sequence[Row], measured: Iterator[tuple[Place, Any]]
) -> bool:
    with storage.write() as conn:
        wait_for_planners(conn)
        if _is_there(conn, row, trials):
            return False
        study_id = _add_study(storage, conn, row)
        slot_ids = _add_trials(conn, study_id, trials)
        for _, piece in measured:
            _add_measurements(conn, slot_ids, piece)
    return True


def _is_there(conn: Connection, row: Row, trials: Sequence[Row]) -> bool:
    there = find_named(conn, row["name"])
    if isinstance(there, Unreadable):
        raise StorageError(there.told(conn.engine.url))
    if there is not None:
        own = [one for part in trial_columns(conn, [there.id]) for one in by_row(part)]
        (same,) = study_rows(conn, [there.id])
        if {**same, "spec": row["spec"]} == row and own == trials:
            return True
        raise IdentityError(
            f"study {row['name']} is in this database with other content; import the export into "
            "another --storage"
        )
    if row["purpose"] in SEARCHES:
        identity = json.loads(row["identity"])
        for known in find_studies(conn, Filter((row["workload"],), purposes=SEARCHES)):
            given = replace(known, batch_size=row["batch_size"], identity=identity)
            try:
                refuse_difference(known, given)
            except IdentityError as error:
                raise IdentityError(
                    f"{row['name']}: {error}; import the export into another --storage"
                ) from None
    return False


def _add_study(storage: Storage, conn: Connection, row: Row) -> int:
    theirs = json.loads(row["optuna"])
    study_id = new_id(storage, conn, row["name"], theirs["attributes"], theirs["settings"])
    # What it was planned from is the word of whoever made the export: nothing is run by it here.
    own = {name: row[name] for name in exported(studies)} | {"spec": ""}
    conn.execute(insert(studies).values(id=study_id, **own))
    return study_id


def _add_trials(conn: Connection, study_id: int, trials: Sequence[Row]) -> dict[int, int]:
    """Number to id of the slots made."""
    begun = [trial for trial in trials if trial["optuna"] is not None]
    copies = [TrialCopy.from_json(trial["number"], trial["optuna"]) for trial in begun]
    ids = write_trials(conn, study_id, copies)
    trial_ids = {trial["number"]: id_ for trial, id_ in zip(begun, ids, strict=True)}
    rows = [
        {name: trial[name] for name in exported(slots)}
        | {"study_id": study_id, "trial_id": trial_ids.get(trial["number"])}
        for trial in trials
    ]
    if not rows:
        return {}
    new = insert(slots).returning(slots.c.id, sort_by_parameter_order=True)
    made = conn.execute(new, rows).scalars()
    return {row["number"]: int(id_) for row, id_ in zip(rows, made, strict=True)}


def _add_measurements(conn: Connection, slot_ids: Mapping[int, int], piece: Any) -> None:
    columns = {name: piece.column(name).to_pylist() for name in exported(measurements)}
    ids = [slot_ids[number] for number in piece.column("number").to_pylist()]
    load_columns(conn, measurements, {"slot_id": ids, **columns})
