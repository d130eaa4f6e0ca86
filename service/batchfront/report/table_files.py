"""The tables of a page as files: CSV and JSON, in the page itself or beside it."""

import csv
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from math import isfinite
from typing import Any

from markupsafe import Markup

from batchfront.printable import LINES, printable
from batchfront.table import Table, as_no_formula

_KINDS = {"csv": "text/csv", "json": "application/json"}

_LINK = re.compile(rf'href="data:({"|".join(_KINDS.values())});base64,([^"]*)" download="([^"]*)"')
"""How the templates write a link to a file in the page. No text of others can look like it: quotes
are escaped."""


@dataclass(frozen=True)
class Cell:
    """A value that the page shows as HTML of its own, and that files have as it is."""

    plain: Any
    html: Markup

    @staticmethod
    def shown(cell: "Cell") -> Markup:
        """The HTML, for a column of such cells."""
        return cell.html


@dataclass(frozen=True)
class TableFile:
    """A file of a table: its name's ending, what is in it, and the kind of that."""

    ending: str
    content: str

    @property
    def kind(self) -> str:
        """The MIME type."""
        return _KINDS[self.ending]

    @property
    def address(self) -> Markup:
        """The file as a data URI."""
        return Markup(f"data:{self.kind};base64,{b64encode(self.content.encode()).decode()}")


Files = dict[str, TableFile]
"""The name of each file that stands beside a page to what is in it."""


def table_files(table: Table) -> tuple[TableFile, ...]:
    """A table as CSV, which a spreadsheet computes nothing from, and as JSON, a list of rows.

    Values are as they are, and not as they are written for a person, where they are plain.
    """
    titles, rows = plain_table(table)
    records = [dict(zip(titles, row, strict=True)) for row in rows]
    return (
        TableFile("csv", _csv([titles, *rows])),
        TableFile("json", _json(records)),
    )


def plain_table(table: Table) -> tuple[list[str], list[list[Any]]]:
    """The titles of a table, each another, and its rows as JSON can have them."""
    titles: list[str] = []
    for column in table.columns:
        title = text = _text(column.title) or "name"
        number = 2
        while title in titles:
            title, number = f"{text} {number}", number + 1
        titles.append(title)
    cells = zip(table.rows, table.cells(), strict=True)
    return titles, [list(map(_plain, row, shown)) for row, shown in cells]


def _plain(value: Any, shown: str) -> Any:
    """A value as JSON can have it; of one that is no plain one, what is shown of it."""
    if isinstance(value, Cell):
        return _plain(value.plain, value.html)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Markup)):
        return value
    return _text(shown)


def _text(shown: str) -> str:
    """What a reader sees of HTML, or of text, on one line."""
    return Markup(shown).striptags() if isinstance(shown, Markup) else shown


def _json(records: Sequence[dict[str, Any]]) -> str:
    """A list with a line for each record."""
    lines = (json.dumps(one, separators=(",", ":")) for one in records)
    return "[{}]\n".format(",\n".join(lines))


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(
            [as_no_formula(printable(x, LINES)) if isinstance(x, str) else x for x in row]
        )
    return text.getvalue()


def stem(workload: str) -> str:
    """A workload's name as the beginning of files' names."""
    return re.sub(r"[^\w.@]+", "-", workload, flags=re.ASCII).strip("-.")[:80]


def named_after(workload: str, key: str, html: str) -> str:
    """A part of the page whose files are named after its workload and not after its place.

    key -- what the ids of the part begin with
    """
    return html.replace(f' download="{key}-', f' download="{stem(workload) or key}-')


def beside(html: str, query: str) -> tuple[str, Files]:
    """A page whose files are beside it, in `tables/`, and these by name.

    query -- what their addresses end with
    """
    files: dict[str, TableFile] = {}

    def moved(link: re.Match[str]) -> str:
        ending = next(ending for ending, kind in _KINDS.items() if kind == link[1])
        files[link[3]] = TableFile(ending, b64decode(link[2]).decode())
        return f'href="tables/{link[3]}{query}" download="{link[3]}"'

    return _LINK.sub(moved, html), files
