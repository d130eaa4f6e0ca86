"""Steps that were measured elsewhere, as a CSV or JSON file says them.

Published numbers come as steps, as epochs or as samples, one a seed or their mean. Whatever can't
be meant raises UsageError in one line with the file and the line, or the entry of a JSON list.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

from batchfront.errors import UsageError
from batchfront.exchange.json_text import read_json, require_storable
from batchfront.frontier.curve.text import count
from batchfront.median import exact
from batchfront.workload.definition import LONGEST_NAME
from batchfront.workload.metric_fields import LONGEST_NAME as LONGEST_METRIC
from batchfront.workload.search_space import Value

_AMOUNTS = ("steps", "epochs", "samples", "examples")  # the last two are the same

_OTHERS = (
    *("workload", "batch_size", "seed", "steps_lower"),
    *("goal", "metric", "train_examples", "learning_rate"),
)

LARGEST = 2**31 - 1
"""The largest number that most columns of the tables hold, Optuna's too."""

_LARGE = 2**63 - 1  # the largest that any holds

_DIGITS = 30  # of a number as text, and its exponent's size: beyond, none can be meant


@dataclass(frozen=True)
class Measured:
    """The steps that one training run needed; None if it did not reach its goal.

    steps_lower    -- the last step known at which the goal was missed; None: not said
    seed           -- without one, its place among its equals
    goal           -- METRIC<VALUE, or any text; empty: not said
    train_examples -- in the training set; 0: not said
    """

    where: str
    workload: str
    batch_size: int
    seed: int
    steps: float | None
    steps_lower: float | None
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
    if train_examples is not None and train_examples > _LARGE:
        raise UsageError(f"--train-examples {train_examples}: must be at most {_LARGE}")
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
    except UnicodeDecodeError:
        raise UsageError(f"{file}: must be text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
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
        if len(header) == 1 and {";", "\t"} & set(header[0]):
            raise UsageError(f"{file}, line 1: columns must be separated by commas")
        for name in header:
            require_storable(name)
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise UsageError(f"{file}, line 1: column {min(twice)} stands twice")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if row and len(row) != len(header):
                raise UsageError(f"{where}: {len(row)} columns, where the header has {len(header)}")
            for text in row:
                require_storable(text)
            if row:
                yield where, {n: v.strip() for n, v in zip(header, row, strict=True)}
    except (csv.Error, ValueError) as error:
        raise UsageError(f"{file}, line {reader.line_num}: {error}") from None


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        entries = read_json(text, parse_float=str, parse_constant=str)
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
    if not columns & set(_AMOUNTS):
        raise UsageError(f"{where}: needs a column of steps, epochs, samples or examples")


def _measured(
    where: str,
    row: Mapping[str, str],
    train_examples: int | None,
    unseeded: dict[tuple[str, int], int],
) -> Measured:
    workload = row.get("workload", "")
    if not workload or workload.startswith("/") or workload.endswith("/"):
        raise UsageError(f"{where}: workload {workload!r}: write a name, such as mnist/cnn/sgd")
    _check_lengths(where, row)
    batch_size = _whole(where, row, "batch_size", 1)
    if "seed" in row:
        seed = _whole(where, row, "seed", 0, most=_LARGE)
    else:
        seed = unseeded.get((workload, batch_size), 0)
        unseeded[workload, batch_size] = seed + 1
    examples = _whole(where, row, "train_examples", 1, train_examples or 0, most=_LARGE)
    steps = _steps(where, row, batch_size, examples)
    lower = _steps_lower(where, row, steps)
    params = {n.removeprefix("param:"): _value(v) for n, v in row.items() if _is_param(n)}
    goal, metric = row.get("goal", ""), row.get("metric", "")
    return Measured(where, workload, batch_size, seed, steps, lower, goal, metric, examples, params)


def _check_lengths(where: str, row: Mapping[str, str]) -> None:
    """Raise UsageError for a name that is longer than databases keep."""
    limits = {"workload": LONGEST_NAME, "metric": LONGEST_METRIC}
    names = [(row.get(column, ""), limit) for column, limit in limits.items()]
    for name, limit in (*names, *((name, LONGEST_NAME) for name in row)):
        if len(name) > limit:
            raise UsageError(
                f"{where}: {name[:60]!r}… has {len(name)} characters; a name has {limit} at most"
            )


def _is_param(name: str) -> bool:
    return name == "learning_rate" or name.startswith("param:")


def _number(text: str) -> Fraction | None:
    """The number that a text is; None if it is none, or not finite."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    sized = number.is_finite() and len(text) <= _DIGITS and abs(number.adjusted()) <= _DIGITS
    return Fraction(number) if sized else None


def _whole(
    where: str,
    row: Mapping[str, str],
    name: str,
    low: int,
    default: int = -1,
    most: int = LARGEST,
) -> int:
    text = row.get(name)
    if text is None and default >= 0:
        return default
    number = _number(text or "")
    if number is None or number.denominator != 1 or not low <= number <= most:
        limit = (
            f"from {low} to {most}" if number is not None and number > most else f"{low} or more"
        )
        raise UsageError(f"{where}: {name} {text or ''!r} must be a whole number, {limit}")
    return int(number)


def _steps(where: str, row: Mapping[str, str], batch_size: int, examples: int) -> float | None:
    """Steps to the goal, of whichever amount the row states; None if it was not reached."""
    stated = [name for name in _AMOUNTS if name in row]
    if len(stated) > 1:
        raise UsageError(
            f"{where}: has {' and '.join(f'{name} {row[name]}' for name in stated)}; state one of "
            "them and leave the others empty"
        )
    if not stated or row[stated[0]].lower() in ("nan", "inf", "+inf", "infinity"):
        return None
    name = stated[0]
    amount = _number(row[name])
    if amount is None or amount <= 0 or (name == "steps" and amount < 1):
        least = "of 1 or more" if name == "steps" else "above 0"
        raise UsageError(
            f"{where}: {name} {row[name]!r} must be a number {least}, without separators of "
            "thousands, or empty if the goal was not reached"
        )
    if name == "epochs":
        if not examples:
            raise UsageError(f"{where}: epochs need train_examples, a column or --train-examples N")
        amount *= examples
    # What a computer wrote as 12.000000000000002 epochs is meant as 12.
    steps = (
        exact(float(amount))
        if name == "steps"
        else math.ceil(amount / batch_size * (1 - Fraction(1, 10**12)))
    )
    if steps > LARGEST:
        raise UsageError(f"{where}: {row[name]} {name} are more than can be stored")
    return steps


def _steps_lower(where: str, row: Mapping[str, str], steps: float | None) -> float | None:
    """The last step at which the goal was missed; of a run that never reached it, its last."""
    if "steps_lower" not in row:
        return None
    lower = _number(row["steps_lower"])
    if lower is None or not 0 <= lower <= LARGEST or (steps is not None and lower >= steps):
        below = "" if steps is None else f" and below the steps, {count(steps)}"
        raise UsageError(
            f"{where}: steps_lower {row['steps_lower']!r} must be a number of 0 or more{below}"
        )
    return exact(float(lower))


def _value(text: str) -> Value:
    """A metaparameter as the number that it is written as, or else as text."""
    for kind in (int, float):
        try:
            value: Any = kind(text)
            return value if math.isfinite(value) else text
        except (OverflowError, ValueError):
            continue
    return text
