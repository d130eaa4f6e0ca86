"""A progress bar for what is done piece by piece."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from batchfront.frontier.analysis.censoring import Needed
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.next_commands import wider_space
from batchfront.study.study import goal_text
from batchfront.workload.search_space import restore_space


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; gives the function that advances it.

    what -- the pieces, in the plural
    """
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


_ORDER = ("reached", "capped", "dropped", "stalled", "diverged", "exhausted", "failed", "open")


def print_frontier(frontier: Frontier, format_: str) -> None:
    """A frontier as a table, JSON or CSV."""
    if format_ == "json":
        click.echo(json.dumps(frontier.to_dict(), indent=2))
    elif format_ == "csv":
        _frontier_csv(frontier)
        warn_of_mixed_code(frontier)
    else:
        _frontier_table(frontier)


def warn_of_mixed_code(frontier: Frontier) -> None:
    """Say on standard error, beside numbers for a machine, if they mix versions of the code."""
    said = mixed(frontier)
    if said is not None:
        click.echo(f"batchfront: warning: {frontier.workload}: {said}", err=True)


def print_workloads(listed: list[dict[str, Any]]) -> None:
    """The catalog as a table."""
    table = plain_table("Workload", "goal", "batch sizes", "searched")
    # A name is there to be copied: other columns give way.
    table.columns[0].min_width = max((len(workload["name"]) for workload in listed), default=0)
    for workload in listed:
        space = _first_space(workload["search_space"])
        searched = ", ".join(name for name, entry in space.items() if isinstance(entry, Mapping))
        table.add_row(
            workload["name"], goal_text(workload["goal"]), sizes(workload["batch_sizes"]), searched
        )
    console_for_output().print(table)


def print_workload(shown: dict[str, Any]) -> None:
    """One workload, whole."""
    console = console_for_output()
    console.print(shown["name"])
    if shown["description"]:
        console.print(shown["description"])
    console.print(f"\ngoal         {goal_text(shown['goal'])}")
    console.print(f"algorithm    {shown['algorithm']['name']}")
    console.print(f"schedule     {shown['schedule']['name']}")
    console.print(f"batch sizes  {sizes(shown['batch_sizes'])}")
    by_size = {b: s for b, s in shown["search_space"].items() if b.isdigit()}
    for batch_size, space in (by_size or {"": shown["search_space"]}).items():
        console.print(f"\nsearch space{f' at batch size {batch_size}' if batch_size else ''}")
        for name, entry in restore_space(space).items():
            console.print(f"  {name:<20} {entry}")
    table = plain_table("batch size>", "step budget>", "examples>")
    for batch_size, steps in shown["step_budget"].items():
        table.add_row(batch_size, f"{steps:,}", f"{steps * int(batch_size):,}")
    console.print(table)


def sizes(batch_sizes: list[int]) -> str:
    """Batch sizes for a person: "2..1024" where every power of two between is there."""
    powers = [b for b in batch_sizes if b & (b - 1) == 0]
    rest = [b for b in batch_sizes if b not in powers]
    whole = len(powers) > 2 and powers == [powers[0] << k for k in range(len(powers))]
    shown = [f"{powers[0]}..{powers[-1]}"] if whole else [str(b) for b in powers]
    return ", ".join(shown + [str(b) for b in rest])


def number(value: Any) -> str:
    """A metaparameter for a person: three significant digits; just below 1, those of its distance
    to 1."""
    if isinstance(value, float) and 0.9 < value < 1:
        return f"{value:.{max(3, 1 - math.floor(math.log10(1 - value)))}f}".rstrip("0")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _frontier_table(frontier: Frontier) -> None:
    console = console_for_output()
    console.print(f"\n{frontier.workload}: steps to target, {frontier.goal_text}\n")
    names = sorted({name for point in frontier.points for name in point.params})
    titles = (
        "batch size>",
        "steps>",
        "last miss>",
        "examples>",
        "trial>",
        *(f"{n}>" for n in names),
    )
    table = plain_table(*titles, "all trials")
    for point in frontier.points:
        table.add_row(*_frontier_cells(point, names), ended(point.outcomes))
    console.print(table)
    code = mixed(frontier)
    if code is not None:
        console.print(code)
    dropped = [f"{p.batch_size} ({p.outcomes['dropped']})" for p in frontier.points if p.inexact]
    if dropped:
        console.print(
            "Trials were dropped by an option of the search, so another than the winner may have "
            f"been faster: {', '.join(dropped)}"
        )
    edges = [
        f"{point.batch_size} ({', '.join(f'{name} {end}' for name, end in point.edges.items())})"
        for point in frontier.points
        if point.edges
    ]
    if edges:
        console.print(
            f"At an edge of the search space, so better may lie beyond: {'; '.join(edges)}"
        )
        widens = wider_space(frontier)
        if widens:
            console.print(f"{widens} widens it.")


def _frontier_cells(point: Point, names: list[str]) -> list[str]:
    if point.steps is None or point.examples is None:
        return [f"{point.batch_size:,}", *("–" for _ in range(4 + len(names)))]
    return [
        f"{point.batch_size:,}",
        count(point.steps),
        "–" if point.steps_lower is None else count(point.steps_lower),
        count(point.examples),
        "–" if point.trial is None else str(point.trial),
        *(number(point.params.get(name, "–")) for name in names),
    ]


def _frontier_csv(frontier: Frontier) -> None:
    points = [point.to_dict() for point in frontier.points]
    params = sorted({name for point in points for name in point["params"]})
    fields = ["batch_size", "steps", "steps_lower", "examples", "trial"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["workload", *fields, *params, *_ORDER])
    for point in points:
        writer.writerow(
            [
                frontier.workload,
                *(point[field] for field in fields),
                *(point["params"].get(name) for name in params),
                *(point["outcomes"].get(outcome, 0) for outcome in _ORDER),
            ]
        )


def ended(outcomes: Mapping[str, int]) -> str:
    """Outcomes and their numbers for a person: "1 reached, 31 capped"."""
    return ", ".join(f"{outcomes[o]} {o}" for o in _ORDER if outcomes.get(o))


def _first_space(space: Mapping[str, Any]) -> Mapping[str, Any]:
    first = next(iter(space))
    return space[first] if first.isdigit() else space


def plain_table(*titles: str) -> Table:
    """A plain table; a title that ends in ">" heads a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in titles:
        right = title.endswith(">")
        table.add_column(title.rstrip(">"), justify="right" if right else "left", no_wrap=right)
    return table


def console_for_output() -> Console:
    """Standard output, for tables."""
    return _console(stderr=False)


def console_for_errors() -> Console:
    """Standard error, for tables beside the output."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    # Piped, a table must not be folded to a terminal's width that isn't there.
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 400
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width
    )


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
