"""Workloads side by side, against figures computed by hand."""

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.analysis.compare import Comparison, compare
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.curve.text import perfect_answer
from batchfront.frontier.frontier import load_frontier, load_frontiers
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ended, reached
from tests.batchfront.report.rows import add_study

LONG = {8: 1000, 16: 500, 32: 300, 64: 200}  # examples: 8,000, 8,000, 9,600, 12,800
SHORT = {16: 400, 32: 200, 64: 100}


def add(storage: Storage, name: str, steps: dict[int, int | None]) -> None:
    for batch_size, count in steps.items():
        trial = ended("exhausted", 9999) if count is None else reached(count)
        add_study(storage, name, batch_size, [trial])


def compared(storage: Storage, at: int | None = None) -> Comparison:
    return compare(load_frontiers(storage), at)


def relative(comparison: Comparison, row: int) -> list[float]:
    return [point.relative for point in comparison.series[row].points]


def test_steps_are_relative_to_those_at_the_smallest_batch_size_that_all_have(
    storage: Storage,
) -> None:
    add(storage, "a/long/sgd", LONG)
    add(storage, "a/short/sgd", SHORT)
    found = compared(storage)
    assert found.at == 16
    assert relative(found, 0) == [2, 1, 0.6, 0.4]
    assert relative(found, 1) == [1, 0.5, 0.25]
    assert [point.batches for point in found.series[0].points] == [0.5, 1, 2, 4]
    assert all(series.measured for series in found.series)
    assert found.skipped == {}


def test_a_winner_has_to_be_there_for_a_batch_size_to_be_common(storage: Storage) -> None:
    add(storage, "a/long/sgd", LONG)
    add(storage, "a/short/sgd", SHORT | {16: None})
    assert compared(storage).at == 32


def test_examples_say_where_each_leaves_perfect_scaling(storage: Storage) -> None:
    add(storage, "a/long/sgd", LONG)
    add(storage, "a/short/sgd", SHORT)
    long, short = compared(storage).series
    assert [point.examples for point in long.points] == [1, 1, 1.2, 1.6]
    assert (long.measured_until, long.leaves_at) == (32, 64)
    assert (short.measured_until, short.leaves_at) == (64, None)


def test_an_unlucky_point_between_perfect_ones_is_not_where_scaling_ends(storage: Storage) -> None:
    add(storage, "a/noisy/sgd", {8: 1000, 16: 700, 32: 260, 64: 200})  # 1, 1.4, 1.04, 1.6
    (series,) = compared(storage).series
    assert (series.measured_until, series.leaves_at) == (32, 64)


def test_how_far_scaling_is_near_perfect_is_what_the_curve_says_and_what_is_missing_is_named(
    storage: Storage,
) -> None:
    steps: dict[int, int | None] = {b: round(100 * (1 + 64 / b)) for b in (2, 4, 8, 16, 32, 64)}
    add(storage, "a/b/sgd", {**steps, 128: None})
    (series,) = compared(storage).series
    curve = fit_curve(load_frontier(storage, "a/b/sgd"))
    assert series.perfect_until == curve.perfect_until
    assert series.perfect_until.value == pytest.approx(15.2, rel=0.05)  # 1.2 (2 + 64) - 64
    assert series.answers[0] == perfect_answer(curve)
    assert series.answers[1] == "The goal was not reached at batch size 128 (1 exhausted)."
    assert (series.measured_until, series.leaves_at) == (8, 16)


def test_without_a_common_batch_size_each_stands_on_its_line_of_perfect_scaling(
    storage: Storage,
) -> None:
    add(storage, "a/large/sgd", {16: 400, 32: 250})
    add(storage, "a/small/sgd", {4: 1000, 8: 600})
    found = compared(storage)
    assert found.at == 4
    assert not any(series.measured for series in found.series)
    assert relative(found, 0) == [0.25, 250 / 1600]  # 6,400 examples are 1,600 steps of 4
    assert relative(found, 1) == [1, 0.6]


def test_the_batch_size_of_comparison_can_be_chosen(storage: Storage) -> None:
    add(storage, "a/long/sgd", LONG)
    add(storage, "a/short/sgd", SHORT)
    assert relative(compared(storage, at=64), 1) == [4, 2, 1]
    at_8 = compared(storage, at=8)
    assert [series.workload for series in at_8.series] == ["a/long/sgd"]
    assert at_8.skipped == {"a/short/sgd": "the goal has not been reached at batch size 8"}
    with pytest.raises(UsageError, match="--at 128: none of these workloads has reached the goal"):
        compared(storage, at=128)


def test_one_batch_size_is_enough_and_workloads_without_winners_are_named(
    storage: Storage,
) -> None:
    add(storage, "a/none/sgd", {8: None})
    assert compared(storage) == Comparison(
        None, (), {"a/none/sgd": "the goal has not been reached"}
    )
    add(storage, "a/one/sgd", {8: 10})
    found = compared(storage)
    assert relative(found, 0) == [1]
    assert (found.series[0].measured_until, found.series[0].leaves_at) == (8, None)
    assert found.skipped.keys() == {"a/none/sgd"}


def test_a_goal_that_is_passed_untrained_is_nothing_to_compare(storage: Storage) -> None:
    add(storage, "a/b/sgd", {8: 0, 16: 50})
    (series,) = compared(storage).series
    assert [point.batch_size for point in series.points] == [16]
