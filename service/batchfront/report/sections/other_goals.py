"""Steps to other goals, from the same measurements, and the critical batch size along training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from batchfront.frontier.analysis.along_training import GoalCurve, along_training
from batchfront.frontier.analysis.along_training_text import (
    along_table,
    how_close,
    what_is_censored,
)
from batchfront.frontier.analysis.other_goals import GoalFrontier, GoalPoint
from batchfront.frontier.curve.answers import estimate_records
from batchfront.frontier.curve.text import estimate_text
from batchfront.frontier.curve.text import size as size_text
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, joined, place, scrolled, with_code
from batchfront.report.plotly import Figure, figure, log2_axis, log_axis, plain_axis
from batchfront.report.series import Mark, Series, batch_axis, lines_figure, lines_key
from batchfront.report.text import WINNER, count, escape, in_figure, rounded
from batchfront.table import NOTHING, Column, Table, by_batch_size, of_records


def goals_part(subject: Subject) -> Part:
    """The frontier for several goals; nothing where no other goal can be told."""
    frontier = subject.frontier
    found = along_training(frontier, subject.trials, subject.goal_curves, asked=subject.asked.curve)
    found = tuple(one for one in found if any(p.steps is not None for p in one.points))
    told = [one.goal for one in found]
    if len(told) < 2:
        return Part()
    ids = {point.batch_size: point.study.id for point in subject.frontier.points}
    common = f"{subject.frontier.metric_text} "
    told = [replace(one, text=one.text.removeprefix(common)) for one in told]
    lines = [_line(one, ids) for one in told]
    name, label = f"{subject.key}/goals", f"{subject.key}-goals"
    said = caption(
        f"The same trials, read for goals of {escape(common.strip())} that are easier to reach, "
        "or harder ones where trials went on past their own.",
        "Those goals were looked for at the kept measurements alone, which lie further apart."
        * (subject.frontier.points[0].study.kind is None),  # others' are all kept
        "A hollow mark may still be too high: a trial that was stopped before might have been "
        "faster.",
    )
    html = (
        f'<h3 id="{label}">Other goals</h3>{lines_key(lines, "at most")}'
        f"{place(name, 'medium')}{said}{scrolled(label, _table(told), _records(told))}"
    )
    return joined((Part(html, {name: _figure(subject, lines)}), _along_part(subject, found)))


def _along_part(subject: Subject, found: Sequence[GoalCurve]) -> Part:
    """How far a larger batch helps, by goal; nothing unless a curve can be drawn for two."""
    drawn = [one for one in found if one.curve.refusal is None]
    if len(drawn) < 2:
        return Part()
    name, label = f"{subject.key}/along", f"{subject.key}-along"
    table = along_table(found)
    columns = [
        replace(column, title=_TITLES.get(column.title, column.title)) for column in table.columns
    ]
    censored = [f"{one.goal.text}: {said}" for one in found for said in what_is_censored(one)]
    close = next(filter(None, map(how_close, found)), None)
    notes = caption(
        "The curve is fitted for each goal by itself. Where larger batches pay the more the "
        "further training has come, as McCandlish et al. 2018 found of the gradient noise scale, "
        "B<sub>c</sub> rises from goal to goal. Bars are 90\u00a0% intervals; a hollow mark is a "
        "bound.",
        *map(escape, filter(None, [*table.notes, close])),
        *(with_code(escape(said)) for said in censored),
    )
    shown = scrolled(label, replace(table, columns=columns, notes=()), _along_records(found))
    html = (
        f'<h4 id="{label}" class="apart">Critical batch size along training</h4>'
        f"{place(name, 'medium')}{shown}{notes}"
    )
    return Part(html, {name: _along_figure(subject, drawn)})


_TITLES = {"B_c": Markup("B<sub>c</sub>"), "S_min": Markup("S<sub>min</sub>")}


def _along_figure(subject: Subject, drawn: Sequence[GoalCurve]) -> Figure:
    """B_c against the goal, the easiest to the left."""
    marks = [(one, half) for one in drawn if (half := one.curve.half_efficiency).kind != "unknown"]
    goals = [one.value for one in drawn]
    title = in_figure(f"goal: {subject.frontier.metric_text}")
    across = log_axis(title, goals) if min(goals) > 0 else plain_axis(title)
    if subject.frontier.goal["better"] == "lower" and "range" in across:
        across = {**across, "range": across["range"][::-1]}
    elif subject.frontier.goal["better"] == "lower":
        across = {**across, "autorange": "reversed"}
    across |= {"tickvals": goals, "ticktext": [in_figure(one.goal.text) for one in drawn]}
    sizes = [size for _, half in marks for size in (half.value, half.low, half.high) if size]
    at = [half.value or half.low or half.high or 0.0 for _, half in marks]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "half-efficiency batch size, B_c",
        "x": [rounded(one.value) for one, _ in marks],
        "y": list(map(rounded, at)),
        "line": {"color": WINNER, "width": 2},
        "marker": {
            "symbol": ["circle" if half.kind == "number" else "circle-open" for _, half in marks],
            "color": WINNER,
            "size": 8,
            "opacity": 1,
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [
                rounded((half.high or y) - y) for (_, half), y in zip(marks, at, strict=True)
            ],
            "arrayminus": [
                rounded(y - (half.low or y)) for (_, half), y in zip(marks, at, strict=True)
            ],
            "color": WINNER,
            "thickness": 1.25,
            "width": 4,
        },
        "hovertext": [
            f"<b>{in_figure(one.goal.text)}</b><br>B_c {estimate_text(half, size_text)}"
            for one, half in marks
        ],
        "hoverinfo": "text",
        "cliponaxis": False,
    }
    low, high = (min(sizes), max(sizes)) if sizes else (1.0, 2.0)
    return figure(
        f"Half-efficiency batch size against the goal, {subject.frontier.workload}",
        [trace],
        xaxis=across,
        yaxis=log2_axis("half-efficiency batch size", low, high, ticks=9, pad=0.5),
        margin={"l": 40, "r": 12, "t": 32, "b": 44},
    )


def _line(one: GoalFrontier, ids: dict[int, int]) -> Series:
    marks = [
        Mark(
            point.batch_size,
            point.steps,
            f"batch size {count(point.batch_size)}<br>{'' if point.complete else 'at most '}"
            f"{count(point.steps)} steps, trial {point.trial}",
            point.complete,
            None if point.trial is None else (ids[point.batch_size], point.trial),
        )
        for point in one.points
        if point.steps is not None
    ]
    return Series(one.text + (", the goal searched for" if one.own else ""), marks)


def _figure(subject: Subject, lines: list[Series]) -> Figure:
    return lines_figure(
        f"Steps to other goals against batch size, {subject.frontier.workload}",
        lines,
        batch_axis([point.batch_size for point in subject.frontier.points]),
        log_axis("steps", [mark.y for line in lines for mark in line.marks]),
    )


def _table(told: list[GoalFrontier]) -> Table:
    series = [(Column(one.text, _cell), {p.batch_size: p for p in one.points}) for one in told]
    return Table(*by_batch_size(Column("batch size", count), series))


def _records(told: list[GoalFrontier]) -> Table:
    """A row for each point, which says whether the steps are known or at most so many."""
    return of_records(
        [
            {
                "batch size": point.batch_size,
                "goal": one.value,
                "steps": point.steps,
                "trial": point.trial,
                "complete": point.complete,
            }
            for one in told
            for point in one.points
        ]
    )


def _along_records(found: Sequence[GoalCurve]) -> Table:
    """A row for each quantity of each goal's curve."""
    return of_records(
        [
            {"goal": one.goal.value, "complete": len(one.complete), "of": len(one.points), **record}
            for one in found
            for record in estimate_records(one.curve)
        ]
    )


def _cell(point: GoalPoint) -> str:
    if point.steps is None:
        return NOTHING
    return f"{'' if point.complete else '≤ '}{count(point.steps)}"
