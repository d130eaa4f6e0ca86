"""Prints the comparison of workloads."""

from collections.abc import Callable

from service.analysis.compare import Comparison, Series
from service.answers import percent
from service.cli.analyses.output import print_as, short, table, times, whole
from service.curve import EXTRA


def print_comparison(comparison: Comparison, format_: str) -> None:
    """A row per workload and batch size; at the end where each leaves perfect scaling."""
    records = [
        {
            "workload": series.workload,
            "at": comparison.at,
            "measured": series.measured,
            **vars(point),
        }
        for series in comparison.series
        for point in series.points
    ]
    print_as(format_, comparison, records, lambda show: _show(comparison, show))


def _show(comparison: Comparison, show: Callable[..., None]) -> None:
    for series in comparison.series:
        show(f"\n{series.workload}: {series.goal}\n")
        rows = [
            (
                whole(point.batch_size),
                whole(point.steps),
                times(point.batches),
                short(point.relative),
                short(1 / point.batches),
                times(point.examples),
            )
            for point in series.points
        ]
        titles = ("batch size>", "steps>", "batch>", "relative steps>", "if perfect>", "examples>")
        show(table(titles, rows))
        for sentence in (series.answers[0], _measured(series), *series.answers[1:]):
            show(sentence)
    if comparison.series:
        measured = all(series.measured for series in comparison.series)
        by = "as measured" if measured else "by each workload's own line of perfect scaling"
        show(f"\nSteps are relative to those at batch size {comparison.at:,}, {by}.")
    for workload, reason in comparison.skipped.items():
        show(f"\n{workload}: left out, {reason}.")


def _measured(series: Series) -> str:
    """The same question, asked of the points alone."""
    first, until = series.points[0].batch_size, series.measured_until
    more = f"{percent(EXTRA)} more examples than {first:,}"
    if until == first:
        return f"Of the points alone, none larger took at most {more}."
    taken = f"Of the points alone, {until:,} is the largest batch size that took at most {more}"
    if series.leaves_at is None:
        return f"{taken}, and the largest measured."
    return f"{taken}; {series.leaves_at:,} took more."
