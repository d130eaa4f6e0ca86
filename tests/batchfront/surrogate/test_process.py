import numpy as np
import pytest

from batchfront.surrogate.process import (
    Bounds,
    Posterior,
    Sites,
    matern,
    propagate,
    squared_distances,
)

AT = np.linspace(0.0, 3.0, 6)[:, None]
KERNEL = 2.0 * matern(squared_distances(AT, AT))[0]
MEAN = np.linspace(1.0, -1.0, 6)
NONE = np.zeros(6)


def test_the_kernel_is_one_at_no_distance_and_its_derivative_is_right() -> None:
    squared, by = np.array([0.0, 0.3, 4.0]), 1e-6
    value, slope = matern(squared)
    assert value[0] == 1.0
    assert slope == pytest.approx((matern(squared + by)[0] - value) / by, rel=1e-3)


def test_values_with_noise_are_regressed_exactly() -> None:
    y, noise = np.sin(AT[:, 0]), 0.3
    posterior = Posterior(KERNEL, MEAN, Sites(NONE + noise**-2, y * noise**-2))
    solved = np.linalg.inv(KERNEL + noise**2 * np.eye(6))
    assert posterior.mean(KERNEL, MEAN) == pytest.approx(MEAN + KERNEL @ solved @ (y - MEAN))
    expected = KERNEL - KERNEL @ solved @ KERNEL
    assert posterior.covariance(KERNEL, KERNEL) == pytest.approx(expected, abs=1e-9)
    assert posterior.variance(KERNEL, np.diag(KERNEL)) == pytest.approx(np.diag(expected))
    assert posterior.inverse() == pytest.approx(solved)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_bound_leaves_the_mean_and_variance_that_integration_finds(sign: float) -> None:
    bounds = Bounds(np.array([2]), np.array([sign]), np.array([0.9]), 0.4)
    sites, cavities = propagate(KERNEL, MEAN, Sites(NONE, NONE), bounds)
    posterior = Posterior(KERNEL, MEAN, sites)
    rng = np.random.default_rng(0)
    drawn = MEAN[2] + np.sqrt(KERNEL[2, 2]) * rng.normal(size=400_000)
    kept = drawn[sign * (drawn + 0.4 * rng.normal(size=len(drawn)) - 0.9) > 0]
    assert posterior.mean(KERNEL, MEAN)[2] == pytest.approx(kept.mean(), abs=0.01)
    assert posterior.variance(KERNEL, np.diag(KERNEL))[2] == pytest.approx(kept.var(), rel=0.02)
    likely, _ = cavities.log_likelihood(bounds, 0.4)
    assert np.exp(likely) == pytest.approx(len(kept) / len(drawn), abs=0.005)


def test_the_likelihood_of_bounds_knows_how_it_moves_with_the_noise() -> None:
    at = np.array([0, 3, 5])
    bounds = Bounds(at, np.ones(3), np.array([2.0, -1.0, 0.5]), 0.4)
    _, cavities = propagate(KERNEL, MEAN, Sites(NONE, NONE), bounds)
    higher, lower = (cavities.log_likelihood(bounds, 0.4 * np.exp(by))[0] for by in (1e-5, -1e-5))
    assert cavities.log_likelihood(bounds, 0.4)[1] == pytest.approx((higher - lower) / 2e-5)


def test_a_bound_that_is_met_anyway_says_nothing() -> None:
    bounds = Bounds(np.array([2]), np.ones(1), np.array([-40.0]), 0.4)
    sites, _ = propagate(KERNEL, MEAN, Sites(NONE, NONE), bounds)
    assert Posterior(KERNEL, MEAN, sites).mean(KERNEL, MEAN) == pytest.approx(MEAN, abs=1e-4)


def test_no_points_are_no_trouble() -> None:
    nothing, none = np.zeros(0), np.zeros((0, 0))
    bounds = Bounds(np.zeros(0, int), nothing, nothing, 0.4)
    sites, _ = propagate(none, nothing, Sites(nothing, nothing), bounds)
    posterior = Posterior(none, nothing, sites)
    assert posterior.mean(np.zeros((6, 0)), MEAN) == pytest.approx(MEAN)
    assert posterior.covariance(np.zeros((6, 0)), KERNEL) == pytest.approx(KERNEL)
