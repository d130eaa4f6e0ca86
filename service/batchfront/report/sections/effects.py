"""What each choice of a metaparameter does to the steps to target."""

from collections.abc import Sequence

from batchfront.frontier.analysis.effect import Effect, ValueEffect, effect, searched
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, joined, place, scrolled
from batchfront.report.plotly import Figure, log_axis
from batchfront.report.series import Mark, Series, batch_axis, level, lines_figure, lines_key
from batchfront.report.text import count, escape, in_figure, significant, words
from batchfront.table import Column, Table, of_records


def effects_part(subject: Subject) -> Part:
    """A figure and a table for each metaparameter with choices; nothing where there is none."""
    names = searched(subject.frontier, choices=True)
    read = subject.frontier, subject.trials, subject.goal_curves
    found = [(n, effect(*read, name)) for n, name in enumerate(names)]
    parts = [_effect(subject, n, one) for n, one in found if _lines(one)]
    if not parts:
        return Part()
    said = caption(
        "The fastest trial with each choice, as a multiple of the fastest of all. Each choice has "
        "a part of the trials alone, so small differences are luck. A hollow mark is a bound: the "
        "trials with that choice were stopped there, as another had won."
    )
    return joined((Part("<h3>The effect of choices</h3>"), *parts, Part(said)))


def _effect(subject: Subject, number: int, one: Effect) -> Part:
    name, label = f"{subject.key}/effect/{number}", f"{subject.key}-effect-{number}"
    lines = _lines(one)
    html = (
        f'<h4 id="{label}">{escape(words(one.name))}</h4>{lines_key(lines, "at least")}'
        f"{place(name, 'medium')}{scrolled(label, _table(one), _records(one))}"
    )
    return Part(html, {name: _figure(subject, one, lines)})


def _lines(one: Effect) -> list[Series]:
    """One line a choice, where the winner of some batch size is known."""
    marks: dict[str, list[Mark]] = {choice: [] for choice in _choices(one)}
    for point in one.points:
        for value in point.values:
            if value.ratio is not None and value.needed is not None:
                said = f"batch size {count(point.batch_size)}<br>{in_figure(_steps(value))} steps"
                mark = Mark(point.batch_size, value.ratio, said, value.needed.exact)
                marks[str(value.value)].append(mark)
    return [Series(words(name), found) for name, found in marks.items() if found]


def _choices(one: Effect) -> list[str]:
    return list(dict.fromkeys(str(v.value) for point in one.points for v in point.values))


def _steps(value: ValueEffect) -> str:
    if value.needed is None:
        return "–"
    return f"{'' if value.needed.exact else '≥ '}{count(value.needed.at_least)}"


def _figure(subject: Subject, one: Effect, lines: Sequence[Series]) -> Figure:
    values = [mark.y for line in lines for mark in line.marks]
    return lines_figure(
        f"Steps by {words(one.name)} against batch size, {subject.frontier.workload}",
        lines,
        batch_axis([point.batch_size for point in subject.frontier.points]),
        log_axis("steps, as a multiple of the fastest", values),
        [level(1.0)],
    )


def _table(one: Effect) -> Table:
    choices = _choices(one)
    rows = []
    for point in one.points:
        by_choice = {str(value.value): value for value in point.values}
        rows.append((point.batch_size, point.best, *map(by_choice.get, choices)))
    columns = Column("batch size", count), Column("winner’s", significant)
    return Table((*columns, *(Column(choice, _cell) for choice in choices)), rows)


def _cell(value: ValueEffect) -> str:
    return f"{_steps(value)} ({value.reached} of {value.trials})"


def _records(one: Effect) -> Table:
    """A row for each choice at each batch size, which says whether its steps are a bound."""
    return of_records(
        [
            {
                "batch size": point.batch_size,
                words(one.name): value.value,
                "steps": None if value.needed is None else value.needed.at_least,
                "bound": value.needed is not None and not value.needed.exact,
                "×": value.ratio,
                "reached": value.reached,
                "trials": value.trials,
            }
            for point in one.points
            for value in point.values
        ]
    )
