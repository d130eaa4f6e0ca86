"""How what is found shows itself: as text in a console, and as tables of HTML in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

from batchfront.printable import printable
from batchfront.table import Column, Table
from batchfront.table_text import table_text


class Displayed(ABC):
    """What a notebook shows as tables where it stands at the end of a cell, `print` as text, and a
    log or a debugger, by its `repr`, in one line."""

    @abstractmethod
    def as_tables(self) -> Sequence[Table]:
        """All that is shown of it, one below the other."""

    def __str__(self) -> str:
        return "\n\n".join(map(table_text, self.as_tables()))

    def _repr_html_(self) -> str:
        return "".join(map(as_html, self.as_tables()))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """By kind, for whatever shows a notebook, IPython's consoles among them."""
        return {"text/html": self._repr_html_(), "text/plain": str(self)}


def as_html(table: Table) -> str:
    """A table as HTML that stands by itself in any page: its style is its own. Text is escaped
    unless it is Markup."""
    title = f'<p style="margin:0 0 .3em"><b>{_shown(table.title)}</b></p>' if table.title else ""
    notes = "".join(f'<p style="margin:.3em 0 0">{_shown(note)}</p>' for note in table.notes)
    head = _row(table.columns, "th", [column.title for column in table.columns])
    body = "".join(_row(table.columns, "td", row) for row in table.cells())
    drawn = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>" if table.columns else ""
    return f'<div style="margin-bottom:1em">{title}{drawn}{notes}</div>'


def _row(columns: Iterable[Column], tag: str, cells: Iterable[str]) -> str:
    sides = ["left" if column.words else "right" for column in columns]
    return f"<tr>{''.join(_cell(tag, *one) for one in zip(sides, cells, strict=True))}</tr>"


def _cell(tag: str, side: str, text: str) -> str:
    return f'<{tag} style="text-align:{side}">{_shown(text)}</{tag}>'


def _shown(text: str) -> str:
    return text if isinstance(text, Markup) else escape(printable(text))
