"""The studies of an export, made again in a database: each whole, or not at all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from batchfront.errors import DataError, IdentityError
from batchfront.exchange.export import study_rows, trial_columns
from batchfront.exchange.tables import by_row, exported, pieces, read_manifest
from batchfront.store.bulk import load_columns
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import TrialCopy, create_study, write_trials
from batchfront.store.schema import measurements, slots, studies
from batchfront.study.create import wait_for_planners
from batchfront.study.identity import refuse_difference
from batchfront.study.study import Filter, find_studies
from batchfront.vocabulary import SEARCHES


@dataclass(frozen=True)
class Restored:
    """What became of a study; `made` is False for one that was there, the same."""

    name: str
    made: bool


def count_studies(folder: Path) -> int:
    """How many studies an export holds. Raises DataError if the folder holds none that is whole."""
    return read_manifest(folder)[1]["studies"]


def restore(storage: Storage, folder: Path) -> Iterator[Restored]:
    """Make the studies of an export, one by one; those that are there, the same, are passed over.

    Raises IdentityError for a study that is there with other content, or whose workload has
    another definition there, and DataError for a damaged file; what was made before stays.
    """
    format_, _ = read_manifest(folder)
    trials = _Runs(folder, "trials", format_)
    measured = _Runs(folder, "measurements", format_)
    for piece in pieces(folder, "studies", format_):
        for row in piece.to_pylist():
            name = row["name"]
            own = [trial for part in trials.of(name) for trial in part.to_pylist()]
            if row["trials"] and not own:
                raise DataError(f"{trials.path}: {_OUT_OF_PLACE.format(name)}")
            yield Restored(name, _restore(storage, row, own, measured.of(name)))
    for rows in (trials, measured):
        if rows.left is not None:
            raise DataError(f"{rows.path}: {_OUT_OF_PLACE.format(rows.left)}")


_OUT_OF_PLACE = "rows of {} are out of place: they must be in the order of the studies"


class _Runs:
    """The rows of a table's file, given out study by study, in the file's order."""

    def __init__(self, folder: Path, name: str, format_: str) -> None:
        self.path = folder / f"{name}.{format_}"
        self._parts = self._split(pieces(folder, name, format_))
        self._next = next(self._parts, None)

    @staticmethod
    def _split(found: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        for piece in found:
            at = 0
            for study, run in groupby(piece.column("study").to_pylist()):
                size = sum(1 for _ in run)
                yield study, piece.slice(at, size)
                at += size

    def of(self, study: str) -> Iterator[Any]:
        """The study's rows, in pieces, if they are next."""
        while self._next is not None and self._next[0] == study:
            yield self._next[1]
            self._next = next(self._parts, None)

    @property
    def left(self) -> str | None:
        """The study whose rows are next, if there are any more."""
        return None if self._next is None else self._next[0]


def _restore(
    storage: Storage, row: dict[str, Any], trials: list[dict[str, Any]], measured: Iterator[Any]
) -> bool:
    with storage.write() as conn:
        wait_for_planners(conn)
        if _is_there(conn, row, trials):
            for _ in measured:  # passed over, up to the next study's
                pass
            return False
        study_id = _add_study(conn, row)
        slot_ids = _add_trials(conn, study_id, trials)
        for piece in measured:
            _add_measurements(conn, row["name"], slot_ids, piece)
    return True


def _is_there(conn: Connection, row: dict[str, Any], trials: list[dict[str, Any]]) -> bool:
    there = conn.scalar(select(studies.c.id).where(studies.c.name == row["name"]))
    if there is not None:
        stored = [one for part in trial_columns(conn, [there]) for one in by_row(part)]
        (same,) = study_rows(conn, [there])
        if {**same, "spec": row["spec"]} == row and stored == trials:
            return True
        raise IdentityError(
            f"study {row['name']} is in this database with other content; import the export into "
            "another --storage"
        )
    if row["purpose"] in SEARCHES:
        identity = json.loads(row["identity"])
        for stored in find_studies(conn, Filter((row["workload"],), purposes=SEARCHES)):
            given = replace(stored, batch_size=row["batch_size"], identity=identity)
            try:
                refuse_difference(stored, given)
            except IdentityError as error:
                raise IdentityError(
                    f"{row['name']}: {error}; import the export into another --storage"
                ) from None
    return False


def _add_study(conn: Connection, row: dict[str, Any]) -> int:
    theirs = json.loads(row["optuna"])
    study_id = create_study(conn, row["name"], theirs["attributes"], theirs["settings"])
    # What it was planned from is the word of whoever made the export: nothing is run by it here.
    own = {name: row[name] for name in exported(studies)} | {"spec": ""}
    conn.execute(insert(studies).values(id=study_id, **own))
    return study_id


def _add_trials(conn: Connection, study_id: int, trials: list[dict[str, Any]]) -> dict[int, int]:
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


def _add_measurements(conn: Connection, study: str, slot_ids: dict[int, int], piece: Any) -> None:
    numbers = piece.column("number").to_pylist()
    unknown = set(numbers) - set(slot_ids)
    if unknown:
        raise DataError(f"measurements of trial {min(unknown)} of {study}: there is no such trial")
    columns = {name: piece.column(name).to_pylist() for name in exported(measurements)}
    ids = [slot_ids[number] for number in numbers]
    load_columns(conn, measurements, {"slot_id": ids, **columns})
