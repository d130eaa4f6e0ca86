"""When trials are looked at, and given up."""

from itertools import pairwise

import pytest

from batchfront.errors import WorkloadError
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.stopping_rules import StoppingRules


def test_the_grid_is_every_step_up_to_100_and_then_one_percent_more() -> None:
    steps = EvaluationGrid().steps(100_000)
    assert steps[:110] == (*range(1, 111),)
    assert all(1 <= b - a <= max(1, 0.01 * a) for a, b in pairwise(steps))
    assert len(steps) < 900


GRIDS = [
    EvaluationGrid(),
    EvaluationGrid(first=37, spacing=0.05),
    EvaluationGrid(first=1000, spacing=0.01),
    EvaluationGrid(spacing=2.5),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_longer_grid_only_adds_steps_and_none_lies_beyond_the_limit(grid: EvaluationGrid) -> None:
    steps = grid.steps(5000)
    assert steps[0] == grid.first
    for limit in range(0, 5000, 7):
        assert grid.steps(limit) == tuple(step for step in steps if step <= limit)


def test_full_looks_are_a_factor_apart_and_the_first_evaluation_is_one() -> None:
    grid = EvaluationGrid()
    steps = grid.steps(10_000)
    looks = [s for before, s in pairwise((0, *steps)) if grid.is_full(s, before)]
    assert looks[:6] == [1, 2, 3, 4, 6, 8]
    ratios = [b / a for a, b in pairwise(looks[8:])]
    assert all(1.35 < ratio < 1.5 for ratio in ratios)


@pytest.mark.parametrize("wrong", [{"first": 0}, {"spacing": 0.0}, {"look": 1.0}])
def test_a_grid_that_does_not_advance_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(WorkloadError, match="first must be >= 1"):
        EvaluationGrid(**wrong)  # type: ignore[arg-type]


def test_stopping_rules_that_would_stop_everything_are_refused() -> None:
    for wrong in ({"diverged_at": 1.0}, {"patience": 0}, {"worse_by": 0.0}, {"stale_after": 1.0}):
        with pytest.raises(WorkloadError, match="must be > 1"):
            StoppingRules(**wrong)  # type: ignore[arg-type]
