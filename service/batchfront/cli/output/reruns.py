"""What `batchfront confirm` prints: the best trials run again, and scaling rules followed."""

from collections.abc import Mapping, Sequence
from typing import Any

from batchfront.cli.output.numbers import number
from batchfront.cli.output.tables import Output, print_output
from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.intervals import apart
from batchfront.frontier.reruns import Confirmation, Confirmations, Rerun, RuleRun, steadiest
from batchfront.table import NOTHING, Column, Table


def print_confirmations(frontier: Frontier, confirmed: Confirmations, format_: str) -> None:
    """Median and range of each trial that was run again beside its steps in the search."""
    points = []
    for batch_size, found in confirmed.items():
        smallest = steadiest(found)
        point: dict[str, Any] = {"batch_size": batch_size}
        point["smallest_median"] = smallest.trial if smallest else None
        points.append({**point, "candidates": [one.to_dict() for one in found]})
    rows = [
        {"batch_size": point["batch_size"], **candidate}
        for point in points
        for candidate in point["candidates"]
    ]
    records = _records(frontier.workload, ("batch_size", "trial", "best"), rows)
    plain = {"workload": frontier.workload, "goal": frontier.goal, "points": points}
    print_output(Output([_confirmation_table(frontier, confirmed)], records, plain), format_)


def print_rule(
    frontier: Frontier,
    rule: str,
    runs: Mapping[int, RuleRun],
    confirmed: Confirmations,
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
    fields = ("batch_size", "tuned", "tuned_median", "trial")
    records = _records(frontier.workload, fields, rows)
    plain = {"workload": frontier.workload, "goal": frontier.goal, "rule": rule, "points": rows}
    print_output(Output([_rule_table(frontier, rule, runs, rows)], records, plain), format_)


def _confirmation_table(frontier: Frontier, confirmed: Confirmations) -> Table:
    columns = (
        Column("batch size", count),
        Column("trial"),
        Column("searched", count),
        *_seeds("median"),
        Column("median/searched", _fold),
        Column("", words=True),
    )
    rows, better = [], []
    for batch_size, found in confirmed.items():
        smallest = steadiest(found)
        if smallest is not None and smallest is not found[0]:
            better.append(f"{batch_size:,} (trial {smallest.trial})")
        for one in found:
            mark = "smallest median" if one is smallest and len(found) > 1 else ""
            said = ", ".join(filter(None, (mark, _missing(one))))
            rows.append((batch_size, one.trial, one.best, one.seeds, one, one, one.ratio, said))
    title = f"{frontier.workload}: steps to target on fresh seeds, {frontier.goal_text}"
    note = f"A runner-up has a smaller median than the winner at batch size {', '.join(better)}."
    notes = [note if better else None, apart(frontier)]
    return Table(columns, rows, title, [*filter(None, notes)])


def _rule_table(
    frontier: Frontier, rule: str, runs: Mapping[int, RuleRun], records: Sequence[dict[str, Any]]
) -> Table:
    columns = (
        Column("batch size", count),
        Column("learning rate", number),
        Column("tuned", count),
        Column("tuned median", count),
        *_seeds("rule's median"),
        Column("rule's/tuned", _fold),
        Column("", words=True),
    )
    rows = []
    for run, row in zip(runs.values(), records, strict=True):
        tuned = row["batch_size"], run.learning_rate, row["tuned"], row["tuned_median"]
        rows.append((*tuned, run.seeds, run, run, row["ratio"], _missing(run)))
    notes = [
        f"The learning rate is scaled from that of trial {run.trial}, the winner of the "
        "smallest batch size; all other metaparameters, those of a schedule too, are its own. "
        "Tuned is the single best of a search, the rule's a median: their ratio at the "
        "smallest batch size is the luck of the winner alone."
        for run in [*runs.values()][:1]
    ]
    title = f"{frontier.workload}: the {rule} rule followed, {frontier.goal_text}"
    return Table(columns, rows, title, [*filter(None, [*notes, apart(frontier)])])


def _seeds(median: str) -> tuple[Column, ...]:
    """How many seeds ended, and the median and the range of their steps."""
    return Column("seeds"), Column(median, _median), Column("range", _range)


def _median(run: Rerun) -> str:
    if run.never:
        return "not reached"
    return NOTHING if run.median is None else count(run.median)


def _range(run: Rerun) -> str:
    if run.low is None:
        return NOTHING
    return f"{count(run.low)}..{'not reached' if run.high is None else count(run.high)}"


def _missing(run: Rerun) -> str:
    counts = {"not reached": run.unreached, "failed": run.failed, "open": run.open}
    return ", ".join(f"{number} {what}" for what, number in counts.items() if number)


def _tuned_median(confirmed: Sequence[Confirmation]) -> float | None:
    smallest = steadiest(confirmed)
    return None if smallest is None else smallest.median


def _ratio(run: RuleRun, tuned: float | None) -> float | None:
    return None if run.median is None or tuned is None else run.median / tuned


def _fold(value: float) -> str:
    return f"{value:.2f}"


def _records(workload: str, first: Sequence[str], found: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each; `steps` as numbers with spaces between."""
    params = sorted({name for row in found for name in row["params"]})
    fields = [*first, "steps", "unreached", "failed", "open", "median", "low", "high", "ratio"]
    rows = []
    for row in found:
        shown = {**row, "steps": " ".join(map(str, row["steps"]))}
        values = [row["params"].get(name) for name in params]
        rows.append((workload, *(shown[field] for field in fields), *values))
    return Table(tuple(map(Column, ("workload", *fields, *params))), rows)
