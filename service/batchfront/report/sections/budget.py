"""The best goal metric within budgets of steps, and of epochs or examples."""

from collections.abc import Sequence

from batchfront.frontier.analysis.budget import BestWithin, Budget, BudgetResult, budgets
from batchfront.frontier.next_commands import going_on
from batchfront.report.data import Subject
from batchfront.report.html import Part, advised, caption, place, scrolled
from batchfront.report.plotly import Figure, log_axis, plain_axis
from batchfront.report.series import Mark, Series, batch_axis, lines_figure, lines_key
from batchfront.report.text import count, escape, in_figure, significant
from batchfront.table import NOTHING, Column, Table, by_batch_size, of_records


def budget_part(subject: Subject) -> Part:
    """A figure and a table of each kind of budget; nothing where nothing was measured."""
    results = budgets(subject.frontier, subject.trials, subject.goal_curves).results
    told = [result for result in results if any(p.value is not None for p in result.points)]
    if not told:
        return Part()
    html, figures = ["<h3>The best within a budget</h3>", '<div class="pair">'], {}
    units = list(dict.fromkeys(result.budget.unit for result in told))
    for unit in units:
        name = f"{subject.key}/budget/{unit}"
        mine = [result for result in told if result.budget.unit == unit]
        lines = [_line(subject, result) for result in mine]
        figures[name] = _figure(subject, lines, unit)
        html.append(
            f"<div><h4>Within {unit}</h4>{lines_key(lines, 'may be better')}"
            f"{place(name, 'half')}</div>"
        )
    metric = escape(subject.frontier.metric_text)
    goes_on = going_on(subject.frontier)
    said = caption(
        f"The best {metric} that any trial came to within so many steps, or so much "
        "data. Trials that race are stopped at the goal, or once another has passed it: a hollow "
        "mark, or a value with *, may be better than shown, as a trial was stopped before its "
        "budget was spent.",
        advised(goes_on, "", " lets the first that pass the goal go on."),
    )
    html += ["</div>", said]
    label = f"{subject.key}-budget"
    html.append(f'<h4 id="{label}" class="apart">The best within each budget</h4>')
    html.append(scrolled(label, _table(told), _records(told)))
    return Part("".join(html), figures)


def _named(budget: Budget) -> str:
    whole = budget.amount == int(budget.amount)
    amount = count(int(budget.amount)) if whole else significant(budget.amount)
    return f"{amount} {budget.unit}"


def _line(subject: Subject, result: BudgetResult) -> Series:
    ids = {point.batch_size: point.study.id for point in subject.frontier.points}
    metric = in_figure(str(subject.frontier.goal["metric"]))
    marks = [
        Mark(
            point.batch_size,
            point.value,
            f"batch size {count(point.batch_size)}<br>{metric} {significant(point.value)} "
            f"at step {count(point.step or 0)} of {count(point.steps)}",
            point.complete,
            None if point.trial is None else (ids[point.batch_size], point.trial),
        )
        for point in result.points
        if point.value is not None
    ]
    return Series(_named(result.budget), marks)


def _figure(subject: Subject, lines: Sequence[Series], unit: str) -> Figure:
    metric = subject.frontier.metric_text
    values = [mark.y for line in lines for mark in line.marks]
    log = subject.frontier.goal["better"] == "lower" and min(values) > 0
    return lines_figure(
        f"Best {metric} within budgets of {unit} against batch size, {subject.frontier.workload}",
        lines,
        batch_axis([point.batch_size for point in subject.frontier.points]),
        log_axis(in_figure(metric), values) if log else plain_axis(in_figure(metric)),
    )


def _table(told: Sequence[BudgetResult]) -> Table:
    series = [
        (Column(_named(one.budget), _cell), {point.batch_size: point for point in one.points})
        for one in told
    ]
    return Table(*by_batch_size(Column("batch size", count), series))


def _records(told: Sequence[BudgetResult]) -> Table:
    """A row for each point, which says whether it may be better."""
    return of_records(
        [
            {
                "batch size": point.batch_size,
                "budget": one.budget.amount,
                "unit": one.budget.unit,
                "best": point.value,
                "trial": point.trial,
                "step": point.step,
                "complete": point.complete,
            }
            for one in told
            for point in one.points
        ]
    )


def _cell(point: BestWithin) -> str:
    if point.value is None:
        return NOTHING
    return f"{significant(point.value)}{'' if point.complete else ' *'}"
