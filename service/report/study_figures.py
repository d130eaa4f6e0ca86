"""One study: all of its trials in the search space, and their learning curves."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from textwrap import wrap
from typing import Any

from service.frontier import CurvePoint, Frontier, Point, Trial
from service.report.axes import Figure, figure, log_axis, nothing, plain_axis, scale_of, whole_axis
from service.report.equal_rates import equal_rates
from service.report.notation import count, in_figure, rounded, significant, words
from service.report.outcomes import OUTCOMES, WINNER, Look, outcome_of
from service.report.thinning import evenly
from service.search_space import Dimension, ReverseLog, dimensions

Curves = Mapping[int, Sequence[CurvePoint]]
"""Trial number to its kept measurements."""

_Coordinate = tuple[str, Callable[[Trial], Any], Callable[[Any], dict[str, Any]]]


def trials_figure(frontier: Frontier, point: Point, trials: Sequence[Trial]) -> Figure:
    """Every started trial by its metaparameters and outcome; the winner starred."""
    label = f"Trials by outcome, {_of(frontier, point)}"
    space, study = dimensions(point.space), point.study.id
    across, up = second_coordinates(space)
    x, y = _coordinate(across, space), _coordinate(up, space)
    drawn = [trial for trial in trials if {across, up} & set(space) <= set(trial.params)]
    if not drawn:
        return nothing(label, "No trial has been drawn yet.")
    names = list(dict.fromkeys(name for trial in drawn for name in trial.params))
    marks = partial(_marks, study=study, names=names, x=x, y=y)
    traces = []
    for look in OUTCOMES:
        mine = [t for t in drawn if outcome_of(t) == look.name and t != point.best]
        if mine:
            mine.sort(key=lambda trial: (trial.steps_to_target or 0, trial.number))
            traces.append(
                marks(_entry(look, len(mine), point), look.name, mine, marker=_marker(look))
            )
    if point.best is not None:
        traces.append(marks("winner", "reached", [point.best], marker=_STAR))
    xaxis = x[2]([x[1](trial) for trial in drawn])
    yaxis = y[2]([y[1](trial) for trial in drawn])
    rates = (across, up) == ("learning_rate", "momentum")
    shapes = equal_rates(xaxis["range"], yaxis["range"]) if rates else []
    drawn_figure = figure(label, traces, showlegend=True, xaxis=xaxis, yaxis=yaxis, shapes=shapes)
    return {**drawn_figure, "columns": [words(name) for name in names]}


def second_coordinates(space: Mapping[str, Dimension]) -> tuple[str, str]:
    """What the trials are drawn by: searched metaparameters, else `number` and `steps`."""
    across = "learning_rate" if "learning_rate" in space else next(iter(space), "number")
    reverse = [n for n, d in space.items() if isinstance(d, ReverseLog) and n != across]
    return across, "momentum" if "momentum" in reverse else next(iter(reverse), "steps")


def coordinate_title(name: str, space: Mapping[str, Dimension]) -> str:
    """A coordinate of `trials_figure` in words."""
    return _coordinate(name, space)[0]


def curves_figure(
    frontier: Frontier,
    point: Point,
    trials: Sequence[Trial],
    curves: Curves,
    split: str,
    metric: str,
) -> Figure:
    """One metric against step: a thin line per trial, the winner's thick, the goal labelled."""
    title = f"{'training' if split == 'train' else split} {metric}"
    label = f"Learning curves: {title}, {_of(frontier, point)}"
    lines = {
        number: evenly(
            [(p.step, p.value) for p in points if (p.split, p.metric) == (split, metric)]
        )
        for number, points in curves.items()
    }
    lines = {number: line for number, line in lines.items() if line}
    if not lines:
        return nothing(label, "Nothing has been measured yet.")
    by_outcome: dict[str, dict[int, list[tuple[int, float | None]]]] = {}
    for trial in trials:
        if trial.number in lines and trial != point.best:
            by_outcome.setdefault(outcome_of(trial), {})[trial.number] = lines[trial.number]
    curve = partial(_curve, point.study.id)
    traces = [
        curve(_entry(look, len(by_outcome[look.name]), point), by_outcome[look.name], look.color)
        for look in OUTCOMES
        if look.name in by_outcome
    ]
    if point.best is not None and point.best.number in lines:
        best = lines[point.best.number]
        traces += [curve("winner", {point.best.number: best}, WINNER, thick=True), _end(best)]
    goal = float(frontier.goal["value"]) if split == "validation" else None
    return figure(
        label,
        traces,
        showlegend=True,
        xaxis=log_axis("step", [step for line in lines.values() for step, _ in line]),
        yaxis=_metric_axis(title, list(lines.values()), goal, frontier),
        shapes=[] if goal is None else [_goal_line(frontier, goal)],
    )


def _entry(look: Look, drawn: int, point: Point) -> str:
    """A legend entry, with the number of trials if all are drawn; the winner has its own."""
    also = look.name == "reached"
    there = point.outcomes.get(look.name, 0) - also
    number = count(drawn) if drawn >= there else f"{count(drawn)} of {count(there)}"
    return f"{'also ' * also}{look.name} ({number})"


def _of(frontier: Frontier, point: Point) -> str:
    return f"{frontier.workload} at batch size {count(point.batch_size)}"


def _coordinate(name: str, space: Mapping[str, Dimension]) -> _Coordinate:
    if name == "number":
        return "trial", lambda trial: trial.number, lambda numbers: whole_axis("trial", numbers)
    if name == "steps":  # 0 steps can't be drawn on a log axis; it is the left of everything
        title = "steps trained"
        return title, lambda trial: max(trial.steps, 1), lambda values: log_axis(title, values)
    scale = scale_of(name, space[name])
    return scale.title, lambda trial: scale.shown(trial.params[name]), scale.axis


_STAR: dict[str, Any] = {
    "symbol": "star",
    "color": WINNER,
    "size": 17,
    "opacity": 1,
    "line": {"color": "var(--paper)", "width": 1.5},
}


def _marker(look: Look) -> dict[str, Any]:
    line = {"color": look.color if look.symbol.endswith("open") else "var(--paper)", "width": 1}
    return {"symbol": look.symbol, "color": look.color, "size": 10, "opacity": 0.9, "line": line}


def _marks(
    name: str,
    outcome: str,
    trials: Sequence[Trial],
    *,
    study: int,
    names: Sequence[str],
    x: _Coordinate,
    y: _Coordinate,
    marker: dict[str, Any],
) -> dict[str, Any]:
    """Trials of one outcome. The page's script reads `meta` and `customdata` too: a click on a
    point opens its trial, and the table of the study's trials is made of them."""

    def place(value: Any) -> Any:
        return rounded(value) if isinstance(value, float) else value

    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "meta": {"study": study, "outcome": outcome},
        "x": [place(x[1](trial)) for trial in trials],
        "y": [place(y[1](trial)) for trial in trials],
        "customdata": [_said(trial, names) for trial in trials],
        "marker": marker,
        "hovertemplate": _hover(outcome, names),
        "cliponaxis": False,
    }


def _said(trial: Trial, names: Sequence[str]) -> list[Any]:
    """A trial's number, steps and reason, then its metaparameters, as text for a figure."""
    reason = (trial.reason or "") if trial.outcome not in _EXPLAINED else ""
    # Narrow enough for a phone.
    lines = map(in_figure, wrap(reason, 40, max_lines=2, placeholder=" …"))
    values = (in_figure(significant(trial.params.get(name))) for name in names)
    return [trial.number, count(trial.steps), "".join(f"<br>{line}" for line in lines), *values]


_EXPLAINED = ("reached", "capped", None)
"""Outcomes whose reason says nothing more."""


def _hover(outcome: str, names: Sequence[str]) -> str:
    lines = ["<b>trial %{customdata[0]}</b>"]
    lines += [f"{_literal(words(n))} %{{customdata[{i}]}}" for i, n in enumerate(names, 3)]
    lines.append(f"{outcome} after %{{customdata[1]}} steps%{{customdata[2]}}<extra></extra>")
    return "<br>".join(lines)


def _literal(name: str) -> str:
    """A name within a template, whatever is in it."""
    return in_figure(name).replace("%{", "%⁠{")


def _curve(
    study: int,
    name: str,
    lines: Mapping[int, list[tuple[int, float | None]]],
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
        "opacity": 1 if thick else 0.65,
        "legendgroup": name,
    }


def _end(line: Sequence[tuple[int, float | None]]) -> dict[str, Any]:
    """The winner's star, where it passed the goal."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [line[-1][0]],
        "y": [line[-1][1]],
        "marker": _STAR,
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": "winner",
        "cliponaxis": False,
    }


def _metric_axis(
    title: str,
    lines: Sequence[Sequence[tuple[int, float | None]]],
    goal: float | None,
    frontier: Frontier,
) -> dict[str, Any]:
    values = [value for line in lines for _, value in line if value is not None]
    title = in_figure(words(title))
    # A diverging trial must not squeeze all others together at the bottom.
    start = max((line[0][1] or 0.0 for line in lines), default=0.0)
    top = min(10 * start, max(values)) if start > 0 and values else None
    lower_is_better = goal is None or frontier.goal["better"] == "lower"
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
