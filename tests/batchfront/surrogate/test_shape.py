import math

import numpy as np
import pytest

from batchfront.surrogate.coordinates import Coordinates
from batchfront.surrogate.shape import EDGE, GAP, LEFT, PACE, Placed, Shape
from batchfront.workload.search_space import Linear, Log, SearchSpace
from tests.batchfront.surrogate.planted import MOMENTUM, SIZES

DROPOUT: SearchSpace = {"dropout": Linear(0.0, 0.5), "smoothing": Linear(0.0, 0.1)}


def shape_of(space: SearchSpace) -> Shape:
    return Shape.of(Coordinates.of(dict.fromkeys(SIZES, space)), SIZES)


@pytest.mark.parametrize("space", [MOMENTUM, DROPOUT, {"learning_rate": Log(0.1, 1.0)}])
def test_the_gradient_is_that_of_finite_differences(space: SearchSpace) -> None:
    shape, rng = shape_of(space), np.random.default_rng(0)
    count = len(shape.coordinates.columns)
    b, x = np.log(rng.choice(SIZES, 9)), rng.normal(size=(9, count))
    beside = count - (shape.coordinates.axis is not None)
    by_mean, by_t, by_edge = rng.normal(size=(3, 9))
    by_features = rng.normal(size=(9, 2 + beside))

    def value(theta: np.ndarray) -> float:
        at = Placed(shape, theta, b, x)
        found = at.mean @ by_mean + (at.features * by_features).sum()
        return float(found + at.t @ by_t + at.by_edge @ by_edge)

    theta = shape.mean + 0.5 * shape.sd * rng.normal(size=len(shape.mean))
    found = Placed(shape, theta, b, x).gradient(by_mean, by_features, by_t, by_edge)
    by = 1e-6 * np.eye(len(theta))
    numeric = [(value(theta + row) - value(theta - row)) / 2e-6 for row in by]
    assert found == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def test_far_below_the_edge_steps_times_rate_to_the_left_slope_is_constant() -> None:
    shape = shape_of(MOMENTUM)
    theta = shape.mean.copy()
    theta[LEFT] = 0.0
    for size in SIZES:
        b, x = np.full(2, math.log(size)), np.array([[-9.0, 0.0], [-8.0, 0.0]])
        slow, faster = Placed(shape, theta, b, x).mean
        assert slow - faster == pytest.approx(1.0, abs=1e-3)
        assert slow == pytest.approx(9.0, abs=1e-2)


def test_the_edge_grows_with_the_batch_size_and_training_breaks_beyond_it() -> None:
    shape = shape_of(MOMENTUM)
    theta = shape.mean.copy()
    theta[EDGE], theta[PACE], theta[GAP] = 0.0, 1.0, 1.0
    b, nothing = np.log([4.0, 16.0, 64.0]), np.zeros((3, 2))
    at = Placed(shape, theta, b, nothing)
    assert at.t[0] > at.t[1] > at.t[2]
    works = at.works().log
    assert works[0] < works[1] < works[2] <= math.log(0.95)
