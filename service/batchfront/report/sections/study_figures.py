"""One study: all of its trials in the search space, by how they ended."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from textwrap import wrap
from typing import Any

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Trial
from batchfront.report.plotly import Figure, figure, log_axis, nothing, scale_of, whole_axis
from batchfront.report.table_files import plain_table
from batchfront.report.text import (
    OUTCOME_STYLES,
    WINNER,
    OutcomeStyle,
    count,
    in_figure,
    outcome_of,
    rounded,
    significant,
    words,
)
from batchfront.table import Column, Table
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Dimension, ReverseLog, dimensions

_MOST = 5


def equal_rates(across: Sequence[float], up: Sequence[float]) -> list[dict[str, Any]]:
    """One thin line a decade, or every few decades, with its rate at the upper end.

    across, up -- the ends of the axes of lr and of 1 - momentum, as powers of ten
    """
    lowest, highest = across[0] - up[1], across[1] - up[0]
    decades = range(math.ceil(lowest + 0.5), math.floor(highest - 0.5) + 1)
    every = max(1, math.ceil(len(decades) / _MOST))
    return [_line(decade, across, up) for decade in decades if decade % every == 0]


def _line(decade: int, across: Sequence[float], up: Sequence[float]) -> dict[str, Any]:
    """Where lr = 10^decade (1 - momentum), within the figure."""
    left = max(across[0], up[0] + decade)
    right = min(across[1], up[1] + decade)
    return {
        "type": "line",
        "layer": "below",
        "x0": 10**left,
        "y0": 10 ** (left - decade),
        "x1": 10**right,
        "y1": 10 ** (right - decade),
        "line": {"color": "var(--rule)", "width": 1},
        "label": {
            "text": f"{10.0**decade:g}",
            "textposition": "end",
            "textangle": 0,
            "xanchor": "right",
            "yanchor": "top",
            "padding": 4,
            "font": {"size": 11, "color": "var(--muted)"},
        },
    }


_Coordinate = tuple[str, Callable[[Trial], Any], Callable[[Any], dict[str, Any]]]


def trials_figure(frontier: Frontier, point: Point, trials: Sequence[Trial]) -> Figure:
    """Every started trial by its metaparameters and outcome; the winner of a search starred. With
    the columns and rows of the table that the page's script makes of them, for a reader and for
    files."""
    label = f"Trials by outcome, {of_study(frontier, point)}"
    space, study = dimensions(point.space), point.study.id
    across, up = second_coordinates(space)
    x, y = _coordinate(across, space), _coordinate(up, space)
    drawn = [trial for trial in trials if {across, up} & set(space) <= set(trial.params)]
    if not drawn:
        return nothing(label, "No trial has been sampled yet.")
    names = list(dict.fromkeys(name for trial in drawn for name in trial.params))
    marks = partial(_marks, study=study, names=names, x=x, y=y)
    winner = None if point.measured_elsewhere else point.best
    traces = []
    for style in OUTCOME_STYLES:
        mine = [t for t in drawn if outcome_of(t) == style.name and t != winner]
        if mine:
            mine.sort(key=lambda trial: (trial.steps_to_target or 0, trial.number))
            traces.append(
                marks(
                    legend_entry(style, len(mine), point), style.name, mine, marker=_marker(style)
                )
            )
    if winner in drawn:
        traces.append(marks("winner", Outcome.REACHED, [winner], marker=STAR))
    xaxis = x[2]([x[1](trial) for trial in drawn])
    yaxis = y[2]([y[1](trial) for trial in drawn])
    rates = (across, up) == ("learning_rate", "momentum")
    shapes = equal_rates(xaxis["range"], yaxis["range"]) if rates else []
    drawn_figure = figure(label, traces, showlegend=True, xaxis=xaxis, yaxis=yaxis, shapes=shapes)
    titles, rows = plain_table(trials_table(drawn))
    short = [[_short(value) for value in row] for row in rows]
    listed = {"columns": [words(name) for name in names], "titles": titles, "rows": short}
    return {**drawn_figure, **listed}


def _short(value: Any) -> Any:
    """A value to eight digits: more would be a tenth of the page, and `export` has them all."""
    return float(f"{value:.8g}") if isinstance(value, float) else value


def trials_table(trials: Sequence[Trial]) -> Table:
    """Trials as they are, by number, those that have been sampled."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    titles = ("trial", "outcome", "steps", "steps to target", "metric", *map(words, names))
    columns = (*map(Column, (*titles, "reason")),)
    rows = [
        (
            *(trial.number, outcome_of(trial), trial.steps, trial.steps_to_target, trial.metric),
            *(trial.params.get(name) for name in names),
            trial.reason,
        )
        for trial in sorted(trials, key=lambda trial: trial.number)
        if trial.params or not names
    ]
    return Table(columns, rows)


def second_coordinates(space: Mapping[str, Dimension]) -> tuple[str, str]:
    """What the trials are drawn by: searched metaparameters, else `number` and `steps`."""
    across = "learning_rate" if "learning_rate" in space else next(iter(space), "number")
    reverse = [n for n, d in space.items() if isinstance(d, ReverseLog) and n != across]
    return across, "momentum" if "momentum" in reverse else next(iter(reverse), "steps")


def coordinate_title(name: str, space: Mapping[str, Dimension]) -> str:
    """A coordinate of `trials_figure` in words."""
    return _coordinate(name, space)[0]


def legend_entry(style: OutcomeStyle, drawn: int, point: Point) -> str:
    """A legend entry, with the number of trials if all are drawn; the winner has its own."""
    also = style.name == Outcome.REACHED and not point.measured_elsewhere
    there = point.outcomes.get(style.name, 0) - also
    number = count(drawn) if drawn >= there else f"{count(drawn)} of {count(there)}"
    return f"{'also ' * also}{style.name} ({number})"


def of_study(frontier: Frontier, point: Point) -> str:
    """Which study a figure is of, in words."""
    return f"{frontier.workload} at batch size {count(point.batch_size)}"


def _coordinate(name: str, space: Mapping[str, Dimension]) -> _Coordinate:
    if name == "number":
        return "trial", lambda trial: trial.number, lambda numbers: whole_axis("trial", numbers)
    if name == "steps":  # 0 steps can't be drawn on a log axis; it is the left of everything
        title = "steps trained"
        return title, lambda trial: max(trial.steps, 1), lambda values: log_axis(title, values)
    scale = scale_of(name, space[name])
    return scale.title, lambda trial: scale.shown(trial.params[name]), scale.axis


STAR: dict[str, Any] = {
    "symbol": "star",
    "color": WINNER,
    "size": 17,
    "opacity": 1,
    "line": {"color": "var(--paper)", "width": 1.5},
}
"""The winner\'s mark."""


def _marker(style: OutcomeStyle) -> dict[str, Any]:
    line = {"color": style.color if style.symbol.endswith("open") else "var(--paper)", "width": 1}
    return {"symbol": style.symbol, "color": style.color, "size": 10, "opacity": 0.9, "line": line}


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
    values = (in_figure(significant(trial.params.get(name))) for name in names)
    return [trial.number, count(trial.steps), _in_lines(reason), *values]


@lru_cache(maxsize=1024)  # most of a study's trials end for a few reasons
def _in_lines(reason: str) -> str:
    """A reason below other lines of a label, narrow enough for a phone."""
    lines = map(in_figure, wrap(reason, 40, max_lines=2, placeholder=" …"))
    return "".join(f"<br>{line}" for line in lines)


_EXPLAINED = (Outcome.REACHED, Outcome.CAPPED, None)
"""Outcomes whose reason says nothing more."""


def _hover(outcome: str, names: Sequence[str]) -> str:
    lines = ["<b>trial %{customdata[0]}</b>"]
    lines += [f"{_literal(words(n))} %{{customdata[{i}]}}" for i, n in enumerate(names, 3)]
    lines.append(f"{outcome} after %{{customdata[1]}} steps%{{customdata[2]}}<extra></extra>")
    return "<br>".join(lines)


def _literal(name: str) -> str:
    """A name within a template, whatever is in it."""
    return in_figure(name).replace("%{", "%&#123;")
