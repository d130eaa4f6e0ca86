"""The curve in numbers, and which points it goes through."""

from collections.abc import Iterable

from batchfront.frontier.curve.answers import estimate_records
from batchfront.frontier.curve.text import in_tokens
from batchfront.frontier.expected_table import fitted_to, flattery
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, scrolled
from batchfront.report.text import by_points, escape
from batchfront.table import Column, Table, of_records


def numbers_part(subject: Subject) -> Part:
    """What the curve's parameters and answers are, and how it compares with the points alone;
    without a curve how lucky the points are, and nothing where that can't be told either."""
    said = caption(*_sentences(subject))
    if subject.fitted.curve is None:
        return Part(said if any(_sentences(subject)) else "")
    label, records = f"{subject.key}-curve", of_records(estimate_records(subject.fitted.curve))
    table = scrolled(label, _table(subject), records)
    return Part(f'<h3 id="{label}">The curve in numbers</h3>{table}{said}')


def _sentences(subject: Subject) -> Iterable[str]:
    frontier, curve = subject.frontier, subject.fitted.curve
    if curve is not None:
        yield escape(fitted_to(frontier) or "")
    yield escape(flattery(frontier) or "")
    if curve is not None:
        yield in_tokens(frontier, curve) or ""
        yield escape(by_points(frontier, subject.asked.curve))


def _table(subject: Subject) -> Table:
    columns = (
        Column("quantity", words=True),
        Column("value"),
        Column("90\u00a0% interval"),
        Column("decided by batch sizes", words=True),
    )
    facts = subject.fitted.facts
    return Table(columns, [(one.name, one.value, one.interval, one.evidence) for one in facts])
