"""The frontier as an HTML table."""

from html import escape

from service.frontier import Frontier, Point
from service.report.links import Dashboard
from service.report.notation import count, interval, significant, words
from service.report.outcomes import counted
from service.report.reading import ratio_to_perfect

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
    cells = [f"<td>{cell}</td>" for cell in _cells(frontier, point, dashboard)]
    cells += [_param(point, name) for name in names]
    others = dict(point.outcomes)
    if point.best is not None and not point.measured_elsewhere:
        others["reached"] -= 1
    cells.append(f'<td class="text">{escape(counted(others)) or "none"}</td>')
    return f'<tr><th scope="row">{count(point.batch_size)}</th>{"".join(cells)}</tr>'


def _cells(frontier: Frontier, point: Point, dashboard: Dashboard) -> list[str]:
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
