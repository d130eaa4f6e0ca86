"""What `batchfront confirm` prints: repeated winners, and rules followed."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from batchfront.cli.output.tables import console_for_output, number, plain_table
from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.reruns import Confirmation, Repeated, RuleRun, steadiest

Confirmed = Mapping[int, Sequence[Confirmation]]


def print_confirmations(frontier: Frontier, confirmed: Confirmed, format_: str) -> None:
    """Median and range of each repeated trial beside its steps in the search."""
    if format_ == "table":
        _confirmation_table(frontier, confirmed)
        return
    points = []
    for batch_size, found in confirmed.items():
        smallest = steadiest(found)
        point: dict[str, Any] = {"batch_size": batch_size}
        point["smallest_median"] = smallest.trial if smallest else None
        points.append({**point, "candidates": [one.to_dict() for one in found]})
    if format_ == "json":
        shown = {"workload": frontier.workload, "goal": frontier.goal, "points": points}
        click.echo(json.dumps(shown, indent=2))
    else:
        rows = [
            {"batch_size": point["batch_size"], **candidate}
            for point in points
            for candidate in point["candidates"]
        ]
        _csv(frontier.workload, ("batch_size", "trial", "best"), rows)


def print_rule(
    frontier: Frontier,
    rule: str,
    runs: Mapping[int, RuleRun],
    confirmed: Confirmed,
    format_: str,
) -> None:
    """Median and range of a rule's runs beside what the search found at the same batch size."""
    tuned = {point.batch_size: point.steps for point in frontier.points}
    rows = [
        {
            "batch_size": batch_size,
            "tuned": tuned.get(batch_size),
            "tuned_median": _tuned_median(confirmed.get(batch_size, ())),
            **run.to_dict(),
            "ratio": _ratio(run, tuned.get(batch_size)),
        }
        for batch_size, run in runs.items()
    ]
    if format_ == "json":
        shown = {"workload": frontier.workload, "goal": frontier.goal, "rule": rule}
        click.echo(json.dumps({**shown, "points": rows}, indent=2))
    elif format_ == "csv":
        _csv(frontier.workload, ("batch_size", "tuned", "tuned_median", "trial"), rows)
    else:
        _rule_table(frontier, rule, runs, rows)


def _confirmation_table(frontier: Frontier, confirmed: Confirmed) -> None:
    console = console_for_output()
    console.print(f"\n{frontier.workload}: steps to target on fresh seeds, {frontier.goal_text}\n")
    table = plain_table(
        "batch size>", "trial>", "searched>", "seeds>", "median>", "range>", "median/searched>", ""
    )
    better = []
    for batch_size, found in confirmed.items():
        smallest = steadiest(found)
        if smallest is not None and smallest is not found[0]:
            better.append(f"{batch_size:,} (trial {smallest.trial})")
        for one in found:
            mark = "smallest median" if one is smallest and len(found) > 1 else ""
            cells = (f"{one.trial}", f"{one.best:,}", *_cells(one), _fold(one.ratio))
            table.add_row(f"{batch_size:,}", *cells, ", ".join(filter(None, (mark, _missing(one)))))
    console.print(table)
    if better:
        console.print(
            f"A runner-up has a smaller median than the winner at batch size {', '.join(better)}."
        )


def _rule_table(
    frontier: Frontier, rule: str, runs: Mapping[int, RuleRun], rows: Sequence[dict[str, Any]]
) -> None:
    console = console_for_output()
    console.print(f"\n{frontier.workload}: the {rule} rule followed, {frontier.goal_text}\n")
    table = plain_table(
        "batch size>",
        "learning rate>",
        "tuned>",
        "tuned median>",
        "seeds>",
        "rule's median>",
        "range>",
        "rule's/tuned>",
        "",
    )
    for run, row in zip(runs.values(), rows, strict=True):
        tuned = (_count(row["tuned"]), _count(row["tuned_median"]))
        cells = (number(run.learning_rate), *tuned, *_cells(run), _fold(row["ratio"]))
        table.add_row(f"{row['batch_size']:,}", *cells, _missing(run))
    console.print(table)
    if runs:
        first = next(iter(runs.values()))
        console.print(
            f"The learning rate is scaled from that of trial {first.trial}, the winner of the "
            "smallest batch size; all other metaparameters, those of a schedule too, are its own. "
            "Tuned is the single best of a search, the rule's a median: their ratio at the "
            "smallest batch size is the luck of the winner alone."
        )


def _cells(run: Repeated) -> tuple[str, str, str]:
    """Seeds, median and range, for a person."""
    median = "not reached" if run.never else _count(run.median)
    if run.low is None:
        return f"{run.seeds}", median, "–"
    high = f"{run.high:,}" if run.high is not None else "not reached"
    return f"{run.seeds}", median, f"{run.low:,}..{high}"


def _missing(run: Repeated) -> str:
    counts = {"not reached": run.unreached, "failed": run.failed, "open": run.open}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _tuned_median(confirmed: Sequence[Confirmation]) -> float | None:
    smallest = steadiest(confirmed)
    return None if smallest is None else smallest.median


def _ratio(run: RuleRun, tuned: float | None) -> float | None:
    return None if run.median is None or tuned is None else run.median / tuned


def _count(value: float | None) -> str:
    return "–" if value is None else count(value)


def _fold(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _csv(workload: str, first: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A row for each; `steps` as numbers with spaces between."""
    params = sorted({name for row in rows for name in row["params"]})
    fields = [*first, "steps", "unreached", "failed", "open", "median", "low", "high", "ratio"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["workload", *fields, *params])
    for row in rows:
        shown = {**row, "steps": " ".join(map(str, row["steps"]))}
        values = [row["params"].get(name) for name in params]
        writer.writerow([workload, *(shown[field] for field in fields), *values])
