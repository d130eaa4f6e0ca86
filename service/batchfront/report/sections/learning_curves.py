"""The learning curves of one study's trials."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Trial
from batchfront.report.data import evenly
from batchfront.report.plotly import Figure, figure, log_axis, nothing, plain_axis
from batchfront.report.sections.study_figures import STAR, legend_entry, of_study
from batchfront.report.text import OUTCOME_STYLES, WINNER, in_figure, outcome_of, rounded

Line = Sequence[tuple[int, float | None]]
"""Step and value of each evaluation of a trial, by step."""

Lines = Mapping[int, Line]
"""Number of a trial to its learning curve."""


def curves_figure(
    frontier: Frontier,
    point: Point,
    trials: Sequence[Trial],
    curves: Lines,
    title: str,
    goal: float | None,
    *,
    plain: bool = False,
) -> Figure:
    """One metric against step: a thin line per trial, the winner's thick, the goal labelled.

    plain -- on an axis that isn't logarithmic, as nobody knows which values are the better ones
    """
    label = f"Learning curves: {title}, {of_study(frontier, point)}"
    lines = {number: evenly(line) for number, line in curves.items()}
    if not lines:
        elsewhere = frontier.measured_elsewhere
        return nothing(
            label, "No curves were imported." if elsewhere else "Nothing has been measured yet."
        )
    by_outcome: dict[str, dict[int, Line]] = {}
    for trial in trials:
        if trial.number in lines and trial != point.best:
            by_outcome.setdefault(outcome_of(trial), {})[trial.number] = lines[trial.number]
    curve = partial(_curve, point.study.id)
    traces = [
        curve(
            legend_entry(style, len(by_outcome[style.name]), point),
            by_outcome[style.name],
            style.color,
        )
        for style in OUTCOME_STYLES
        if style.name in by_outcome
    ]
    if point.best is not None and point.best.number in lines:
        best = lines[point.best.number]
        winner = curve("winner", {point.best.number: best}, WINNER, thick=True)
        traces += [winner, _star(curves[point.best.number], point.steps)]
    return figure(
        label,
        traces,
        showlegend=True,
        xaxis=log_axis("step", [step for line in lines.values() for step, _ in line]),
        yaxis=_metric_axis(title, list(lines.values()), goal, frontier, plain=plain),
        shapes=[] if goal is None else [_goal_line(frontier, goal)],
    )


def _curve(
    study: int,
    name: str,
    lines: Lines,
    color: str,
    thick: bool = False,
) -> dict[str, Any]:
    """One trace for many trials, a gap after each, so that the legend has one entry for them."""
    points = [
        (step, None if value is None else rounded(value), number)
        for number, line in lines.items()
        for step, value in [*line, (None, None)]
    ]
    steps, values, numbers = zip(*points[:-1], strict=True)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) == 2 else "lines",
        "name": name,
        "x": list(steps),
        "y": list(values),
        "meta": {"study": study},
        "customdata": list(numbers),
        "hovertemplate": "trial %{customdata}, step %{x:,}<br>%{y:.4~g}<extra></extra>",
        "line": {"color": color, "width": 3 if thick else 1.25},
        "opacity": 1 if thick else 0.8,
        "legendgroup": name,
    }


def _star(line: Line, steps: float | None) -> dict[str, Any]:
    """The winner's star, where it passed the goal: its line may go on from there."""
    step, value = next((one for one in line if one[0] >= (steps or 0)), line[-1])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [step],
        "y": [value],
        "marker": STAR,
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": "winner",
        "cliponaxis": False,
    }


def _metric_axis(
    title: str,
    lines: Sequence[Line],
    goal: float | None,
    frontier: Frontier,
    *,
    plain: bool,
) -> dict[str, Any]:
    values = [value for line in lines for _, value in line if value is not None]
    title = in_figure(title)
    # A diverging trial must not squeeze all others together at the bottom.
    start = max((line[0][1] or 0.0 for line in lines), default=0.0)
    top = min(10 * start, max(values)) if start > 0 and values else None
    lower_is_better = (not plain) if goal is None else frontier.goal["better"] == "lower"
    # A loss of exactly 0 leaves a gap on a log axis; a metric of 0 is a result and must show.
    log = lower_is_better and (goal or 1) > 0 and min(values, default=-1) >= (1e-30 if goal else 0)
    if log and any(values):
        return log_axis(title, [min(v, top or v) for v in values if v] + [goal or values[0]])
    axis = plain_axis(title)
    if top is not None and max(values) > top:
        axis["range"] = [min(values) - 0.05 * top, 1.05 * top]
    return axis


def _goal_line(frontier: Frontier, goal: float) -> dict[str, Any]:
    sign = "<" if frontier.goal["better"] == "lower" else ">"
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": goal,
        "y1": goal,
        "line": {"color": "var(--ink)", "width": 1.25, "dash": "dash"},
        "label": {
            "text": in_figure(f"goal {sign} {goal:g}"),
            "textposition": "start",
            "yanchor": "bottom" if sign == "<" else "top",  # the side from which curves come late
            "padding": 5,
            "font": {"size": 12, "color": "var(--ink)"},
        },
    }
