"""A frontier on standard output."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from batchfront.cli.output.tables import AS_RECORDS, Output, print_output, warn_of_mixed_code
from batchfront.frontier.expected import ExpectedFrontier, ExpectedPoint
from batchfront.frontier.expected_table import expected_table, why_none_expected
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.intervals import apart
from batchfront.frontier.overview import frontier_table
from batchfront.frontier.warnings import at_edges
from batchfront.table import Column, Table, beside
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import value_text

_ENDS = (*Outcome, "open")


def print_frontier(frontier: Frontier, expected: ExpectedFrontier | None, format_: str) -> None:
    """A frontier as tables, JSON or CSV.

    expected -- what is expected of it; None where nobody asks
    """
    if format_ in AS_RECORDS:
        warn_of_mixed_code(frontier)
    tables, plain = [_table(frontier)], frontier.to_dict()
    if expected is not None:
        tables.append(expected_table(frontier, value_text))
        why = why_none_expected(frontier)
        tables += [] if why is None else [Table(notes=["", why])]
        plain["expected"] = expected.to_dict()
    print_output(Output(tables, _records(frontier, expected), plain), format_)


def _table(frontier: Frontier) -> Table:
    table, far = frontier_table(frontier), apart(frontier)
    notes = [*table.notes, *([] if far is None else [far]), *at_edges(frontier)]
    return replace(table, notes=notes)


_EXPECTED = ("expected", "expected_low", "expected_high")


def _records(frontier: Frontier, expected: ExpectedFrontier | None) -> Table:
    names = frontier.metaparameters
    known = {} if expected is None else expected.by_batch_size
    fields = ("workload", "batch_size", "steps", "steps_lower", "examples", "trial")
    recommended = () if expected is None else (*_EXPECTED, *(f"recommended_{n}" for n in names))
    tokens = ("batch_tokens",) if frontier.tokens_per_example is not None else ()
    rows = [
        (
            frontier.workload,
            point.batch_size,
            point.steps,
            point.steps_lower,
            point.examples,
            point.trial,
            *(point.params.get(name) for name in names),
            *(point.outcomes.get(outcome, 0) for outcome in _ENDS),
            *([] if expected is None else _expected(known.get(point.batch_size), names)),
            *([point.batch_tokens] if tokens else []),
        )
        for point in frontier.points
    ]
    titles = beside((*fields, *_ENDS, *recommended, *tokens), names).values()
    return Table(tuple(map(Column, (*fields, *titles, *_ENDS, *recommended, *tokens))), rows)


def _expected(point: ExpectedPoint | None, names: Sequence[str]) -> list[Any]:
    if point is None:
        return [None] * (len(_EXPECTED) + len(names))
    return [point.steps, point.low, point.high, *(point.metaparameters.get(n) for n in names)]
