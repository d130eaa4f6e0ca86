"""What an export says, checked before any of it is stored.

An export may come from anybody. What could not be stored, or would be left out as soon as it was
(`batchfront.study.flaws`), is refused in one line, which names the file, the row and the column.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute
from sqlalchemy import Table

from batchfront.errors import DataError
from batchfront.exchange.json_text import read_json
from batchfront.exchange.tables import exported
from batchfront.store import schema
from batchfront.store.columns import unfit
from batchfront.store.optuna_tables import check_study_attributes, check_trial
from batchfront.study.flaws import Flaw, check_study, trial_flaw
from batchfront.vocabulary import SlotState
from batchfront.workload.search_space import SearchSpace

_SPLITS = ("train", "validation", "test")

_LARGEST = 2**31 - 1

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A row of a table's file, from 1."""

    path: Path
    row: int

    def refuse(self, wrong: str) -> DataError:
        """The error of this row, in one line."""
        return DataError(f"{self.path}, row {self.row}: {wrong}")


def check_study_row(place: Place, row: Row) -> SearchSpace:
    """Raise DataError for a row of the studies that can't be taken. Returns its search space."""
    check_columns(place, schema.studies, row)
    check_json(place, row, ("identity", "extensions"))
    check_json(place, row, ("optuna",), check_study_attributes)
    if not row["name"].startswith(f"{row['workload']}/"):
        raise place.refuse(f"name: {row['name']!r} doesn't begin with its workload")
    try:
        check_study({**row, "extensions": None})
    except Flaw as flaw:
        raise place.refuse(f"identity: {flaw}") from None
    try:
        return check_study(row)
    except Flaw as flaw:
        raise place.refuse(f"extensions: {flaw}") from None


def check_trial_rows(rows: Sequence[tuple[Place, Row]], space: SearchSpace) -> set[int]:
    """Raise DataError for rows of a study's trials that can't be taken. Returns their numbers."""
    numbers: set[int] = set()
    for place, row in rows:
        check_columns(place, schema.slots, row)
        check_json(place, row, ("params", "versions"))
        check_json(place, row, ("optuna",), check_trial)
        if row["state"] == SlotState.LEASED:
            raise place.refuse(f"state: {row['state']!r}, which no trial of an export is")
        flaw = trial_flaw(row, space)
        if flaw is not None:
            raise place.refuse(flaw)
        if row["number"] in numbers:
            raise place.refuse(f"number: trial {row['number']} stands twice in its study")
        numbers.add(row["number"])
    return numbers


def check_columns(place: Place, table: Table, row: Row) -> None:
    """Raise DataError for a row with a value that its column can't hold."""
    for name in exported(table):
        wrong = unfit(table.c[name], row[name])
        if wrong is not None:
            raise place.refuse(f"{name}: {wrong}")


def check_json(
    place: Place, row: Row, names: Sequence[str], check: Callable[[Any], None] | None = None
) -> None:
    """Raise DataError for columns that hold something else than JSON, or what `check`, with a
    ValueError, says is wrong."""
    for name in names:
        if row[name] is None:
            continue
        try:
            read = read_json(row[name])
            if check is not None:
                check(read)
        except ValueError as error:
            raise place.refuse(f"{name}: {error}") from None


def check_measurements(pieces: Iterable[tuple[Place, Any]], numbers: set[int]) -> None:
    """Raise DataError for measurements of a study's trials that can't be taken.

    pieces  -- of the table, each with the place of its first row
    numbers -- of the study's trials
    """
    known = pa.array(sorted(numbers), pa.int64())
    keys: list[Any] = []
    for place, piece in pieces:
        for name, (fits, why) in _fitting(piece, known).items():
            if not fits.all():
                at = int(fits.argmin())
                value = piece.column(name)[at].as_py()
                where = Place(place.path, place.row + at)
                raise where.refuse(f"{name}: {value!r} {why}")
        keys.append(piece.select(_KEY))
        table = pa.Table.from_batches(keys)
        if table.group_by(_KEY).aggregate([]).num_rows < table.num_rows:
            row = piece.column("number")[0].as_py()
            raise place.refuse(f"{', '.join(_KEY)}: one stands twice in trial {row} or after it")


_KEY = ["number", "step", "split", "metric"]


def _fitting(piece: Any, known: Any) -> dict[str, tuple[NDArray[np.bool_], str]]:
    """By column of measurements which of their values can be taken, and why others can't."""
    step, value, metric = (piece.column(name) for name in ("step", "value", "metric"))
    length = compute.utf8_length(metric)
    named = compute.and_(compute.less_equal(length, 64), compute.greater(length, 0))
    plain = compute.invert(compute.match_substring(metric, "\0"))
    in_range = compute.and_(compute.greater_equal(step, 0), compute.less_equal(step, _LARGEST))
    is_split = compute.is_in(piece.column("split"), value_set=pa.array(_SPLITS))
    return {
        "number": (_true(compute.is_in(piece.column("number"), value_set=known)), "is no trial"),
        "step": (_true(in_range), f"must be a whole number from 0 to {_LARGEST}"),
        "split": (_true(is_split), f"must be one of {', '.join(_SPLITS)}"),
        "metric": (_true(compute.and_(named, plain)), "must be a name of 1 to 64 characters"),
        "value": (_true(compute.is_finite(value), empty=True), "must be a finite number, or empty"),
    }


def _true(found: Any, *, empty: bool = False) -> NDArray[np.bool_]:
    """Where it is so; `empty` says whether it is where there is no value."""
    filled = compute.fill_null(found, empty)
    return np.asarray(filled.to_numpy(zero_copy_only=False), bool)
