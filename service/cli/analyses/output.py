"""A result as JSON, as CSV, or as tables for a person."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from service.analysis.censoring import Needed
from service.answers import count
from service.cli.tables import console_for_output, plain_table

NOTHING = "–"


def print_as(
    format_: str,
    plain: Any,
    records: Sequence[Mapping[str, Any]],
    show: Callable[[Callable[..., None]], None],
) -> None:
    """Print in a format.

    plain   -- for JSON: a dataclass, or a list of them
    records -- for CSV: a row each, all with the same keys
    show    -- for a table: is given what prints a line or a table
    """
    if format_ == "json":
        listed = [asdict(one) for one in plain] if isinstance(plain, list) else asdict(plain)
        click.echo(json.dumps(listed, indent=2))
    elif format_ == "csv":
        if records:
            writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
    else:
        show(console_for_output().print)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table; a title that ends in ">" heads a column of numbers."""
    made = plain_table(*titles)
    for row in rows:
        made.add_row(*row)
    return made


def times(ratio: float | None) -> str:
    """A multiple for a person: "1.24×"."""
    return NOTHING if ratio is None else f"{ratio:.3g}×" if ratio < 100 else f"{ratio:,.0f}×"


def multiple(needed: Needed, ratio: float) -> str:
    """A multiple that may be a bound: "1.24×", "1.2× to 1.5×", ">= 1.2×"; `ratio` is the lower."""
    if needed.at_most is None or not needed.at_least:
        return f">= {times(ratio)}"
    upper = ratio * needed.at_most / needed.at_least
    return times(ratio) if needed.exact else f"{times(ratio)} to {times(upper)}"


def short(value: float | None) -> str:
    """A value for a person: three significant digits."""
    return NOTHING if value is None else f"{value:.3g}"


def whole(value: float | None) -> str:
    """A number of steps or trials for a person: "12,345"."""
    return NOTHING if value is None else count(value)
