"""A table in lines of text, of whatever width there is, without a number, or a word, being cut.

Where there is no room for it as it is, titles are folded; then the common beginning of names goes
above it, outcomes are abbreviated, words folded; columns that still find no place follow below,
beside what their rows are about. On fewer than 60 columns of a terminal a row is some lines
instead, each a title with its value.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from rich.cells import cell_len

from batchfront.printable import LINES, printable
from batchfront.table import NOTHING, Column, Table
from batchfront.wrapping import words, wrapped

_NARROW = 60  # below, rows are lines
_BETWEEN = 2  # columns
_WORDS = 10  # that a column of words keeps
_LABEL = 12  # and the titles beside values
_INDENT = "  "

_IN_TITLE = re.compile(r"(?<= )(?!%)|(?<=[_./-])(?=[^\W\d_]{4})")
"""Where a line of a title may be broken: not in a number, nor in S_min."""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    head -- it says what others are
    """

    text: str
    head: bool = False


def table_text(table: Table, width: int | None = None) -> str:
    """A table with its title and notes.

    width -- of a terminal's columns; None for as many as it takes
    """
    title = [*wrapped(printable(table.title), width), ""] if table.title else []
    notes = [line for note in table.notes for line in wrapped(printable(note, LINES), width)]
    return "\n".join([*title, *(line.text for line in drawn(table, width)), *notes])


def drawn(table: Table, width: int | None, shown: Callable[[str], str] = printable) -> list[Line]:
    """Columns and rows in lines, and what has to be said beside them for want of room.

    width -- of a terminal's columns; None for as many as it takes
    shown -- makes of a text what can be seen of it
    """
    columns = [
        _Texts.of(column, [row[number] for row in table.rows], shown)
        for number, column in enumerate(table.columns)
    ]
    fits = width is None or _total([one.natural for one in columns]) <= width
    if fits or width is None:
        return list(_grid(columns, [one.natural for one in columns]))
    if width < _NARROW and any(one.title for one in columns):
        return list(_as_lines(columns, table, width))
    return list(_squeezed(columns, table, width))


@dataclass(frozen=True)
class _Texts:
    """A column as it is written.

    left      -- on which side it stands
    folds     -- lines of its cells may be broken
    names     -- they say by themselves what they are
    beginning -- what its names have in common
    brief     -- its cells, abbreviated
    means     -- what the abbreviations mean
    """

    title: str
    cells: Sequence[str]
    left: bool
    folds: bool
    names: bool = False
    beginning: str = ""
    brief: Sequence[str] = ()
    means: str = ""

    @classmethod
    def of(cls, column: Column, values: Sequence[object], shown: Callable[[str], str]) -> "_Texts":
        cells = [shown(column.cell(value)) for value in values]
        made = cls(shown(column.title), cells, column.words, column.folds, column.names)
        if column.names:
            made = replace(made, beginning=_beginning(cells))
        if column.brief is not None:
            brief = [shown(column.brief.shown(value)) for value in values]
            made = replace(made, brief=brief, means=shown(column.brief.means(values)))
        return made

    @property
    def natural(self) -> int:
        return max(map(cell_len, (self.title, *self.cells)))

    def least(self, *, folding: bool, last: bool) -> int:
        """The least width, with the title folded; the last column's commands may stand out."""
        title = max(map(cell_len, _title_lines(self.title, 0)))
        widest = max(map(cell_len, self.cells), default=0)
        if not (folding and self.folds):
            return max(title, widest)
        whole = (w for cell in self.cells for w in words(cell) if not (last and "`" in w))
        return max(title, min(widest, _WORDS), *map(cell_len, whole), 0)

    def without_beginning(self) -> "_Texts":
        cells = [cell.removeprefix(self.beginning) for cell in self.cells]
        return replace(self, cells=cells, beginning="")

    def only(self, rows: Sequence[int]) -> "_Texts":
        brief = [self.brief[row] for row in rows] if self.brief else ()
        return replace(self, cells=[self.cells[row] for row in rows], brief=brief)

    def in_brief(self) -> "_Texts":
        return replace(self, cells=self.brief) if self.brief else self


def _beginning(cells: Sequence[str]) -> str:
    """What all names begin with, up to a slash: of a/b/4 and a/b/8, a/b/."""
    names = [cell for cell in cells if cell != NOTHING]
    first, last = min(names, default=""), max(names, default="")
    same = next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    return first[: first.rfind("/", 0, same) + 1]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _squeezed(columns: Sequence[_Texts], table: Table, width: int) -> Iterator[Line]:
    """The first way for which there is room."""
    bare = [one.without_beginning() for one in columns]
    brief = [one.in_brief() for one in bare]
    for tried, folding in ((columns, False), (bare, False), (brief, False), (brief, True)):
        widths = _widths(tried, width, folding=folding)
        if widths is not None:
            yield from _begins(columns, width) if tried is not columns else ()
            yield from _grid(tried, widths)
            yield from _meant(columns, width) if tried is brief else ()
            return
    keys = bare[: table.keys]
    more = [one for one in bare[table.keys :] if one.title or any(one.cells)]
    parts = _parts(keys, more, width)
    if parts is None:
        yield from _as_lines(columns, table, width)
        return
    yield from _begins(columns, width)
    for number, part in enumerate(parts):
        yield from [Line("")] if number else []
        told = [n for n in range(len(table.rows)) if any(one.cells[n] for one in part)]
        yield from _squeezed([one.only(told) for one in (*keys, *part)], table, width)


def _begins(columns: Sequence[_Texts], width: int) -> Iterator[Line]:
    for one in columns:
        if one.beginning:
            yield from map(Line, wrapped(f"{one.title}: all begin with {one.beginning}", width))


def _meant(columns: Sequence[_Texts], width: int) -> Iterator[Line]:
    for one in columns:
        if one.means:
            yield from map(Line, wrapped(one.means, width))


def _widths(columns: Sequence[_Texts], width: int, *, folding: bool) -> list[int] | None:
    """The width of every column; None where there is no room."""
    last = len(columns) - 1
    found = [one.least(folding=folding, last=n == last) for n, one in enumerate(columns)]
    left = width - _total(found)
    if left < 0:
        return None
    for wanted in (_cells_width, _title_width):  # what is most squeezed first
        full = [max(wanted(one), found[n]) for n, one in enumerate(columns)]
        while left and found != full:
            most = max(range(len(columns)), key=lambda n: full[n] / max(found[n], 1))
            found[most], left = found[most] + 1, left - 1
    return found


def _cells_width(one: _Texts) -> int:
    return max(map(cell_len, one.cells), default=0)


def _title_width(one: _Texts) -> int:
    return cell_len(one.title)


def _parts(keys: Sequence[_Texts], more: Sequence[_Texts], width: int) -> list[list[_Texts]] | None:
    """The columns in as few parts as there is room for beside the keys; None where one of them has
    none."""
    beside = _total([one.least(folding=True, last=False) for one in keys])
    parts: list[list[_Texts]] = []
    room = 0
    for one in more:
        needs = _BETWEEN + one.least(folding=True, last=False)
        if beside + needs > width:
            return None
        if needs > room:
            parts.append([])
            room = width - beside
        parts[-1].append(one)
        room -= needs
    return parts if len(parts) > 1 else None


def _grid(columns: Sequence[_Texts], widths: Sequence[int]) -> Iterator[Line]:
    titles = [_title_lines(one.title, width) for one, width in zip(columns, widths, strict=True)]
    rows = [
        [
            _cell_lines(one, cell, width)
            for one, cell, width in zip(columns, row, widths, strict=True)
        ]
        for row in zip(*(one.cells for one in columns), strict=True)
    ]
    used = [
        max(cell_len(line) for row in (titles, *rows) for line in row[n])
        for n in range(len(columns))
    ]
    if any(one.title for one in columns):
        height = max(map(len, titles))
        for line in range(height):
            # Titles stand on the line below them.
            cells = [("", *one)[max(len(one) - height + line + 1, 0)] for one in titles]
            yield Line(_line(columns, cells, used), head=True)
        yield Line("─" * min(_total(used), _total(widths)))
    for row in rows:
        for broken in zip_longest(*row, fillvalue=""):
            yield Line(_line(columns, broken, used))


def _line(columns: Sequence[_Texts], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for one, cell, width in zip(columns, cells, widths, strict=True):
        spaces = " " * (width - cell_len(cell))
        padded.append(cell + spaces if one.left else spaces + cell)
    return (" " * _BETWEEN).join(padded).rstrip(" ")


def _cell_lines(column: _Texts, cell: str, width: int) -> list[str]:
    return wrapped(cell, width) if column.folds else [cell]


def _title_lines(title: str, width: int) -> list[str]:
    lines = [""]
    for part in _IN_TITLE.split(title):
        if lines[-1] and cell_len(lines[-1] + part.rstrip(" ")) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip(" ") for line in lines]


def _as_lines(columns: Sequence[_Texts], table: Table, width: int) -> Iterator[Line]:
    """What each row is about, and below it each title with its value."""
    things = _things(columns, table)
    if any(cell_len(heading) > width for heading, _ in things):
        yield from _begins(columns, width)
        things = _things([one.without_beginning() for one in columns], table)
    room = width - len(_INDENT)
    labels = max((cell_len(label) for _, pairs in things for label, _, _ in pairs), default=0)
    whole = [cell_len(c) for _, pairs in things for _, c, folds in pairs if not folds]
    beside = room - _BETWEEN - max([_WORDS, *whole])
    labels = min(labels, max(beside, _LABEL))
    for heading, pairs in things:
        yield from (Line(line, head=True) for line in wrapped(heading, width))
        for label, cell, _ in pairs:
            yield from map(Line, _pair(label, cell, labels, room)) if cell else ()


_Pair = tuple[str, str, bool]
"""A title, a value, and whether its lines may be broken."""


def _things(columns: Sequence[_Texts], table: Table) -> list[tuple[str, list[_Pair]]]:
    """What the table is about, each with its titles and values."""
    keys, more = columns[: table.keys], columns[table.keys :]
    if table.by_facts:
        names = keys[0].cells
        return [
            (one.title, [(n, c, one.folds) for n, c in zip(names, one.cells, strict=True)])
            for one in more
        ]
    return [
        (
            ", ".join(_named(one, one.cells[row]) for one in keys),
            [(one.title, one.cells[row], one.folds) for one in more],
        )
        for row in range(len(keys[0].cells))
    ]


def _named(column: _Texts, cell: str) -> str:
    return cell if column.names else f"{column.title} {cell}".strip(" ")


def _pair(label: str, cell: str, labels: int, room: int) -> Iterator[str]:
    start = labels + _BETWEEN if label else 0
    names, values = _title_lines(label, labels), wrapped(cell, room - start)
    if max(map(cell_len, values)) > room - start:  # there is more below the title
        yield from (f"{_INDENT}{name}" for name in names if name)
        yield from (f"{_INDENT * 2}{line}" for line in wrapped(cell, room - len(_INDENT)))
        return
    for name, value in zip_longest(names, values, fillvalue=""):
        yield f"{_INDENT}{name}{' ' * (start - cell_len(name))}{value}".rstrip(" ")
