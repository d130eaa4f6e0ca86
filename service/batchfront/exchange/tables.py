"""The tables of an export as files: Parquet or CSV, written and read in pieces."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from pyarrow import compute, csv, parquet
from sqlalchemy import Column, Float, Integer, Table

from batchfront.errors import DataError
from batchfront.exchange.json_text import read_json
from batchfront.store import schema
from batchfront.table import FORMULA, NUMBER

FORMATS = {"parquet": "parquet", "csv": "csv", "spreadsheet": "csv"}
"""What an export can be written as, to the ending of its files. In a CSV for spreadsheets an
apostrophe stands before each text that would be a formula, and is taken off when it is read."""

MANIFEST = "export.json"
"""Written last: a folder without it holds no whole export."""

_VERSION = 1  # of the tables below

_ROWS = 100_000  # in a piece, and in a row group

_BYTES = 1 << 23  # in a row group, of long texts

_BLOCK = 1 << 25  # bytes of CSV read at once, which no row may exceed

_HERE: Mapping[str, Set[str]] = {  # what belongs to one database, and to workers at work with it
    "bf_studies": {"id", "checksums"},
    "bf_slots": {
        *("id", "study_id", "trial_id", "worker_id", "fence"),
        *("attempts", "deaths", "failed_by", "failed_at"),
    },
    "bf_measurements": {"slot_id"},
    "bf_timings": set(),
    "bf_probes": {"id"},
}

_SINCE = {"precision", "seed", "round", "max_trials", "until", "settled", "stopped_by"}
"""Columns that an export of an earlier batchfront lacks: empty then."""

_TABLES_SINCE = {"timings", "probes"}
"""Tables that such an export lacks, and its manifest doesn't name."""


def exported(table: Table) -> list[str]:
    """The columns of a table of ours that an export holds."""
    return [column.name for column in table.c if column.name not in _HERE[table.name]]


def _fields(table: Table) -> list[tuple[str, Any]]:
    return [(name, _arrow(table.c[name])) for name in exported(table)]


def _arrow(column: Column[Any]) -> Any:
    if isinstance(column.type, Integer):
        return pa.int64()
    return pa.float64() if isinstance(column.type, Float | schema.Steps) else pa.string()


SCHEMAS: Mapping[str, Any] = {
    "studies": pa.schema([*_fields(schema.studies), ("optuna", pa.string())]),
    "trials": pa.schema([("study", pa.string()), *_fields(schema.slots), ("optuna", pa.string())]),
    "measurements": pa.schema(
        [("study", pa.string()), ("number", pa.int64()), *_fields(schema.measurements)]
    ),
    "frontier": pa.schema(
        [
            *((name, pa.string()) for name in ("workload", "goal", "purpose")),
            *((name, pa.int64()) for name in ("batch_size", "train_examples")),
            *((name, pa.float64()) for name in ("steps", "steps_lower")),
            *((name, pa.int64()) for name in ("examples", "trial", "trials")),
            *((name, pa.string()) for name in ("params", "outcomes")),
            ("code_version", pa.int64()),
        ]
    ),
    "timings": pa.schema(_fields(schema.timings)),
    "probes": pa.schema(_fields(schema.probes)),
}
"""Table to its columns. `optuna` is JSON: what Optuna keeps of a study, or of a trial."""

FILES = frozenset(
    {MANIFEST, *(f"{name}.{ending}" for name in SCHEMAS for ending in FORMATS.values())}
)
"""The names of all files that an export may have."""

Columns = Mapping[str, Sequence[Any]]


def path_of(folder: Path, name: str, format_: str) -> Path:
    """Where a table of an export stands."""
    return folder / f"{name}.{FORMATS[format_]}"


def _texts(change: Callable[[Any], Any], table: Any) -> Any:
    """A table, or a batch of it, with all columns of text changed."""
    is_text = [pa.types.is_string(field.type) for field in table.schema]
    columns = [change(c) if text else c for c, text in zip(table.columns, is_text, strict=True)]
    return type(table).from_arrays(columns, schema=table.schema)


def _quoted(column: Any) -> Any:
    """A column of text as `batchfront.table.as_no_formula` has its cells."""
    begins = compute.match_substring_regex(column, f"^(?:{FORMULA})")
    is_number = compute.match_substring_regex(column, f"^(?:{NUMBER})$")
    taken = compute.and_not(begins, is_number)
    quoted = compute.binary_join_element_wise(pa.scalar("'"), column, pa.scalar(""))
    return compute.if_else(taken, quoted, column)


def _unquoted(column: Any) -> Any:
    return compute.replace_substring_regex(column, "^'", "")


class TableFile:
    """A table that is being written, as a context; rows are kept until they make a piece."""

    def __init__(self, folder: Path, name: str, format_: str) -> None:
        self._schema = SCHEMAS[name]
        self._for_spreadsheets = format_ == "spreadsheet"
        path = path_of(folder, name, format_)
        if format_ == "parquet":
            self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        else:
            self._writer = csv.CSVWriter(path, self._schema)
        self._kept: list[Any] = []
        self.rows = 0

    def __enter__(self) -> "TableFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, unless an error ends it: a full disk would only say so again."""
        if kind is None:
            self._flush()
            self._writer.close()
            return
        with suppress(OSError, pa.ArrowException):
            self._writer.close()

    def write(self, columns: Columns) -> None:
        """Append rows, by column."""
        table = pa.table(dict(columns), self._schema)
        self._kept.append(table)
        self.rows += table.num_rows
        rows = sum(part.num_rows for part in self._kept)
        if rows >= _ROWS or sum(part.nbytes for part in self._kept) >= _BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._kept:
            table = pa.concat_tables(self._kept).combine_chunks()
            self._writer.write_table(_texts(_quoted, table) if self._for_spreadsheets else table)
            self._kept = []


def by_column(name: str, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows of a table as its columns."""
    return {column: [row[column] for row in rows] for column in SCHEMAS[name].names}


def by_row(columns: Columns) -> list[dict[str, Any]]:
    """Columns of a table as its rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def pieces(folder: Path, name: str, format_: str) -> Iterator[Any]:
    """A table as Arrow's record batches. Raises DataError if the file is not what it must be."""
    path, wanted = path_of(folder, name, format_), SCHEMAS[name]
    with _named(path):
        if format_ == "parquet":
            with parquet.ParquetFile(path) as file:
                _check(path, file.schema_arrow.names, wanted)
                yield from (_whole(batch, wanted) for batch in file.iter_batches(_ROWS))
            return
        options = csv.ConvertOptions(
            column_types=wanted,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            include_columns=wanted.names,
            include_missing_columns=True,
        )
        parse, block = csv.ParseOptions(newlines_in_values=True), csv.ReadOptions(block_size=_BLOCK)
        with csv.open_csv(path, block, parse, options) as reader:
            with path.open("rb") as file:
                header = csv.open_csv(file, block, parse).schema.names
            _check(path, header, wanted)
            for batch in reader:
                yield _texts(_unquoted, batch) if format_ == "spreadsheet" else batch


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: is missing") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None


def _check(path: Path, names: Sequence[str], wanted: Any) -> None:
    missing = [name for name in wanted.names if name not in names and name not in _SINCE]
    if missing or not set(names) <= set(wanted.names):
        there = f"lacks the column {missing[0]}" if missing else "has columns that are unknown"
        raise DataError(f"{path}: {there}; it is no export of this batchfront")


def _whole(batch: Any, wanted: Any) -> Any:
    for name in _SINCE.intersection(wanted.names).difference(batch.schema.names):
        batch = batch.append_column(name, pa.nulls(len(batch), wanted.field(name).type))
    return batch.select(wanted.names).cast(wanted)


def write_manifest(
    folder: Path,
    format_: str,
    version: str,
    rows: Mapping[str, int],
    left_out: Sequence[str],
) -> None:
    """Say that the export is whole, in which format, and what it leaves out, if anything."""
    about = {"version": _VERSION, "batchfront": version, "format": format_, "rows": dict(rows)}
    about |= {"left_out": list(left_out)} if left_out else {}
    (folder / MANIFEST).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> tuple[str, dict[str, int]]:
    """The format of the export in a folder, and how many rows the tables have that it holds."""
    path = folder / MANIFEST
    try:
        about = read_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: is missing, so {folder} holds no whole export") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: is damaged: {error}") from None
    if not isinstance(about, dict) or not {"version", "format", "rows"} <= about.keys():
        raise DataError(f"{path}: is damaged: it must say version, format and rows")
    if about["version"] != _VERSION or about["format"] not in [*FORMATS]:
        raise DataError(f"{path}: was written by batchfront {about.get('batchfront')}, another one")
    rows = about["rows"]
    counted = isinstance(rows, dict) and {*rows, *_TABLES_SINCE} == {*SCHEMAS}
    if not counted or not all(isinstance(number, int) and number >= 0 for number in rows.values()):
        raise DataError(f"{path}: is damaged: rows must be numbers of {', '.join(SCHEMAS)}")
    return about["format"], rows
