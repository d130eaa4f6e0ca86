"""Prints steps to several goals."""

from collections.abc import Callable

from service.analysis.goals import GoalPoint, Goals
from service.cli.analyses.output import NOTHING, print_as, table, whole


def print_goals(found: Goals, format_: str) -> None:
    """A row per batch size, a column per goal."""
    records = [
        {"workload": found.workload, "goal": one.value, "own": one.own, **vars(point)}
        for one in found.frontiers
        for point in one.points
    ]
    print_as(format_, found, records, lambda show: _show(found, show))


def _show(found: Goals, show: Callable[..., None]) -> None:
    if found.reason:
        show(f"{found.workload}: {found.reason}.")
        return
    show(f"\n{found.workload}: steps to other goals of {found.metric}\n")
    columns = [{p.batch_size: _cell(p) for p in one.points} for one in found.frontiers]
    sizes = sorted({batch_size for column in columns for batch_size in column})
    # Each title ends in the mark of a column of numbers.
    titles = [f"{one.text}{' (its own)' if one.own else ''}>" for one in found.frontiers]
    rows = [[whole(size), *(column.get(size, NOTHING) for column in columns)] for size in sizes]
    show(table(("batch size>", *titles), rows))
    show(
        "\nA goal was passed between two looks, such as 90-128. <=: perhaps sooner, by a trial "
        "that stopped before; >: by none of them within these steps."
    )


def _cell(point: GoalPoint) -> str:
    if point.steps is None:
        return NOTHING if point.steps_lower is None else f"> {whole(point.steps_lower)}"
    span = f"{whole(point.steps_lower)}-{whole(point.steps)}"
    return span if point.complete else f"<= {span}"
