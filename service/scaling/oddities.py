"""What does not look like a curve: points that stand out, and steps that rise with the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log, sqrt

import numpy as np

from service.scaling.forms import Array
from service.scaling.observation import Observation, logs

STANDS_OUT = 3.0
"""In standard deviations of log steps."""


@dataclass(frozen=True)
class Outlier:
    """A point that lies `sigmas` standard deviations above the curve (below: negative)."""

    batch_size: int
    sigmas: float


@dataclass(frozen=True)
class Rise:
    """The larger batch size took more steps, by `sigmas` standard deviations of the difference
    of two points: a sign that it was tuned less well."""

    batch_size: int
    larger: int
    sigmas: float


def outliers(
    observations: Sequence[Observation], curve: Array, noise: float
) -> tuple[Outlier, ...]:
    """The points further than STANDS_OUT from the curve's log steps at them, (n,)."""
    sigmas = (logs(observations)[1] - curve) / noise
    found = [Outlier(s.batch_size, float(z)) for s, z in zip(observations, sigmas, strict=True)]
    return tuple(outlier for outlier in found if abs(outlier.sigmas) > STANDS_OUT)


def rises(observations: Sequence[Observation], noise: float) -> tuple[Rise, ...]:
    """Every batch size that took more steps than the best smaller one, by more than STANDS_OUT."""
    found = []
    for index, seen in enumerate(observations):
        smaller = [other for other in observations[:index] if other.batch_size < seen.batch_size]
        if smaller:
            best = min(smaller, key=lambda other: other.middle)
            sigmas = log(seen.middle / best.middle) / (noise * sqrt(2))
            if sigmas > STANDS_OUT:
                found.append(Rise(best.batch_size, seen.batch_size, sigmas))
    return tuple(found)


def fall(log_batch: Array, log_steps: Array) -> float:
    """The median fall of log steps per log batch size over all pairs of points (Theil and Sen)."""
    slopes = [
        (log_steps[i] - log_steps[j]) / (log_batch[j] - log_batch[i])
        for i, j in combinations(range(len(log_batch)), 2)
        if log_batch[j] > log_batch[i]
    ]
    return float(np.median(slopes))
