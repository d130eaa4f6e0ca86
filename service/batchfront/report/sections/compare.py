"""All workloads of the page side by side: normalized in a figure, and their answers in a table."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from batchfront.frontier.analysis.compare import ComparedPoint, Comparison, compare
from batchfront.frontier.analysis.side_by_side import SideBySide, Steps, side_by_side
from batchfront.frontier.curve.answers import BATCH_SIZES, estimate_records
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.text import estimate_text, number, size
from batchfront.frontier.frontier import Frontier
from batchfront.phrases import first_few
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, place, scrolled
from batchfront.report.plotly import Figure, log2_axis, log_axis
from batchfront.report.series import Mark, Series, lines_figure, lines_key
from batchfront.report.table_files import Cell
from batchfront.report.text import count, escape, significant
from batchfront.table import Column, Table, of_records

NAME = "compared"


def compare_part(subjects: Sequence[Subject]) -> Part:
    """Nothing for a page of one workload."""
    if len(subjects) < 2:
        return Part()
    figure = compared([subject.frontier for subject in subjects])
    label = f"{NAME}-answers"
    return Part(
        f'<section class="compared" aria-labelledby="{NAME}"><h2 id="{NAME}">All workloads</h2>'
        f'{figure.html}<h3 id="{label}">What their curves say</h3>'
        f"{scrolled(label, _table(subjects), _records(subjects))}</section>",
        figure.figures,
    )


def compared(frontiers: Sequence[Frontier]) -> Part:
    """Their steps as they are where goal and data are the same, and normalized, drawn with a key;
    then a table of the steps. Nothing unless two have reached their goals."""
    found = compare(frontiers)
    lines = _lines(found)
    if len(lines) < 2:
        return Part()
    groups = side_by_side(frontiers)
    drawn = {str(number): _steps_figure(one, lines) for number, one in enumerate(groups, 1)}
    figures = {f"{NAME}/{name}": figure for name, figure in drawn.items()}
    figures[f"{NAME}/{_NORMALIZED}"] = _figure(lines)
    place_name = f"{NAME}/{{scale}}" if groups else f"{NAME}/{_NORMALIZED}"
    html = (
        f"{''.join(_said(one) for one in groups)}{_switch(groups)}{lines_key(lines)}"
        f"{place(place_name, 'wide')}{caption(*_sentences(found, bool(groups)))}"
        f"{''.join(map(_steps_table, range(1, len(groups) + 1), groups))}"
    )
    return Part(html, figures)


_NORMALIZED = "normalized"


def _said(group: SideBySide) -> str:
    said = f'<p class="answer">{escape(group.sentence)}</p>' if group.sentence else ""
    notes = caption(*map(escape, group.notes)) if said else ""
    return f"{said}{notes}"


def _switch(groups: Sequence[SideBySide]) -> str:
    """The choice of what is drawn: the steps of each group, or all normalized."""
    if not groups:
        return ""
    alone = len(groups) == 1
    names = ["steps" if alone else f"steps to {one.goal}: {_names(one)}" for one in groups]
    options = "".join(
        f'<option value="{number}"{" selected" * (number == 1)}>{escape(name)}</option>'
        for number, name in enumerate(names, 1)
    )
    return (
        '<div class="controls"><label>Draw <select name="scale" autocomplete="off">'
        f'{options}<option value="{_NORMALIZED}">steps, normalized</option></select></label></div>'
    )


def _names(group: SideBySide) -> str:
    return first_few([*group.steps], 2)


def _steps_figure(group: SideBySide, lines: Sequence[Series]) -> Figure:
    """The steps of a group; each workload in the colour that it has when all are drawn."""
    drawn = [
        Series(line.name, [_absolute(group, line.name, size) for size in group.steps[line.name]])
        if line.name in group.steps
        else Series(line.name, [])
        for line in lines
    ]
    values = [mark.y for line in drawn for mark in line.marks]
    sizes = group.batch_sizes
    return lines_figure(
        f"{'Expected steps' if group.expected else 'Steps'} to target against batch size",
        drawn,
        log2_axis("batch size", min(sizes), max(sizes), ticks=16, pad=0.5, room=280),
        log_axis("steps to target", values),
    )


def _absolute(group: SideBySide, workload: str, size: int) -> Mark:
    one = group.steps[workload][size]
    interval = "" if one.low is None or one.high is None else f" ({_interval(group, one)})"
    return Mark(
        size, one.value, f"batch size {count(size)}<br>{group.shown(one.value)} steps{interval}"
    )


def _interval(group: SideBySide, one: Steps) -> str:
    return f"{group.shown(one.low or 0.0)} to {group.shown(one.high or 0.0)}"


def _steps_table(number: int, group: SideBySide) -> str:
    """A row for each batch size and a column for each workload, the fewest steps marked."""
    label = f"{NAME}-steps-{number}"
    columns = (
        Column("batch size", count),
        *(Column(group.brief(workload), Cell.shown) for workload in group.steps),
    )
    rows = [
        (size, *(_cell(group, workload, size) for workload in group.steps))
        for size in group.batch_sizes
    ]
    of = f" of {escape(group.beginning)}…" if group.beginning else ""
    kind = "Expected steps, with 90\u00a0% intervals" if group.expected else "Steps"
    said = caption("In bold with ◂: the fewest at a batch size.")
    return (
        f'<h4 id="{label}" class="apart">{kind}, to {escape(group.goal)}{of}</h4>'
        f"{scrolled(label, Table(columns, rows), _steps_records(group))}{said}"
    )


def _cell(group: SideBySide, workload: str, size: int) -> Cell | None:
    one = group.steps[workload].get(size)
    if one is None:
        return None
    known = one.low is not None
    interval = f" ({_interval(group, one)})" if known else ""
    shown = Markup(escape(f"{group.shown(one.value)}{interval}"))
    marked = Markup('<strong class="best" title="the fewest">{} ◂</strong>')
    best = workload in group.best(size)
    return Cell(one.value, marked.format(shown) if best else shown)


def _steps_records(group: SideBySide) -> Table:
    """The same, a row for each workload and batch size, with whether it is the best."""
    titles = ("workload", "batch size", "steps", "low", "high", "best")
    rows = [
        (workload, size, one.value, one.low, one.high, workload in group.best(size))
        for workload, known in group.steps.items()
        for size, one in sorted(known.items())
    ]
    return Table(tuple(map(Column, titles)), rows)


def compared_figure(frontiers: Sequence[Frontier]) -> Figure | None:
    """Their normalized steps; None unless two of them have reached their goals."""
    lines = _lines(compare(frontiers))
    return _figure(lines) if len(lines) > 1 else None


def _lines(found: Comparison) -> list[Series]:
    return [Series(one.workload, [_mark(point) for point in one.points]) for one in found.series]


def _mark(point: ComparedPoint) -> Mark:
    said = (
        f"batch size {count(point.batch_size)}, {count(point.steps)} steps<br>"
        f"{significant(float(point.relative))} of the steps at {significant(float(point.batches))}"
        " times the batch size"
    )
    return Mark(point.batches, point.relative, said)


def _sentences(found: Comparison, switched: bool) -> list[str]:
    measured = all(one.measured for one in found.series)
    at = count(found.at or 0)
    unit = (
        f"Steps as a multiple of those at batch size {at}."
        if measured
        else f"Steps as a multiple of those of perfect scaling at batch size {at}, from each "
        "workload’s smallest batch size that reached its goal, as they share no batch size."
    )
    unit = f"Normalized, {unit[0].lower()}{unit[1:]}" if switched else unit
    said = [unit, "On the dashed line scaling is perfect for all of them."]
    goals = {one.goal for one in found.series}
    if len(goals) > 1:
        said.append("Their goals differ: only the curves’ shapes can be compared.")
    said += [f"{escape(name)} is left out: {escape(why)}." for name, why in found.skipped.items()]
    return said


def _figure(lines: Sequence[Series]) -> Figure:
    marks = [mark for line in lines for mark in line.marks]
    low, high = min(mark.x for mark in marks), max(mark.x for mark in marks)
    fewest, most = min(mark.y for mark in marks), max(mark.y for mark in marks)
    ideal = {
        "type": "line",
        "layer": "between",
        "x0": low,
        "y0": 1 / low,
        "x1": high,
        "y1": 1 / high,
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
    }
    return lines_figure(
        "Normalized steps to target against batch size",
        lines,
        log2_axis("batch size, as a multiple", low, high, ticks=16, pad=0.5, room=280),
        log_axis("steps, as a multiple", [fewest, most, 1 / high]),
        [ideal],
    )


TITLES = {
    "perfect_until": "near-perfect until",
    "useful_until": "useful up to",
    "half_efficiency": Markup("B<sub>c</sub>"),
    "s_min": Markup("S<sub>min</sub>"),
    "e_min": Markup("E<sub>min</sub>"),
}
"""What a table says of each workload's curve: the field of `Curve` to the title of the column."""


def _table(subjects: Sequence[Subject]) -> Table:
    links = Column("workload", Markup('<a href="#{0.key}">{0.frontier.workload}</a>').format, True)
    columns = (links, *(Column(title, words=True) for title in TITLES.values()))
    rows = [(subject, *estimates(subject.fitted.curve, TITLES)) for subject in subjects]
    return Table(columns, rows)


def _records(subjects: Sequence[Subject]) -> Table:
    """A row for each quantity of each curve."""
    return of_records(
        [
            {"workload": subject.frontier.workload, **record}
            for subject in subjects
            if subject.fitted.curve is not None
            for record in estimate_records(subject.fitted.curve)
        ]
    )


def estimates(curve: Curve | None, names: Iterable[str]) -> list[str | None]:
    """What a curve says of each of these TITLES, in words; None where there is no curve."""
    if curve is None:
        return [None for _ in names]
    shown = ((name, size if name in BATCH_SIZES else number) for name in names)
    texts = (estimate_text(getattr(curve, name), how) for name, how in shown)
    return [text.replace("90\u00a0% interval ", "") for text in texts]
