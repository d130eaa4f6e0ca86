"""The frontier itself, as a table."""

from dataclasses import replace
from typing import Any

from markupsafe import Markup

from batchfront.frontier.curve.text import count
from batchfront.frontier.expected_table import expected_table, why_none_expected
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import interval
from batchfront.frontier.next_commands import run_recommended
from batchfront.outcomes import in_words
from batchfront.report.data import Subject
from batchfront.report.html import Dashboard, Part, advised, caption, joined, scrolled
from batchfront.report.table_files import Cell
from batchfront.report.text import escape, ratio_to_perfect, significant, words
from batchfront.table import Column, Table
from batchfront.vocabulary import Outcome

_ARROWS = {"low": "↓", "high": "↑"}


def frontier_part(subject: Subject) -> Part:
    """One row per batch size; numbers to the right, the outcomes of the other trials last."""
    label = f"{subject.key}-frontier"
    table = _table(subject.frontier, subject.dashboard)
    html = f'<h3 id="{label}">Frontier</h3>{scrolled(label, table)}{_notation(subject.frontier)}'
    return joined((Part(html), _expected_part(subject)))


def _notation(frontier: Frontier) -> str:
    """What the table's columns mean."""
    edged = any(point.edges for point in frontier.points)
    return caption(
        "First passed: the steps between which the goal was. × perfect: steps as a multiple of "
        "what perfect scaling from the smallest batch size would take.",
        "An arrow: within 5\u00a0% of that end of the search range." * edged,
    )


def _expected_part(subject: Subject) -> Part:
    """What a run takes with what is recommended, or why nobody can tell; nothing of steps that were
    measured elsewhere."""
    frontier = subject.frontier
    if frontier.measured_elsewhere or not frontier.reached:
        return Part()
    why = why_none_expected(frontier)
    if why is not None:
        return Part(caption(escape(why)))
    label = f"{subject.key}-expected"
    table = expected_table(frontier, significant)
    columns = [replace(column, title=words(column.title)) for column in table.columns]
    shown = replace(table, columns=columns, title="", notes=())
    confirm = advised(run_recommended(frontier), "", " runs them with fresh seeds.")
    return Part(
        f'<h4 id="{label}" class="apart">{escape(table.title)}</h4>'
        f"{scrolled(label, shown, _records(frontier))}"
        f"{caption(*map(escape, table.notes), confirm)}"
    )


def _records(frontier: Frontier) -> Table:
    """What is expected, with the ends of its interval in columns of their own."""
    names = sorted({name for one in frontier.expected.points for name in one.metaparameters})
    titles = ("batch size", "expected steps", "low", "high", "trial", *map(words, names))
    rows = [
        (
            *(one.batch_size, one.steps, one.low, one.high, one.trial),
            *(one.metaparameters.get(name) for name in names),
        )
        for one in frontier.expected.points
    ]
    return Table(tuple(map(Column, titles)), rows)


def _table(frontier: Frontier, dashboard: Dashboard) -> Table:
    names = list(dict.fromkeys(name for point in frontier.points for name in point.space))
    columns = (
        Column("batch size", count),
        *([Column("in tokens", count)] if frontier.tokens_per_example else []),
        Column("steps", Cell.shown),
        Column("first passed"),
        Column("examples", count),
        Column("× perfect", _ratio),
        Column("trial", Cell.shown),
        *(Column(words(name), Cell.shown) for name in names),
        Column("seeds" if frontier.measured_elsewhere else "other trials", words=True),
    )
    return Table(columns, [_row(frontier, point, names, dashboard) for point in frontier.points])


def _row(
    frontier: Frontier, point: Point, names: list[str], dashboard: Dashboard
) -> tuple[Any, ...]:
    others = dict(point.outcomes)
    if point.best is not None and not point.measured_elsewhere:
        others[Outcome.REACHED] -= 1
    linked = None
    if point.trial is not None:
        link = dashboard.link(point.study.id, point.trial, point.batch_size)
        linked = Cell(point.trial, link)
    return (
        point.batch_size,
        *([point.batch_tokens] if frontier.tokens_per_example else []),
        _steps(frontier, point),
        interval(point),
        point.examples,
        None if point.best is None else ratio_to_perfect(point, frontier.reached[0]),
        linked,
        *(_param(point, name) for name in names),
        in_words(others) or "none",
    )


def _steps(frontier: Frontier, point: Point) -> Cell:
    if point.steps is not None:
        return Cell(point.steps, Markup(escape(count(point.steps))))
    why = "not reached" if point in frontier.unreached else "no winner yet"
    return Cell(None, Markup(escape(why if point.trials else "no trials")))


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 99.995 else f"{ratio:,.0f}"


def _param(point: Point, name: str) -> Cell | None:
    """The winner's metaparameter of this name, with an arrow at an edge of its range."""
    if name not in point.params:
        return None
    value, edge = point.params[name], point.edges.get(name)
    shown = Markup(escape(significant(value)))
    if edge is not None:
        marked = Markup('<span class="edge" title="at the {} end of the search space">{} {}</span>')
        shown = marked.format(edge, shown, _ARROWS[edge])
    return Cell(value, shown)
