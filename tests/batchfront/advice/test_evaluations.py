"""Evaluations are counted on the study's grid, and cost what the winners have evaluated."""

import pytest

from batchfront.advice.evaluations import Evaluations
from batchfront.advice.part_times import Seconds
from batchfront.workload.evaluation_grid import EvaluationGrid

FULL = Evaluations(EvaluationGrid(), Seconds(0.1, 0.02), 10_000, ())


@pytest.mark.parametrize("steps", [1, 90, 5_000, 900_000])
def test_they_are_those_of_the_grid(steps: int) -> None:
    assert FULL.count(steps) == len(EvaluationGrid().steps(steps))


def test_of_very_many_steps_they_are_as_many_as_the_spacing_comes_to() -> None:
    exact = len(EvaluationGrid().steps(3_000_000))
    assert FULL.count(3_000_000) == pytest.approx(exact, rel=0.06)
    every = Evaluations(EvaluationGrid(spacing=1e-12), Seconds(0.1, 0.02), 100, ())
    assert every.count(2**31) == pytest.approx(2**31, rel=1e-6)


def test_without_trials_each_is_a_full_one() -> None:
    found = FULL.seconds(64, 500)
    assert (found.value, found.error) == (pytest.approx(FULL.count(500) * 0.1), 0.02)


def test_one_that_stops_early_takes_as_much_less_as_it_has_fewer_examples() -> None:
    told = ((16, 1000.0), (64, 100.0))
    early = Evaluations(EvaluationGrid(), Seconds(0.1, 0.02), 10_000, told)
    share = early.seconds(64, 500).value / FULL.seconds(64, 500).value
    assert share == pytest.approx(100 / 10_000)
    between = early.seconds(32, 500).value / FULL.seconds(32, 500).value
    assert between == pytest.approx(550 / 10_000)
    assert early.seconds(64, 500).error > 0.2
