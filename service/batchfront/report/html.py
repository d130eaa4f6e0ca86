"""What the page is put together from: pieces of HTML, and the figures that go into them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from batchfront.errors import UsageError
from batchfront.printable import LINES, printable
from batchfront.report.plotly import Figure
from batchfront.report.table_files import table_files
from batchfront.report.text import count, escape
from batchfront.table import Table


def _seen(value: Any) -> Any:
    """Text of which all can be seen."""
    return printable(value, LINES) if isinstance(value, str) else value


_TEMPLATES = Environment(
    loader=PackageLoader("batchfront.report"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=lambda value: value if isinstance(value, Markup) else _seen(value),
)


@dataclass(frozen=True)
class Part:
    """A piece of the page. An empty one is left out.

    html    -- escaped already
    figures -- by the names that the HTML refers to
    """

    html: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)


def joined(parts: Iterable[Part]) -> Part:
    """Parts below one another."""
    pieces: list[str] = []
    figures: dict[str, Figure] = {}
    for part in parts:
        pieces += [part.html] if part.html else []
        figures |= part.figures
    return Part("\n".join(pieces), figures)


def place(name: str, kind: str) -> str:
    """Where a figure goes. A `{word}` in its name stands for the choice of that name."""
    return f'<div class="figure {kind}" role="figure" data-figure="{escape(name)}"></div>'


def caption(*sentences: str) -> str:
    """What a figure shows, and what it does not. The sentences are escaped already."""
    return f'<p class="caption">{" ".join(filter(None, sentences))}</p>'


def with_code(text: str) -> str:
    """Escaped text whose commands, which stand in backticks, are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


def advised(advice: str | None, before: str, after: str) -> str:
    """A sentence about a command, as HTML; empty where there is none to advise."""
    return "" if advice is None else f"{before}{with_code(escape(advice))}{after}"


def key(marks: Mapping[str, str]) -> str:
    """What the marks of a figure mean: names to SVG of 24 by 12."""
    entries = "".join(
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true">{mark}</svg><span>{name}</span></li>'
        for name, mark in marks.items()
    )
    return f'<ul class="key" aria-label="key">{entries}</ul>'


def scrolled(label: str, table: Table, records: Table | None = None) -> Markup:
    """A table that scrolls within the page, and below it links to it as files; `label` is the id of
    what names it, and what its cells say is escaped unless it is Markup. The first cell of a row
    names it.

    records -- what the files have instead, where plain values stand in other columns
    """
    files = table_files(records or table)
    return rendered("table.html", label=label, table=table, files=files)


def rendered(template: str, **values: Any) -> Markup:
    """A template of the page with these values, which are escaped unless they are Markup."""
    return Markup(_TEMPLATES.get_template(template).render(values))


DASHBOARD = "http://127.0.0.1:8080"
"""Where `batchfront dashboard` listens unless told otherwise."""


@dataclass(frozen=True)
class Dashboard:
    """An Optuna dashboard on the database of the page, at an http(s) URL; or None, as a link to
    where nothing listens is worse than no link.

    numbers -- id of a study to those slots whose trials have other numbers there, and to these

    Raises UsageError for any other URL: a page must not carry a link that runs something.
    """

    url: str | None = None
    numbers: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.url is None:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise UsageError(
                f"dashboard {self.url!r}: not the address of a dashboard; "
                f"write it like {DASHBOARD} or https://HOST/PREFIX"
            )

    @property
    def studies(self) -> str:
        """What the address of every study begins with; empty where there is no dashboard."""
        return "" if self.url is None else f"{self.url.rstrip('/')}/dashboard/studies/"

    def trial(self, study_id: int, number: int) -> str:
        """The address of a trial's page. `study_id` is Optuna's, `number` the slot's in it."""
        theirs = self.numbers.get(study_id, {}).get(number, number)
        return f"{self.studies}{study_id}/trials?numbers={theirs}"

    def link(self, study_id: int, number: int, batch_size: int) -> Markup:
        """A trial's number, as a link to it where there is a dashboard. Read out by itself, the
        link says which trial it leads to."""
        if self.url is None:
            return Markup(number)
        opened = Markup('<a href="{}" target="_blank" rel="noopener" aria-label="{}">{}</a>')
        name = f"trial {number} at batch size {count(batch_size)}, in the Optuna dashboard"
        return opened.format(self.trial(study_id, number), name, number)
