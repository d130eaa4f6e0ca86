"""A frontier as a table, for a terminal and a notebook alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from batchfront.frontier.code_versions import mixed
from batchfront.outcomes import outcomes_column
from batchfront.phrases import count
from batchfront.table import Column, Table, beside
from batchfront.workload.search_space import value_text

if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier


def frontier_table(frontier: "Frontier") -> Table:
    """A row for each batch size, and where its trials may not be what they seem."""
    names = frontier.metaparameters
    in_tokens = frontier.tokens_per_example is not None
    columns = (
        Column("batch size", count),
        *([Column("in tokens", count)] if in_tokens else []),
        Column("steps", count),
        Column("last miss", count),
        Column("examples", count),
        Column("trial"),
        *(
            Column(title, value_text)
            for title in beside(("steps", "examples", "trial"), names).values()
        ),
        outcomes_column("all trials"),
    )
    rows = [
        (
            point.batch_size,
            *([point.batch_tokens] if in_tokens else []),
            point.steps,
            point.steps_lower,
            point.examples,
            point.trial,
            *(point.params.get(name) for name in names),
            point.outcomes,
        )
        for point in frontier.points
    ]
    title = f"{frontier.workload}: steps to target"
    title += f", {frontier.goal_text}" if frontier.points else ""
    return Table(columns, rows, title, _notes(frontier))


def _notes(frontier: "Frontier") -> list[str]:
    code = mixed(frontier)
    notes = [*frontier.nothing_trains, *([] if code is None else [code])]
    dropped = [f"{p.batch_size} ({p.outcomes['dropped']})" for p in frontier.points if p.inexact]
    if dropped:
        notes.append(
            "Trials were dropped by an option of the search, so another than the winner may have "
            f"been faster: {', '.join(dropped)}"
        )
    return notes


def frontier_tables(frontier: "Frontier") -> Sequence[Table]:
    """What a notebook shows of a frontier, without the commands that a terminal adds."""
    table = frontier_table(frontier)
    edges = [f"{point.batch_size:,}" for point in frontier.points if point.edges]
    if edges:
        said = "The winner lies at an edge of the search space, so better may lie beyond, at batch "
        table = replace(table, notes=[*table.notes, f"{said}size {', '.join(edges)}."])
    return [table]
