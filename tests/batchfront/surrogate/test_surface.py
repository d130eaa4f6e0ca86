import math
import subprocess
import sys

import numpy as np
import pytest

from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.surface import Surface, telling
from batchfront.workload.search_space import SearchSpace, quasi_random_points
from tests.batchfront.surrogate.planted import (
    MOMENTUM,
    SIZES,
    edge,
    log_rate,
    log_steps,
    ran,
    searched,
    spaces,
)


@pytest.fixture(scope="module")
def shown() -> list[Evidence]:
    return searched(4)


@pytest.fixture(scope="module")
def surface(shown: list[Evidence]) -> Surface:
    return Surface.fit(spaces(), shown)


def test_the_order_of_what_is_shown_makes_no_difference(
    shown: list[Evidence], surface: Surface
) -> None:
    other = Surface.fit(dict(reversed(spaces().items())), shown[::-1])
    points = [(16.0, evidence.params) for evidence in shown]
    assert np.array_equal(other.expected(points).mean, surface.expected(points).mean)
    assert np.array_equal(other.feasible(points), surface.feasible(points))
    assert other.recommended(30.0) == surface.recommended(30.0)


@pytest.mark.parametrize("size", [4, 16, 40, 64, 256])
def test_what_is_recommended_is_near_the_best_also_between_batch_sizes(
    surface: Surface, size: int
) -> None:
    params = surface.recommended(size)
    least = 5.5 - edge(size)
    assert log_steps(size, params) - least < math.log(1.4)


@pytest.mark.parametrize("size", [4, 16, 40, 64, 256])
def test_the_expected_steps_of_what_is_recommended_lie_within_their_interval(
    surface: Surface, size: int
) -> None:
    params = surface.recommended(size)
    found = surface.expected([(size, params)])
    off = (found.mean[0] - log_steps(size, params)) / math.sqrt(found.covariance[0, 0])
    assert abs(off) < 3.0
    assert found.noise.shape == (1,)


def test_training_works_where_it_did_and_not_far_beyond_the_edge(surface: Surface) -> None:
    below = {"learning_rate": 0.02, "momentum": 0.5}
    beyond = {"learning_rate": 3.0, "momentum": 0.99}
    works, breaks = surface.feasible([(16, below), (16, beyond)])
    assert works > 0.8
    assert breaks < 0.2


def test_what_lies_at_one_batch_size_is_foretold_from_the_others() -> None:
    rest = [evidence for evidence in searched(5) if evidence.batch_size != 64]
    surface = Surface.fit(spaces(), rest)
    params = surface.recommended(64)
    assert log_rate(params) == pytest.approx(edge(64), abs=0.8)
    found = surface.expected([(64, params)])
    assert abs(found.mean[0] - log_steps(64, params)) < 3 * math.sqrt(found.covariance[0, 0])


@pytest.mark.parametrize("kind", list(Kind))
def test_trials_that_all_ended_alike_are_no_trouble(kind: Kind) -> None:
    points = quasi_random_points(MOMENTUM, 3, 0)
    alike = [Evidence(size, params, kind, 50.0) for size in SIZES for params in points]
    surface = Surface.fit(spaces(), alike)
    found = surface.expected([(8.0, points[0])])
    assert np.isfinite(found.mean).all()
    assert found.covariance[0, 0] > 0
    assert 0 < surface.feasible([(8.0, points[0])])[0] < 1
    assert set(surface.recommended(8)) == set(MOMENTUM)


def test_nothing_shown_leaves_the_prior() -> None:
    surface = Surface.fit(spaces(), [])
    found = surface.expected([(8.0, {"learning_rate": 0.1, "momentum": 0.9})])
    assert found.covariance[0, 0] > 1.0


def test_a_space_without_dimensions_has_one_recommendation() -> None:
    fixed: SearchSpace = {"learning_rate": 0.1}
    surface = Surface.fit({8: fixed}, [Evidence(8, fixed, Kind.REACHED, 100.0)])
    assert surface.recommended(8) == fixed


def test_of_very_many_trials_each_batch_size_tells_as_much_and_its_best_are_kept() -> None:
    rng = np.random.default_rng(0)
    many = [ran(s, p, rng) for s in SIZES for p in quasi_random_points(MOMENTUM, 200, s)]
    found = telling(many, 120)
    assert len(found) <= 120
    for size in SIZES:
        mine = [e for e in many if e.batch_size == size and e.kind == Kind.REACHED]
        assert min(mine, key=lambda e: e.steps) in found
        assert 25 <= sum(e.batch_size == size for e in found) <= 30
    assert telling(many[:50], 120) == many[:50]


def test_it_can_be_named_without_loading_what_computes_it() -> None:
    code = "import sys, batchfront.surrogate.proposal, batchfront.surrogate.surface; "
    code += "print(sorted({m.split('.')[0] for m in sys.modules} & {'scipy', 'sklearn', 'torch'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
