from typing import Any

import numpy as np
import pytest
import torch

from batchfront.workload.seeds import mix
from batchfront.workload.sobol import scrambled_sobol

SEEDS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -1, -12345, *(mix(n) for n in range(12)))


def of_torch(dimensions: int, count: int, seed: int, first: int) -> Any:
    engine: Any = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    if first:
        engine.fast_forward(first)
    return engine.draw(count, dtype=torch.float64).numpy()


@pytest.mark.parametrize("dimensions", [*range(1, 26), 100])
def test_points_are_those_of_torch_to_the_bit(dimensions: int) -> None:
    for seed in SEEDS:
        ours = scrambled_sobol(dimensions, 64, seed)
        assert ours.dtype == np.float64
        assert np.array_equal(ours, of_torch(dimensions, 64, seed, 0))


@pytest.mark.parametrize("count", [1, 2, 3, 40, 1024, 2500])
@pytest.mark.parametrize("first", [0, 1, 2, 63, 64, 1000, 4097])
def test_a_later_stretch_is_that_of_torch(first: int, count: int) -> None:
    for seed in SEEDS[-3:]:
        expected = of_torch(5, count, seed, first)
        assert np.array_equal(scrambled_sobol(5, count, seed, first), expected)


def test_no_points_are_none() -> None:
    assert scrambled_sobol(3, 0, seed=1).shape == (0, 3)
    assert scrambled_sobol(3, 0, seed=1, first=7).shape == (0, 3)


def test_drawing_points_neither_reads_nor_moves_the_generators_of_others() -> None:
    np.random.seed(0)
    before = np.random.get_state(legacy=False)
    points = scrambled_sobol(2, 4, seed=7)
    after = np.random.get_state(legacy=False)
    assert np.array_equal(after["state"]["key"], before["state"]["key"])  # type: ignore[call-overload]
    assert after["state"]["pos"] == before["state"]["pos"]  # type: ignore[call-overload]
    np.random.seed(1)
    assert np.array_equal(scrambled_sobol(2, 4, seed=7), points)
