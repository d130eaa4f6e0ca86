"""Frontiers of steps that were measured elsewhere, which take no time to make."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from batchfront.exchange.points import import_points
from batchfront.exchange.points_file import read_points
from batchfront.outcomes import TrialCost
from batchfront.store.url import Storage
from batchfront.workload.evaluation_grid import EvaluationGrid
from tests import searches
from tests.searches import end, reached
from tests.step_truth import NAME, curve_file

Imported = Callable[..., Storage]
"""Takes steps by batch size."""


@pytest.fixture
def imported(storage: Storage, tmp_path: Path) -> Imported:
    """Imports the steps of seeds, by batch size, and gives the database."""

    def of(steps: Mapping[int, Sequence[float | None]]) -> Storage:
        file = tmp_path / "points.csv"
        file.write_text(curve_file(steps))
        import_points(storage, read_points(file))
        return storage

    return of


def falling(sizes: Sequence[int], half: float = 256, least: float = 100) -> dict[int, list[float]]:
    """Three seeds at each batch size, 10 % apart, of least * (1 + half / B) steps."""
    curve = {size: least * (1 + half / size) for size in sizes}
    return {size: [0.9 * steps, steps, 1.1 * steps] for size, steps in curve.items()}


SEARCHED = (4, 8, 16, 32, 64)


@pytest.fixture
def searched(storage: Storage) -> Storage:
    """A winner at each batch size of SEARCHED, which evaluated a fifth of the examples."""
    searches.planned(storage, trials=1, batch_sizes=SEARCHED)
    for size in SEARCHED:
        steps = round(50 * (1 + 32 / size))
        cost = TrialCost(1.0, 0.1, 20 * len(EvaluationGrid().steps(steps)))
        told = reached(steps, cost=cost)
        end(storage, f"{NAME}/b{size}", {0: told})
    return storage
