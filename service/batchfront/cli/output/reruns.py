"""What `batchfront confirm` prints: the best trials run again, and scaling rules followed."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from batchfront.cli.output.tables import Output, print_output
from batchfront.frontier.curve.text import count
from batchfront.frontier.expected import ExpectedPoint
from batchfront.frontier.expected_table import steps_with_interval
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.intervals import apart
from batchfront.frontier.queries import Reruns
from batchfront.frontier.reruns import (
    Confirmation,
    Confirmations,
    Rerun,
    RuleRun,
    rule_runs,
    steadiest,
)
from batchfront.phrases import listed
from batchfront.table import NOTHING, Column, Table, beside, by_batch_size
from batchfront.workload.scaling_rules import RULES, optimizer_of
from batchfront.workload.search_space import value_text


def print_confirmations(
    frontier: Frontier,
    confirmed: Confirmations,
    format_: str,
    *,
    recommended: bool = False,
) -> None:
    """Median and range of each trial that was run again beside its steps in the search.

    recommended -- of the recommended trials alone, beside what is expected of them
    """
    if recommended:
        _print_recommended(frontier, confirmed, format_)
        return
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


def _print_recommended(frontier: Frontier, confirmed: Confirmations, format_: str) -> None:
    """Median and range of the recommended trials beside what is expected of them."""
    found = [
        (point, one)
        for point in frontier.expected.points
        for one in confirmed.get(point.batch_size, ())
        if one.trial == point.trial
    ]
    rows = [
        {
            "batch_size": point.batch_size,
            **{f"expected{end}": getattr(point, name) for end, name in _INTERVAL.items()},
            **one.to_dict(),
            "as_expected": _as_expected(point, one),
        }
        for point, one in found
    ]
    names = ("batch_size", "trial", "best", *(f"expected{end}" for end in _INTERVAL), "as_expected")
    records = _records(frontier.workload, names, rows)
    plain = {"workload": frontier.workload, "goal": frontier.goal, "points": rows}
    print_output(Output([_recommended_table(frontier, found)], records, plain), format_)


_INTERVAL = {"": "steps", "_low": "low", "_high": "high"}


def _as_expected(point: ExpectedPoint, run: Rerun) -> bool | None:
    """Whether the median is within the interval that the median of so many seeds was to be in;
    None while it isn't known."""
    if run.open or not run.seeds:
        return None
    low, high = point.of_seeds(run.seeds)
    return low <= (inf if run.median is None else run.median) <= high


def _recommended_table(
    frontier: Frontier, found: Sequence[tuple[ExpectedPoint, Confirmation]]
) -> Table:
    columns = (
        Column("batch size", count),
        Column("trial"),
        Column("searched", count),
        Column("expected (90\u00a0%)", steps_with_interval, words=True),
        *_seeds("median"),
        Column("", words=True),
    )
    judged = [_as_expected(point, one) for point, one in found]
    rows = [
        (
            *(point.batch_size, one.trial, one.best, point, one.seeds, one, one),
            ", ".join(filter(None, ("not as expected" * (as_ is False), _missing(one)))),
        )
        for (point, one), as_ in zip(found, judged, strict=True)
    ]
    known = [as_ for as_ in judged if as_ is not None]
    note = (
        f"As expected at {sum(known)} of {len(known)} batch sizes: the median lies where that of "
        "so many seeds does with 90\u00a0%."
    )
    title = f"{frontier.workload}: the recommended trials on fresh seeds, {frontier.goal_text}"
    return Table(columns, rows, title, [note] * bool(known) + [*filter(None, [apart(frontier)])])


def print_rule(
    frontier: Frontier, rule: str, reruns: Reruns, confirmed: Confirmations, format_: str
) -> None:
    """Median and range of a rule's runs beside what the search found at the same batch size; and
    the medians of all rules that have been run."""
    ran = {rule: rule_runs(rule, reruns)} | {name: rule_runs(name, reruns) for name in RULES}
    rows = {name: _rule_rows(frontier, runs, confirmed) for name, runs in ran.items() if runs}
    fields = ("rule", "batch_size", "tuned", "tuned_median", "trial")
    told = [{"rule": name, **row} for name, mine in rows.items() for row in mine]
    points = rows.pop(rule, [])
    plain = {
        "workload": frontier.workload,
        "goal": frontier.goal,
        "rule": rule,
        "source": RULES[rule].source,
        "points": points,
        "others": [{"rule": name, "points": mine} for name, mine in rows.items()],
    }
    tables = [_rule_table(frontier, rule, ran[rule], points)]
    if rows:
        tables.append(_rules_table({name: runs for name, runs in ran.items() if runs}))
    print_output(Output(tables, _records(frontier.workload, fields, told), plain), format_)


def _rule_rows(
    frontier: Frontier, runs: Mapping[int, RuleRun], confirmed: Confirmations
) -> list[dict[str, Any]]:
    tuned = {point.batch_size: point.steps for point in frontier.points}
    return [
        {
            "batch_size": batch_size,
            "tuned": tuned.get(batch_size),
            "tuned_median": _tuned_median(confirmed.get(batch_size, ())),
            **run.to_dict(),
            "ratio": _ratio(run, tuned.get(batch_size)),
        }
        for batch_size, run in runs.items()
    ]


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
    return Table(columns, rows, title, [*filter(None, notes)], keys=2)


def _rule_table(
    frontier: Frontier, rule: str, runs: Mapping[int, RuleRun], records: Sequence[dict[str, Any]]
) -> Table:
    scaled = [*RULES[rule].powers]
    columns = (
        Column("batch size", count),
        *(Column(name.replace("_", " "), value_text) for name in scaled),
        Column("tuned", count),
        Column("tuned median", count),
        *_seeds("rule's median"),
        Column("rule's/tuned", _fold),
        Column("", words=True),
    )
    rows = []
    for run, row in zip(runs.values(), records, strict=True):
        values = (run.scaled.get(name) for name in scaled)
        tuned = (row["batch_size"], *values, row["tuned"], row["tuned_median"])
        rows.append((*tuned, run.seeds, run, run, row["ratio"], _missing(run)))
    title = f"{frontier.workload}: the {rule} rule followed, {frontier.goal_text}"
    return Table(
        columns, rows, title, [*_rule_notes(frontier, rule, runs), *filter(None, [apart(frontier)])]
    )


def _rule_notes(frontier: Frontier, rule: str, runs: Mapping[int, RuleRun]) -> Iterator[str]:
    for run in [*runs.values()][:1]:
        several = len(run.scaled) > 1
        yield (
            f"{listed([*run.scaled])} {'are' if several else 'is'} scaled from "
            f"{'those' if several else 'that'} of trial {run.trial}, the winner of the "
            f"smallest batch size ({RULES[rule].source}); all other metaparameters, those of a "
            "schedule too, are its own. Tuned is the single best of a search, the rule's a "
            "median: their ratio at the smallest batch size is the luck of the winner alone."
        )
    clipped: dict[str, list[str]] = {}
    for batch_size, run in runs.items():
        for name in run.clipped:
            clipped.setdefault(name, []).append(f"{batch_size:,}")
    for name, sizes in clipped.items():
        law = RULES[rule].powers[name].quantity
        yield (
            f"{law.named(name)} would pass {law.most:g}, and is clipped there, at batch size "
            f"{listed(sizes)}: so far the rule doesn't go."
        )
    trained = [optimizer_of(frontier.points[0].study.identity, run.params) for run in runs.values()]
    if RULES[rule].asks and None in trained:
        yield f"What optimizer trains it can't be told; the rule asks for {RULES[rule].asks}."


def _rules_table(ran: Mapping[str, Mapping[int, RuleRun]]) -> Table:
    """The medians of several rules side by side."""
    series = [(Column(name, _median), runs) for name, runs in ran.items()]
    title = "Medians of all rules that have been run"
    return Table(*by_batch_size(Column("batch size", count), series), title)


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
    titles = beside(("workload", *fields), params).values()
    return Table(tuple(map(Column, ("workload", *fields, *titles))), rows)
