"""All workloads of the page side by side: normalized in a figure, and their answers in a table."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from batchfront.frontier.analysis.compare import ComparedPoint, Comparison, compare
from batchfront.frontier.curve.answers import BATCH_SIZES
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.text import estimate_text, number, size
from batchfront.frontier.frontier import Frontier
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, place, scrolled
from batchfront.report.plotly import Figure, log2_axis, log_axis
from batchfront.report.series import Mark, Series, lines_figure, lines_key
from batchfront.report.text import count, escape, significant
from batchfront.table import Column, Table

NAME = "compared"


def compare_part(subjects: Sequence[Subject]) -> Part:
    """Nothing for a page of one workload."""
    if len(subjects) < 2:
        return Part()
    figure = compared([subject.frontier for subject in subjects])
    return Part(
        '<section class="compared" aria-labelledby="compared"><h2 id="compared">All workloads</h2>'
        f"{figure.html}{scrolled('compared', _table(subjects))}</section>",
        figure.figures,
    )


def compared(frontiers: Sequence[Frontier]) -> Part:
    """Their normalized steps, drawn with a key; nothing unless two have reached their goals."""
    found = compare(frontiers)
    lines = _lines(found)
    if len(lines) < 2:
        return Part()
    html = f"{lines_key(lines)}{place(NAME, 'wide')}{caption(*_sentences(found))}"
    return Part(html, {NAME: _figure(lines)})


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


def _sentences(found: Comparison) -> list[str]:
    measured = all(one.measured for one in found.series)
    at = count(found.at or 0)
    unit = (
        f"Steps as a multiple of those at batch size {at}."
        if measured
        else f"Steps as a multiple of those of perfect scaling at batch size {at}, from each "
        "workload’s smallest batch size that reached its goal, as they share no batch size."
    )
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


def estimates(curve: Curve | None, names: Iterable[str]) -> list[str | None]:
    """What a curve says of each of these TITLES, in words; None where there is no curve."""
    if curve is None:
        return [None for _ in names]
    shown = ((name, size if name in BATCH_SIZES else number) for name in names)
    texts = (estimate_text(getattr(curve, name), how) for name, how in shown)
    return [text.replace("90\u00a0% interval ", "") for text in texts]
