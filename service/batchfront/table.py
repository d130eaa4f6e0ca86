"""A tabular result: columns, rows of plain values and notes, for whatever prints them.

A terminal, CSV and the page each have one printer for it, so that who finds something says it once
and knows none of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    whole -- no line is broken in its words: numbers with words between, or names to be copied
    names -- it holds names such as a/b/c, whose common beginning needn't stand in every row
    brief -- how a value is written where there is little room
    """

    title: str
    shown: Callable[[Any], str] = as_it_is
    words: bool = False
    whole: bool = False
    names: bool = False
    brief: "Brief | None" = None

    @property
    def folds(self) -> bool:
        """Whether its lines may be broken."""
        return self.words and not self.whole and not self.names

    def cell(self, value: Any) -> str:
        """A value of this column for a person."""
        return NOTHING if value is None else self.shown(value)


@dataclass(frozen=True)
class Brief:
    """How a column's values are abbreviated, and what that means.

    shown -- writes a value
    means -- explains the abbreviations of some values
    """

    shown: Callable[[Any], str]
    means: Callable[[Sequence[Any]], str]


@dataclass(frozen=True)
class Table:
    """Rows of plain values, one for each column; a title above and sentences below.

    keys     -- so many columns, the first, say what a row is about
    by_facts -- a row is a fact about what the columns beside the first are, and not a thing
    """

    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Any]] = ()
    title: str = ""
    notes: Sequence[str] = ()
    keys: int = 1
    by_facts: bool = False

    def cells(self) -> Iterator[list[str]]:
        """Its rows for a person."""
        for row in self.rows:
            yield [column.cell(value) for column, value in zip(self.columns, row, strict=True)]

    def filled(self) -> "Table":
        """Leave out the columns in which no row has a value."""
        kept = [n for n in range(len(self.columns)) if any(row[n] is not None for row in self.rows)]
        rows = [tuple(row[n] for n in kept) for row in self.rows]
        keys = max(sum(n < self.keys for n in kept), 1)
        return replace(self, columns=[self.columns[n] for n in kept], rows=rows, keys=keys)


def beside(others: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """The titles of columns of metaparameters, by their names, beside other columns: a name that
    one of those has is written `param:steps`, as files of points have it."""
    taken = set(others)
    return {name: f"param:{name}" if name in taken else name for name in names}


def of_records(records: Sequence[Mapping[str, Any]]) -> Table:
    """A table of records which all have the same fields; without any, one without columns."""
    names = tuple(records[0]) if records else ()
    return Table(tuple(map(Column, names)), [tuple(record.values()) for record in records])


def of_facts(facts: Mapping[str, str], title: str = "") -> Table:
    """A table of facts, each after what it is about, without titles of columns."""
    columns = (Column("", words=True, whole=True), Column("", words=True))
    return Table(columns, list(facts.items()), title)


def by_batch_size(
    first: Column, series: Sequence[tuple[Column, Mapping[int, Any]]]
) -> tuple[tuple[Column, ...], list[tuple[Any, ...]]]:
    """Columns and rows of a table with a row for each batch size and a column for each series, in
    which some may be missing; `first` is that of the batch sizes."""
    sizes = sorted({batch_size for _, values in series for batch_size in values})
    rows = [(size, *(values.get(size) for _, values in series)) for size in sizes]
    return (first, *(column for column, _ in series)), rows
