import math

import numpy as np
import pytest

from batchfront.surrogate.coordinates import Coordinates
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Linear,
    Log,
    ReverseLog,
    SearchSpace,
    Value,
    point_at,
)

MIXED: SearchSpace = {
    "peak": Log(1e-4, 1.0),
    "beta1": ReverseLog(0.5, 0.99),
    "layers": Integer(1, 4),
    "width": Integer(8, 512, log=True),
    "smoothing": Linear(0.0, 0.2),
    "warmup": Choice(100, 0, 1000),
    "schedule": Choice("cosine", "linear", "none"),
    "nesterov": Choice(True, False),
    "decay": 0.1,
}


def test_a_logarithmic_range_is_in_e_folds_about_its_middle() -> None:
    coordinates = Coordinates.of({8: {"learning_rate": Log(0.01, 1.0)}})
    found = coordinates([{"learning_rate": 0.1}, {"learning_rate": 1.0}])
    assert found[:, 0] == pytest.approx([0.0, math.log(10)])


def test_ranges_that_move_with_the_batch_size_share_coordinates() -> None:
    moving = {b: {"learning_rate": Log(0.001 * b, 0.1 * b)} for b in (1, 10)}
    coordinates = Coordinates.of(moving)
    assert coordinates.columns[0].width == pytest.approx(math.log(1000))
    same = np.array([[1.0]]), np.array([[0.5]])
    assert coordinates.at(moving[1], same[0]) == pytest.approx(coordinates.at(moving[10], same[1]))


def test_numbers_to_choose_from_are_ordered_and_words_are_apart() -> None:
    coordinates = Coordinates.of({8: MIXED})
    columns = {(c.name, c.values[:1]) for c in coordinates.columns if c.kind == "category"}
    schedules = {("schedule", (name,)) for name in ("cosine", "linear", "none")}
    assert columns == {*schedules, ("nesterov", (True,))}
    (warmup,) = (c for c in coordinates.columns if c.name == "warmup")
    assert warmup.of(0) < warmup.of(100) < warmup.of(1000)


def test_what_is_fixed_is_no_coordinate() -> None:
    assert "decay" not in {column.name for column in Coordinates.of({8: MIXED}).columns}


def test_positions_have_the_coordinates_of_their_metaparameters() -> None:
    for space in (MIXED, {k: MIXED[k] for k in ("peak", "beta1", "smoothing")}):
        coordinates = Coordinates.of({8: space})
        count = len([v for v in space.values() if not isinstance(v, float)])
        positions = np.random.default_rng(0).random((20, count))
        points = [point_at(space, position) for position in positions.tolist()]
        assert coordinates.at(space, positions) == pytest.approx(coordinates(points))


@pytest.mark.parametrize(
    ("space", "axis"),
    [
        ({"weight_decay": Log(1e-6, 1.0), "learning_rate": Log(0.1, 1.0)}, "learning_rate"),
        ({"weight_decay": Log(1e-6, 1.0), "lr": Log(0.1, 1.0)}, "lr"),
        ({"epsilon": Log(0.1, 1.0), "peak": Log(1e-4, 1.0)}, "peak"),
        ({"learning_rate": Linear(0.1, 1.0)}, "learning_rate"),
        ({"dropout": Linear(0.0, 0.5)}, None),
    ],
)
def test_the_learning_rate_is_known_by_its_name_or_by_its_range(
    space: SearchSpace, axis: str | None
) -> None:
    coordinates = Coordinates.of({8: space})
    found = None if coordinates.axis is None else coordinates.columns[coordinates.axis].name
    assert found == axis


def test_a_metaparameter_that_some_batch_sizes_lack_is_in_the_middle_there() -> None:
    coordinates = Coordinates.of({8: {"momentum": ReverseLog(0.5, 0.99)}, 16: {"lr": Log(0.1, 1)}})
    assert np.count_nonzero(coordinates([{"lr": 1.0}])) == 1


@pytest.mark.parametrize(
    ("searched", "fixed"),
    [
        (Choice(0.2, 0.4), 0.1),
        (Choice(0.2, 0.4), "none"),
        (Linear(0.0, 1.0), "none"),
        (Log(0.001, 1.0), 0.0),
        (ReverseLog(0.5, 0.99), 1.0),
    ],
)
def test_what_one_batch_size_fixes_has_a_place_in_the_range_of_another(
    searched: Dimension, fixed: Value
) -> None:
    coordinates = Coordinates.of({8: {"x": fixed}, 16: {"x": searched}})
    (column,) = coordinates.columns
    assert abs(column.of(fixed)) <= 1.5 * column.width


def test_words_of_one_batch_size_are_apart_from_the_range_of_another() -> None:
    coordinates = Coordinates.of({8: {"x": Choice("off", "auto")}, 16: {"x": Linear(0.0, 1.0)}})
    rows = coordinates([{"x": value} for value in ("off", "auto", 0.0, 1.0)])
    assert len({tuple(row) for row in rows.tolist()}) == 4
