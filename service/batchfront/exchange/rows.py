"""The rows of a CSV or JSON file that somebody else wrote, as texts by column.

Whatever can't be meant raises UsageError in one line with the file and the line, or the entry of a
JSON list.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from batchfront.errors import UsageError
from batchfront.exchange.json_text import read_json, require_storable
from batchfront.workload.definition import LONGEST_NAME

LARGEST = 2**31 - 1
"""The largest number that most columns of the tables hold, Optuna's too."""

VERY_LARGE = 2**63 - 1
"""The largest that any holds."""

_DIGITS = 30  # of a number as text, and its exponent's size: beyond, none can be meant


def read_rows(
    file: Path, check_columns: Callable[[str, set[str]], None]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its columns as text; those without a value are left out.

    check_columns -- raises UsageError for columns that a file can't have, given where they stand
    """
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
            check_columns(where, columns)
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
    for place, entry in enumerate(entries, 1):
        where = f"{file}, entry {place}"
        if not isinstance(entry, dict) or not all(isinstance(v, _PLAIN) for v in entry.values()):
            raise UsageError(f"{where}: must be an object of numbers and texts")
        yield where, {n: "" if v is None else str(v).strip() for n, v in entry.items()}


_PLAIN = (str, int, type(None))


def number(text: str) -> Fraction | None:
    """The number that a text is; None if it is none, or not finite."""
    try:
        read = Decimal(text)
    except InvalidOperation:
        return None
    sized = read.is_finite() and len(text) <= _DIGITS and abs(read.adjusted()) <= _DIGITS
    return Fraction(read) if sized else None


def whole(
    where: str,
    row: Mapping[str, str],
    name: str,
    low: int,
    default: int = -1,
    most: int = LARGEST,
) -> int:
    """A column as a whole number, from `low` to `most`; `default`, unless it is -1, where the row
    has none."""
    text = row.get(name)
    if text is None and default >= 0:
        return default
    read = number(text or "")
    if read is None or read.denominator != 1 or not low <= read <= most:
        limit = f"from {low} to {most}" if read is not None and read > most else f"{low} or more"
        raise UsageError(f"{where}: {name} {text or ''!r} must be a whole number, {limit}")
    return int(read)


def check_workload(where: str, row: Mapping[str, str]) -> str:
    """The workload that a row names. Raises UsageError for a text that is no such name."""
    workload = row.get("workload", "")
    if not workload or workload.startswith("/") or workload.endswith("/"):
        raise UsageError(f"{where}: workload {workload!r}: write a name, such as mnist/cnn/sgd")
    return workload


def check_lengths(where: str, row: Mapping[str, str], limits: Mapping[str, int]) -> None:
    """Raise UsageError for a name that is longer than databases keep.

    limits -- by column whose values are names, the most characters that one has
    """
    names = [(row.get(column, ""), limit) for column, limit in limits.items()]
    for name, limit in (*names, *((name, LONGEST_NAME) for name in row)):
        if len(name) > limit:
            raise UsageError(
                f"{where}: {name[:60]!r}… has {len(name)} characters; a name has {limit} at most"
            )
