import numpy as np
import pytest

from batchfront.surrogate.coordinates import Coordinates
from batchfront.surrogate.shape import EDGE, NOISE, PACE, Shape
from batchfront.surrogate.steps import Problem, Told
from batchfront.surrogate.surface import as_told
from batchfront.workload.search_space import quasi_random_points
from tests.batchfront.surrogate.planted import BUDGET, MOMENTUM, SIZES, ran, spaces
from tests.batchfront.surrogate.planted import NOISE as PLANTED

COORDINATES = Coordinates.of(spaces())
SHAPE = Shape.of(COORDINATES, SIZES)


def told(each: int, cap: float = BUDGET) -> Told:
    rng = np.random.default_rng(0)
    return as_told(
        COORDINATES,
        [
            ran(size, params, rng, cap)
            for size in SIZES
            for params in quasi_random_points(MOMENTUM, each, size)
        ],
    )


def test_the_objective_has_the_gradient_of_finite_differences() -> None:
    problem = Problem(SHAPE, told(8, cap=300.0))
    rng = np.random.default_rng(1)
    theta = SHAPE.mean + 0.5 * SHAPE.sd * rng.normal(size=len(SHAPE.mean))
    held = problem.sites(theta)
    found = problem._objective(theta, *held)[1]
    by = 1e-5 * np.eye(len(theta))
    numeric = [
        (problem._objective(theta + row, *held)[0] - problem._objective(theta - row, *held)[0])
        / 2e-5
        for row in by
    ]
    assert found == pytest.approx(numeric, rel=1e-4, abs=1e-3)


def test_the_edge_its_pace_and_the_noise_are_found() -> None:
    theta = Problem(SHAPE, told(24)).estimate()
    middle = COORDINATES.columns[0].low + COORDINATES.columns[0].high
    middle = (middle + COORDINATES.columns[1].low + COORDINATES.columns[1].high) / 2
    planted = 0.8 * SHAPE.middle - 3.0 - middle
    assert theta[EDGE] == pytest.approx(planted, abs=0.8)
    assert theta[PACE] == pytest.approx(0.8, abs=0.3)
    assert np.exp(theta[NOISE]) == pytest.approx(PLANTED, rel=0.4)
    assert COORDINATES.axis == 0


def test_bounds_alone_are_no_trouble() -> None:
    nothing = told(4, cap=1.0)
    assert not nothing.reached.any()
    assert np.isfinite(Problem(SHAPE, nothing).estimate()).all()
