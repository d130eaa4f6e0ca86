"""The frontier itself, as a table."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import interval
from batchfront.outcomes import in_words
from batchfront.report.data import Subject
from batchfront.report.html import Dashboard, Part, scrolled
from batchfront.report.text import ratio_to_perfect, significant, words
from batchfront.table import Column, Table
from batchfront.vocabulary import Outcome

_ARROWS = {"low": "↓", "high": "↑"}


def frontier_part(subject: Subject) -> Part:
    """One row per batch size; numbers to the right, the outcomes of the other trials last."""
    label = f"{subject.key}-table"
    table = _table(subject.frontier, subject.dashboard)
    return Part(f'<h3 id="{label}">Frontier</h3>{scrolled(label, table)}')


def _table(frontier: Frontier, dashboard: Dashboard) -> Table:
    names = list(dict.fromkeys(name for point in frontier.points for name in point.space))
    columns = (
        Column("batch size", count),
        Column("steps"),
        Column("first passed"),
        Column("examples", count),
        Column("× perfect", _ratio),
        Column("trial"),
        *(Column(words(name), _param(name)) for name in names),
        Column("seeds" if frontier.measured_elsewhere else "other trials", words=True),
    )
    return Table(columns, [_row(frontier, point, names, dashboard) for point in frontier.points])


def _row(
    frontier: Frontier, point: Point, names: list[str], dashboard: Dashboard
) -> tuple[Any, ...]:
    others = dict(point.outcomes)
    if point.best is not None and not point.measured_elsewhere:
        others[Outcome.REACHED] -= 1
    linked = None if point.trial is None else dashboard.link(point.study.id, point.trial)
    return (
        point.batch_size,
        _steps(frontier, point),
        interval(point),
        point.examples,
        None if point.best is None else ratio_to_perfect(point, frontier.reached[0]),
        linked,
        *[point] * len(names),
        in_words(others) or "none",
    )


def _steps(frontier: Frontier, point: Point) -> str:
    if point.steps is not None:
        return count(point.steps)
    why = "not reached" if point in frontier.unreached else "no winner yet"
    return why if point.trials else "no trials"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 99.995 else f"{ratio:,.0f}"


def _param(name: str) -> Callable[[Point], str]:
    """Writes the winner's metaparameter of this name, with an arrow at an edge of its range."""

    def shown(point: Point) -> str:
        text, edge = significant(point.params.get(name)), point.edges.get(name)
        if edge is None:
            return text
        marked = Markup('<span class="edge" title="at the {} end of the search space">{} {}</span>')
        return marked.format(edge, text, _ARROWS[edge])

    return shown
