"""What commands print: one printer each for a terminal, CSV and JSON."""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from batchfront.cli.output.lines import put_json, shown, shown_lines, warn
from batchfront.cli.streams import width_of
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.frontier import Frontier
from batchfront.printable import LINES, printable
from batchfront.table import Table, as_it_is, as_no_formula
from batchfront.table_text import drawn
from batchfront.wrapping import wrapped

AS_RECORDS = ("csv", "spreadsheet")
"""Formats that print records."""

_FOLDED: dict[str, Any] = {"no_wrap": False, "overflow": "fold"}

_ENDLESS = 1_000_000  # columns of what is no terminal, where nothing is folded


@dataclass(frozen=True)
class Output:
    """What a command has found: tables for a person, records for CSV, plain data for JSON."""

    tables: Sequence[Table]
    records: Table
    plain: Any


def print_output(output: Output, format_: str) -> None:
    """Print as `table`, `json`, `csv` or `spreadsheet`."""
    if format_ == "json":
        print_json(output.plain)
    elif format_ in AS_RECORDS:
        print_csv(output.records, as_no_formula if format_ == "spreadsheet" else as_it_is)
    else:
        print_tables(output.tables)


def print_json(plain: Any) -> None:
    """Print plain data, a dataclass of it, or a list of these."""
    put_json(plain, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is no plain data")


def print_csv(records: Table, cell: Callable[[str], str] = as_it_is) -> None:
    """Print a header and a line for each row; nothing of a table without columns. What can't be
    seen in a name is written as in tables; JSON, and the files of an export, have it exactly.

    cell -- how a text is written
    """
    if records.columns:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([cell(printable(column.title)) for column in records.columns])
        for row in records.rows:
            writer.writerow([cell(printable(x, LINES)) if isinstance(x, str) else x for x in row])


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables for a person, each under its title and above its notes."""
    console_for_output().print(view(tables))


def view(tables: Sequence[Table], *, in_place: bool = False) -> Group:
    """Tables as they stand on a terminal, one below the other: one without a title is set off by an
    empty line.

    in_place -- it will be drawn over, so that no line may go on at the terminal's next one
    """
    parts: list[RenderableType] = []
    for table in tables:
        if table.title or (table.columns and parts):
            parts.append(Note(f"\n{shown(table.title)}\n" if table.title else "", in_place))
        parts += [Drawn(table, in_place)] if table.columns else []
        parts += [Note(note, in_place) for note in table.notes]
    return Group(*parts)


@dataclass(frozen=True)
class Note:
    """A sentence, folded between words; a command in it, which is to be copied, is left whole."""

    text: str
    in_place: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in wrapped(shown_lines(self.text), options.max_width):
            yield _as_text(line, in_place=self.in_place)


@dataclass(frozen=True)
class Drawn:
    """A table's columns and rows, as there is room for them."""

    table: Table
    in_place: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in drawn(self.table, options.max_width, shown):
            yield _as_text(line.text, "bold" if line.head else "", in_place=self.in_place)


def _as_text(line: str, style: str = "", *, in_place: bool) -> Text:
    return Text(line, style, **(_FOLDED if in_place else {}))


def warn_of_mixed_code(frontier: Frontier) -> None:
    """Say on standard error, beside numbers for a machine, if they mix versions of the code."""
    said = mixed(frontier)
    if said is not None:
        warn(f"{frontier.workload}: {said}")


def console_for_output() -> Console:
    """Standard output, for tables."""
    return _console(stderr=False)


def console_for_errors() -> Console:
    """Standard error, for tables beside the output."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    width = width_of(sys.stderr if stderr else sys.stdout) or _ENDLESS
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width
    )
