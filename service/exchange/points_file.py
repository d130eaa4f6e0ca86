"""Steps that were measured elsewhere, as a CSV or JSON file says them.

Published numbers come as steps, as epochs or as samples, one a seed or one in all. Whatever can't
be meant raises UsageError in one line with the file and the line, or the entry of a JSON list.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from service.errors import UsageError
from service.search_space import Value

_AMOUNTS = ("steps", "epochs", "samples", "examples")  # the last two are the same
_OTHERS = ("workload", "batch_size", "seed", "goal", "metric", "train_examples", "learning_rate")
_LARGEST = 2**31 - 1  # what the tables hold


@dataclass(frozen=True)
class Measured:
    """The steps that one training run needed; None if it did not reach its goal.

    seed           -- also the number of its trial; without one, its place among its equals
    goal           -- METRIC<VALUE, or any text; empty: not said
    train_examples -- in the training set; 0: not said
    """

    where: str
    workload: str
    batch_size: int
    seed: int
    steps: int | None
    goal: str
    metric: str
    train_examples: int
    params: Mapping[str, Value]

    @property
    def of(self) -> tuple[str, int, int]:
        """What it is a measurement of: no file may hold two."""
        return self.workload, self.batch_size, self.seed


def read_points(file: Path, train_examples: int | None = None) -> list[Measured]:
    """All measurements of a file, in its order.

    train_examples -- in the training set, of rows that don't say it
    """
    found: list[Measured] = []
    first: dict[tuple[str, int, int], str] = {}
    unseeded: dict[tuple[str, int], int] = {}
    for where, row in _rows(file):
        measured = _measured(where, row, train_examples, unseeded)
        if measured.of in first:
            workload, batch_size, seed = measured.of
            raise UsageError(
                f"{where}: {workload} at batch size {batch_size}, seed {seed}, is there already, "
                f"in {first[measured.of]}"
            )
        first[measured.of] = where
        found.append(measured)
    if not found:
        raise UsageError(f"{file}: holds no measurement")
    return found


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its columns as text; those without a value are left out."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    entries = _json_rows if file.suffix == ".json" else _csv_rows
    columns: set[str] | None = None
    for where, row in entries(file, text):
        if columns is None or columns != set(row):
            columns = set(row)
            _check_columns(where, columns)
        yield where, {name: value for name, value in row.items() if value != ""}


def _csv_rows(file: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise UsageError(f"{file}, line 1: column {min(twice)} stands twice")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if row and len(row) != len(header):
                raise UsageError(f"{where}: {len(row)} columns, where the header has {len(header)}")
            if row:
                yield where, {n: v.strip() for n, v in zip(header, row, strict=True)}
    except csv.Error as error:
        raise UsageError(f"{file}, line {reader.line_num}: {error}") from None


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        entries = json.loads(text, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from None
    if not isinstance(entries, list):
        raise UsageError(f"{file}: must be a list of objects, one a measurement")
    for number, entry in enumerate(entries, 1):
        where = f"{file}, entry {number}"
        if not isinstance(entry, dict) or not all(isinstance(v, _PLAIN) for v in entry.values()):
            raise UsageError(f"{where}: must be an object of numbers and texts")
        yield where, {n: "" if v is None else str(v).strip() for n, v in entry.items()}


_PLAIN = (str, int, type(None))


def _check_columns(where: str, columns: set[str]) -> None:
    known = {*_AMOUNTS, *_OTHERS}
    unknown = sorted(n for n in columns if n not in known and not n.startswith("param:"))
    if unknown:
        raise UsageError(
            f"{where}: unknown column {unknown[0]!r}; there are {', '.join((*_OTHERS, *_AMOUNTS))} "
            "and param:NAME for any other metaparameter"
        )
    missing = [name for name in ("workload", "batch_size") if name not in columns]
    if missing:
        raise UsageError(f"{where}: lacks the column {missing[0]}")
    amounts = [name for name in _AMOUNTS if name in columns]
    if len(amounts) != 1:
        raise UsageError(
            f"{where}: needs one column of steps, epochs, samples or examples, and has "
            f"{' and '.join(amounts) or 'none'}"
        )


def _measured(
    where: str,
    row: Mapping[str, str],
    train_examples: int | None,
    unseeded: dict[tuple[str, int], int],
) -> Measured:
    workload = row.get("workload", "")
    if not workload or workload.startswith("/") or workload.endswith("/"):
        raise UsageError(f"{where}: workload {workload!r}: write a name, such as mnist/cnn/sgd")
    batch_size = _whole(where, row, "batch_size", 1)
    if "seed" in row:
        seed = _whole(where, row, "seed", 0)
    else:
        seed = unseeded.get((workload, batch_size), 0)
        unseeded[workload, batch_size] = seed + 1
    examples = _whole(where, row, "train_examples", 1, train_examples or 0)
    steps = _steps(where, row, batch_size, examples)
    params = {n.removeprefix("param:"): _value(v) for n, v in row.items() if _is_param(n)}
    goal, metric = row.get("goal", ""), row.get("metric", "")
    return Measured(where, workload, batch_size, seed, steps, goal, metric, examples, params)


def _is_param(name: str) -> bool:
    return name == "learning_rate" or name.startswith("param:")


def _whole(where: str, row: Mapping[str, str], name: str, low: int, default: int = -1) -> int:
    text = row.get(name)
    if text is None and default >= 0:
        return default
    try:
        number = Fraction(text or "")
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number.denominator != 1 or not low <= number <= _LARGEST:
        raise UsageError(f"{where}: {name} {text or ''!r} must be a whole number, {low} or more")
    return int(number)


def _steps(where: str, row: Mapping[str, str], batch_size: int, examples: int) -> int | None:
    """Steps to the goal, of whichever amount the row states; None if it was not reached."""
    name = next((name for name in _AMOUNTS if name in row), None)
    if name is None or row[name].lower() in ("nan", "inf", "+inf", "infinity"):
        return None
    try:
        amount = Fraction(row[name])
    except (ValueError, ZeroDivisionError):
        amount = Fraction(0)
    if amount <= 0:
        raise UsageError(
            f"{where}: {name} {row[name]!r} must be a number above 0, or empty if the goal was "
            "not reached"
        )
    if name == "epochs":
        if not examples:
            raise UsageError(f"{where}: epochs need train_examples, a column or --train-examples N")
        amount *= examples
    if name == "steps" and amount.denominator != 1:
        raise UsageError(f"{where}: steps {row[name]!r} must be a whole number")
    # What a computer wrote as 12.000000000000002 epochs is meant as 12.
    exact = amount if name == "steps" else amount / batch_size * (1 - Fraction(1, 10**12))
    if exact > _LARGEST:
        raise UsageError(f"{where}: {row[name]} {name} are more than can be stored")
    return math.ceil(exact)


def _value(text: str) -> Value:
    """A metaparameter as the number that it is written as, or else as text."""
    for kind in (int, float):
        try:
            value: Any = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text
