"""A tabular result: columns, rows of plain values and notes, for whatever prints them.

A terminal, CSV and the page each have one printer for it, so that who finds something says it once
and knows none of them.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

FORMULA = r"[ \t\r\n\v\f]*['=+\-@＝＋－＠]|[\t\r\n]"
"""How a cell begins that a spreadsheet may take for a formula, or with the apostrophe that keeps it
from doing so. Python and Arrow read this pattern alike, as they do NUMBER."""

NUMBER = r"[+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?"
"""The whole of a cell that is a number, from which no spreadsheet computes anything."""


def as_no_formula(cell: str) -> str:
    """A cell with an apostrophe before it where a spreadsheet may take it for a formula, or where
    it begins with one: so that one taken off again gives what it was. Numbers are left alone."""
    taken = re.match(FORMULA, cell) and not re.fullmatch(NUMBER, cell)
    return f"'{cell}" if taken else cell


NOTHING = "–"
"""Stands where there is no value."""


def as_it_is(value: Any) -> str:
    """A value as text; of text that knows what it is, such as HTML, the same."""
    return value if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    shown -- how a value is written for a person; where there is none, NOTHING is
    words -- it holds words, which stand to the left; numbers stand to the right
    """

    title: str
    shown: Callable[[Any], str] = as_it_is
    words: bool = False

    def cell(self, value: Any) -> str:
        """A value of this column for a person."""
        return NOTHING if value is None else self.shown(value)


@dataclass(frozen=True)
class Table:
    """Rows of plain values, one for each column; a title above and sentences below."""

    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Any]] = ()
    title: str = ""
    notes: Sequence[str] = ()

    def cells(self) -> Iterator[list[str]]:
        """Its rows for a person."""
        for row in self.rows:
            yield [column.cell(value) for column, value in zip(self.columns, row, strict=True)]

    def filled(self) -> "Table":
        """Leave out the columns in which no row has a value."""
        kept = [n for n in range(len(self.columns)) if any(row[n] is not None for row in self.rows)]
        rows = [tuple(row[n] for n in kept) for row in self.rows]
        return replace(self, columns=[self.columns[n] for n in kept], rows=rows)


def of_records(records: Sequence[Mapping[str, Any]]) -> Table:
    """A table of records which all have the same fields; without any, one without columns."""
    names = tuple(records[0]) if records else ()
    return Table(tuple(map(Column, names)), [tuple(record.values()) for record in records])


def by_batch_size(
    first: Column, series: Sequence[tuple[Column, Mapping[int, Any]]]
) -> tuple[tuple[Column, ...], list[tuple[Any, ...]]]:
    """Columns and rows of a table with a row for each batch size and a column for each series, in
    which some may be missing; `first` is that of the batch sizes."""
    sizes = sorted({batch_size for _, values in series for batch_size in values})
    rows = [(size, *(values.get(size) for _, values in series)) for size in sizes]
    return (first, *(column for column, _ in series)), rows
