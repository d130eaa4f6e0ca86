"""What commands print: one printer each for a terminal, CSV and JSON."""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from batchfront.cli.output.lines import put_json, shown, shown_lines, warn
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.frontier import Frontier
from batchfront.printable import LINES, printable
from batchfront.table import Table, as_it_is, as_no_formula

AS_RECORDS = ("csv", "spreadsheet")
"""Formats that print records."""

_WORDS = 10  # characters that a column of words keeps on a narrow terminal


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


def view(tables: Sequence[Table]) -> Group:
    """Tables as they stand on a terminal, one below the other: one without a title is set off by an
    empty line."""
    parts: list[RenderableType] = []
    for table in tables:
        if table.title or (table.columns and parts):
            parts.append(Text(f"\n{shown(table.title)}\n" if table.title else ""))
        parts += [drawn(table)] if table.columns else []
        parts += [Text(shown_lines(note)) for note in table.notes]
    return Group(*parts)


def drawn(table: Table) -> RichTable:
    """A table's columns and rows as they stand on a terminal. Where that is narrow, titles and
    words are folded; a number, or a name, is never cut."""
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    rows = [list(map(shown, row)) for row in table.cells()]
    for number, column in enumerate(table.columns):
        title = shown(column.title)
        widest = max((cell_len(row[number]) for row in rows), default=0)
        least = min(widest, _WORDS) if column.words else widest
        least = max(least, *map(cell_len, title.split()), 0)
        side: JustifyMethod = "left" if column.words else "right"
        made.add_column(title, justify=side, min_width=least, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


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
    # Piped, a table must not be folded to a terminal's width that isn't there.
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 400
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width
    )
