"""A noise scale along a run, from readings of known noise."""

from math import inf

import numpy as np
import pytest

from batchfront.advice.noise_scale import noise_scale
from batchfront.outcomes import Reading

EXAMPLES, COMPONENTS = 32, 20


def read(
    scales: list[float], seed: int = 0, norm: float = 1.0, steps: list[int] | None = None
) -> list[Reading]:
    """Readings of batches of 32 examples whose gradients have these noise scales, and a gradient
    of this squared norm: what is read of eight parts, each a mean of normal draws."""
    draw = np.random.default_rng(seed)
    readings = []
    for step, scale in enumerate(scales):
        gradient = np.full(COMPONENTS, (norm / COMPONENTS) ** 0.5)
        spread = (scale * norm / COMPONENTS / (EXAMPLES / 8)) ** 0.5
        parts = gradient + spread * draw.normal(size=(8, COMPONENTS))
        trace = EXAMPLES / 8 * parts.var(axis=0, ddof=1).sum()
        squared = (parts.mean(axis=0) ** 2).sum() - trace / EXAMPLES
        stands = 1 if steps is None else steps[step]
        readings.append(Reading(step, stands, 8, EXAMPLES, float(trace), float(squared)))
    return readings


def test_the_noise_scale_of_gradients_of_known_noise_is_found() -> None:
    found = noise_scale(read([50.0] * 400), 32)

    assert found.value == pytest.approx(50, rel=0.1)
    assert found.low < 50 < found.high < 1.3 * found.low


def test_the_interval_holds_the_truth_nine_times_in_ten() -> None:
    found = [noise_scale(read([50.0] * 60, seed), 32) for seed in range(300)]
    held = sum(one.low <= 50 <= one.high for one in found) / 300

    assert 0.85 <= held <= 0.95


def test_steps_count_by_the_progress_that_they_make() -> None:
    """At batch size 32 a step counts 1/(1 + 16/32) = 2/3 in the first half, and 1/(1 + 96/32) = 1/4
    in the second."""
    found = noise_scale(read([16.0] * 4000 + [96.0] * 4000), 32)

    assert found.value == pytest.approx((16 * 2 / 3 + 96 / 4) / (2 / 3 + 1 / 4), rel=0.03)


def test_how_large_gradients_are_along_the_run_counts_nothing() -> None:
    large, small = read([16.0] * 2000, norm=100.0), read([96.0] * 2000, seed=1, norm=0.01)
    found = noise_scale(large + small, 32)

    assert found.value == pytest.approx((16 * 2 / 3 + 96 / 4) / (2 / 3 + 1 / 4), rel=0.05)


def test_a_reading_counts_for_the_steps_that_it_stands_for() -> None:
    dense = noise_scale(read([16.0] * 3000 + [96.0] * 1000), 32)
    sparse = noise_scale(read([16.0] * 1000 + [96.0] * 1000, steps=[3] * 1000 + [1] * 1000), 32)

    assert sparse.value == pytest.approx(dense.value, rel=0.06)


def test_a_gradient_that_is_lost_in_its_noise_bounds_it_from_below_alone() -> None:
    found = noise_scale(read([20_000.0] * 40, seed=2), 32)

    assert found.high == inf
    assert 100 < found.low < 20_000


def test_a_squared_norm_that_comes_out_surely_below_0_is_one_that_is_lost() -> None:
    """By chance it does so once in twenty times where there is next to no gradient."""
    readings = [Reading(n, 1, 8, EXAMPLES, 32.0 + n % 3, -0.5 - 0.01 * (n % 4)) for n in range(40)]
    found = noise_scale(readings, EXAMPLES)

    assert (found.value, found.high) == (None, inf)
    assert found.low > EXAMPLES


def test_no_noise_is_a_noise_scale_of_0() -> None:
    found = noise_scale(read([0.0] * 20), 32)

    assert (found.value, found.low, found.high) == (0, 0, 0)
