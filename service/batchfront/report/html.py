"""What the page is put together from: pieces of HTML, and the figures that go into them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlsplit

from batchfront.errors import UsageError
from batchfront.frontier.frontier import Frontier, Point
from batchfront.report.plotly import Figure
from batchfront.report.text import count, counted, interval, ratio_to_perfect, significant, words
from batchfront.vocabulary import Outcome


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
    return f'<div class="figure {kind}" role="img" data-figure="{escape(name)}"></div>'


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
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true">{mark}</svg>{name}</li>'
        for name, mark in marks.items()
    )
    return f'<ul class="key" aria-label="key">{entries}</ul>'


def scrolled(label: str, table: str) -> str:
    """A table that scrolls within the page; `label` is the id of what names it."""
    return f'<div class="scroll" role="region" aria-labelledby="{label}" tabindex="0">{table}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """An HTML table whose cells are escaped already; the first cell of a row names it.

    text -- the columns that hold words and so stand to the left; all others hold numbers
    """
    sides = [' class="text"' if column in text else "" for column in range(len(heads))]
    head = "".join(
        f'<th scope="col"{side}>{cell}</th>' for cell, side in zip(heads, sides, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, sides)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], sides: Sequence[str]) -> str:
    first, *rest = row
    cells = [f'<th scope="row"{sides[0]}>{first}</th>']
    cells += [f"<td{side}>{cell}</td>" for cell, side in zip(rest, sides[1:], strict=True)]
    return "".join(cells)


DASHBOARD = "http://127.0.0.1:8080"
"""Where `batchfront dashboard` listens unless told otherwise."""


@dataclass(frozen=True)
class Dashboard:
    """An Optuna dashboard on the database of the page, at an http(s) URL.

    Raises UsageError for any other URL: a page must not carry a link that runs something.
    """

    url: str = DASHBOARD

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise UsageError(
                f"dashboard {self.url!r}: not the address of a dashboard; "
                f"write it like {DASHBOARD} or https://HOST/PREFIX"
            )

    @property
    def studies(self) -> str:
        """What the address of every study begins with."""
        return f"{self.url.rstrip('/')}/dashboard/studies/"

    def trial(self, study_id: int, number: int) -> str:
        """The address of a trial's page. `study_id` is Optuna's, `number` the trial's in it."""
        return f"{self.studies}{study_id}/trials?numbers={number}"

    def link(self, study_id: int, number: int) -> str:
        """A trial's number as a link to it."""
        address = escape(self.trial(study_id, number))
        return f'<a href="{address}" target="_blank" rel="noopener">{number}</a>'


_ARROWS = {"low": "↓", "high": "↑"}


def frontier_table(frontier: Frontier, dashboard: Dashboard) -> str:
    """One row per batch size; numbers to the right, the outcomes of the other trials last."""
    names = list(dict.fromkeys(name for point in frontier.points for name in point.space))
    heads = ["batch size", "steps", "first passed", "examples", "× perfect", "trial"]
    heads += [words(name) for name in names]
    others = "seeds" if frontier.measured_elsewhere else "other trials"
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    rows = "".join(_row(frontier, point, names, dashboard) for point in frontier.points)
    return (
        f'<table><thead><tr>{cells}<th scope="col" class="text">{others}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(frontier: Frontier, point: Point, names: list[str], dashboard: Dashboard) -> str:
    cells = [f"<td>{cell}</td>" for cell in _cells_of_table(frontier, point, dashboard)]
    cells += [_param(point, name) for name in names]
    others = dict(point.outcomes)
    if point.best is not None and not point.measured_elsewhere:
        others[Outcome.REACHED] -= 1
    cells.append(f'<td class="text">{escape(counted(others)) or "none"}</td>')
    return f'<tr><th scope="row">{count(point.batch_size)}</th>{"".join(cells)}</tr>'


def _cells_of_table(frontier: Frontier, point: Point, dashboard: Dashboard) -> list[str]:
    if point.best is None:
        why = "not reached" if point in frontier.unreached else "no winner yet"
        return [why if point.trials else "no trials", *["–"] * 4]
    return [
        count(point.steps or 0),
        interval(point),
        count(point.examples or 0),
        _ratio(ratio_to_perfect(point, frontier.reached[0])),
        "–" if point.trial is None else dashboard.link(point.study.id, point.trial),
    ]


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 99.995 else f"{ratio:,.0f}"


def _param(point: Point, name: str) -> str:
    text = significant(point.params.get(name))
    edge = point.edges.get(name)
    if edge is None:
        return f"<td>{escape(text)}</td>"
    title = f"at the {edge} end of the search space"
    return f'<td class="edge" title="{title}">{escape(text)} {_ARROWS[edge]}</td>'
