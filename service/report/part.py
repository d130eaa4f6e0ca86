"""What the page is put together from: pieces of HTML, and the figures that go into them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from service.report.axes import Figure


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
