"""Rows of the tables of hours and money, of which anybody may have written some: databases are
shared, and exports come from elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select

from batchfront.errors import StorageError
from batchfront.store.commands import command
from batchfront.store.snapshot import Source, snapshot


def rows_of(
    source: Source,
    query: Select[Any],
    workload: str,
    what: str,
    flaw: Callable[[Mapping[Any, Any]], str | None],
) -> Sequence[Row[Any]]:
    """The rows of a workload that a query finds.

    what -- they are, as the option of `delete` that removes them is called: "timings"
    flaw -- what can't be right in a row; None if nothing is

    Raises StorageError, with the command that removes them, where one of them can't be right.
    """
    with snapshot(source) as moment:
        rows, url = moment.execute(query).all(), moment.engine.url
    for row in rows:
        if (wrong := flaw(row._mapping)) is not None:
            removal = command(url, "delete", workload, f"--{what}")
            raise StorageError(
                f"the {what} of {workload} can't be read: of one, {wrong}; {removal} removes them"
            )
    return rows


def below_least(row: Mapping[Any, Any], least: Mapping[str, int]) -> str | None:
    """Which column's number is less than the least that there can be; None if none is."""
    for name, bound in least.items():
        if row[name] is not None and row[name] < bound:
            return f"{name} is {row[name]}, below {bound}"
    return None


def are_texts(read: Any) -> bool:
    """Whether what was read from JSON is an object of texts."""
    return isinstance(read, dict) and all(isinstance(one, str) for one in read.values())
