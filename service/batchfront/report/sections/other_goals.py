"""Steps to other goals, from the same measurements."""

from dataclasses import replace

from batchfront.frontier.analysis.other_goals import GoalFrontier, GoalPoint, goals
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, place, scrolled
from batchfront.report.plotly import Figure, log_axis
from batchfront.report.series import Mark, Series, batch_axis, lines_figure, lines_key
from batchfront.report.text import count, escape
from batchfront.table import NOTHING, Column, Table, by_batch_size


def goals_part(subject: Subject) -> Part:
    """The frontier for several goals; nothing where no other goal can be told."""
    found = goals(subject.frontier, subject.trials, subject.goal_curves).frontiers
    told = [one for one in found if any(point.steps is not None for point in one.points)]
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
        f"{place(name, 'medium')}{said}{scrolled(label, _table(told))}"
    )
    return Part(html, {name: _figure(subject, lines)})


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


def _cell(point: GoalPoint) -> str:
    if point.steps is None:
        return NOTHING
    return f"{'' if point.complete else '≤ '}{count(point.steps)}"
