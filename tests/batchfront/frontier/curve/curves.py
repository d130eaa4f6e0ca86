"""Curves to fit, with and without noise."""

from collections.abc import Sequence

import numpy as np

from batchfront.frontier.curve.fit import Observation

POWERS = tuple(2**k for k in range(1, 11))


def on_curve(
    sizes: Sequence[int], s_min: float, half: float, alpha: float = 1.0
) -> list[Observation]:
    """Points exactly on S = s_min·(1 + (half/B)^alpha)."""
    return [Observation(size, s_min * (1 + (half / size) ** alpha)) for size in sizes]


def noisy(points: Sequence[Observation], deviation: float, seed: int = 0) -> list[Observation]:
    """The same points with normal noise of their log steps."""
    noise = deviation * np.random.default_rng(seed).standard_normal(len(points))
    return [
        Observation(point.batch_size, float(point.steps * np.exp(shift)))
        for point, shift in zip(points, noise, strict=True)
    ]
