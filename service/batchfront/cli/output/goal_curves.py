"""Curves for other goals on standard output: B_c along training, then each with its points."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from batchfront.cli.output.curves import numbers
from batchfront.cli.output.tables import AS_RECORDS, Output, print_output, warn_of_mixed_code
from batchfront.frontier.analysis.along_training import GoalCurve
from batchfront.frontier.analysis.along_training_text import (
    along_table,
    goal_answers,
    how_close,
    steps_span,
    through_what,
)
from batchfront.frontier.analysis.other_goals import goal_metric
from batchfront.frontier.curve.answers import curve_dict, estimate_records
from batchfront.frontier.curve.text import count
from batchfront.frontier.expected_table import steps_with_interval
from batchfront.frontier.warnings import outlier_warnings
from batchfront.table import Column, Table, of_records


def print_goal_curves(found: Sequence[GoalCurve], format_: str) -> None:
    """The curves as text with tables, a JSON list, or CSV with a row for each quantity."""
    records = [
        {"workload": one.frontier.workload, "goal": one.value, "own": one.goal.own, **record}
        for one in found
        for record in estimate_records(one.curve)
    ]
    print_output(
        Output(list(_tables(found)), of_records(records), list(map(_dict, found))), format_
    )
    if format_ in AS_RECORDS:
        for one in {one.frontier.workload: one for one in found}.values():
            warn_of_mixed_code(one.frontier)


def _dict(found: GoalCurve) -> dict[str, Any]:
    frontier = found.frontier
    return {
        "workload": frontier.workload,
        "goal": frontier.goal if found.goal.own else _goal(found),
        "own": found.goal.own,
        "tokens_per_example": frontier.tokens_per_example,
        **asdict(found.curve.asked),
        "answers": list(goal_answers(found)),
        "fitted_to": "expected steps" if found.by_expected_steps else "fastest trials",
        "why_fitted_to": through_what(found),
        "expected": found.expected.to_dict(),
        "doubts": list(_warnings(found)),
        **curve_dict(found.curve),
        "points": [asdict(point) for point in found.points],
    }


def _goal(found: GoalCurve) -> dict[str, Any]:
    """The goal as a frontier has it; whoever wrote the one searched for didn't write this one."""
    kept = {name: value for name, value in found.frontier.goal.items() if name != "text"}
    return {**kept, "value": found.value}


def _warnings(found: GoalCurve) -> Iterator[str]:
    yield from outlier_warnings(found.curve)
    close = how_close(found)
    if close is not None:
        yield close


def _tables(found: Sequence[GoalCurve]) -> Iterator[Table]:
    for workload, some in groupby(found, lambda one: one.frontier.workload):
        curves = list(some)
        if len(curves) > 1:
            title = f"{workload}: how far a larger batch helps, along training"
            table = along_table(curves)
            yield Table(table.columns, table.rows, title, table.notes)
        for one in curves:
            yield from _of_goal(one)


def _of_goal(found: GoalCurve) -> Iterator[Table]:
    frontier = found.frontier
    searched = "" if found.goal.own else f" (searched for {frontier.goal_text})"
    title = f"{frontier.workload}: {goal_metric(frontier)} {found.goal.text}{searched}"
    through = through_what(found)
    said = (*goal_answers(found), *filter(None, [through]))
    warnings = tuple(_warnings(found))
    yield Table(title=title, notes=(*said, *([""] if warnings else []), *warnings))
    yield from numbers(found.curve)
    yield _points(found)


def _points(found: GoalCurve) -> Table:
    expected = found.expected.by_batch_size if found.by_expected_steps else {}
    columns = (
        Column("batch size", count),
        Column("passed at step"),
        Column("trial"),
        Column("expected (90 %)", steps_with_interval, words=True),
        Column("incomplete", words=True),
    )
    rows = [
        (
            point.batch_size,
            steps_span(point),
            point.trial,
            expected.get(point.batch_size),
            point.reason or None,
        )
        for point in found.points
    ]
    return Table(columns, rows).filled()
