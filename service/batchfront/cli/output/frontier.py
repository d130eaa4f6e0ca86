"""A frontier on standard output."""

from batchfront.cli.output.numbers import number
from batchfront.cli.output.tables import AS_RECORDS, Output, print_output, warn_of_mixed_code
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import apart
from batchfront.frontier.next_commands import wider_space
from batchfront.outcomes import in_words
from batchfront.table import Column, Table
from batchfront.vocabulary import Outcome

_ENDS = (*Outcome, "open")


def print_frontier(frontier: Frontier, format_: str) -> None:
    """A frontier as a table, JSON or CSV."""
    if format_ in AS_RECORDS:
        warn_of_mixed_code(frontier)
    print_output(Output([_table(frontier)], _records(frontier), frontier.to_dict()), format_)


def _table(frontier: Frontier) -> Table:
    names = _names(frontier)
    columns = (
        Column("batch size", count),
        Column("steps", count),
        Column("last miss", count),
        Column("examples", count),
        Column("trial"),
        *(Column(name, number) for name in names),
        Column("all trials", in_words, words=True),
    )
    rows = [
        (*_numbers(point), *(point.params.get(name) for name in names), point.outcomes)
        for point in frontier.points
    ]
    title = f"{frontier.workload}: steps to target, {frontier.goal_text}"
    return Table(columns, rows, title, _notes(frontier))


def _numbers(point: Point) -> tuple[float | None, ...]:
    return point.batch_size, point.steps, point.steps_lower, point.examples, point.trial


def _names(frontier: Frontier) -> list[str]:
    return sorted({name for point in frontier.points for name in point.params})


def _notes(frontier: Frontier) -> list[str]:
    code = mixed(frontier)
    notes = [] if code is None else [code]
    dropped = [f"{p.batch_size} ({p.outcomes['dropped']})" for p in frontier.points if p.inexact]
    if dropped:
        notes.append(
            "Trials were dropped by an option of the search, so another than the winner may have "
            f"been faster: {', '.join(dropped)}"
        )
    far = apart(frontier)
    notes += [] if far is None else [far]
    edges = [
        f"{point.batch_size} ({', '.join(f'{name} {end}' for name, end in point.edges.items())})"
        for point in frontier.points
        if point.edges
    ]
    if edges:
        widens = wider_space(frontier)
        notes.append(
            f"At an edge of the search space, so better may lie beyond: {'; '.join(edges)}"
        )
        notes += [f"{widens} widens it."] if widens else []
    return notes


def _records(frontier: Frontier) -> Table:
    names = _names(frontier)
    fields = ("workload", "batch_size", "steps", "steps_lower", "examples", "trial")
    rows = [
        (
            frontier.workload,
            *_numbers(point),
            *(point.params.get(name) for name in names),
            *(point.outcomes.get(outcome, 0) for outcome in _ENDS),
        )
        for point in frontier.points
    ]
    return Table(tuple(map(Column, (*fields, *names, *_ENDS))), rows)
