"""How far repeated measurements of one batch size lie apart, and what that says about their median.

The spread is one for all batch sizes, pooled, in logs: a few seeds of each alone would say little.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log, pi, sqrt

import numpy as np

from service.scaling.observation import Observation


@dataclass(frozen=True)
class Replicates:
    """How repeated measurements differ.

    error   -- the standard error of a point's log steps
    freedom -- the measurements beyond the first of each batch size, which the spread is known by
    """

    error: float
    freedom: int


def replicates(observations: Sequence[Observation]) -> Replicates | None:
    """The spread of repeated measurements; None where there are none."""
    groups: dict[int, list[float]] = defaultdict(list)
    for seen in observations:
        groups[seen.batch_size] += _finite_logs(seen.seeds) or [log(seen.middle)]
    freedom = sum(len(group) - 1 for group in groups.values())
    if freedom == 0:
        return None
    variance = sum(len(group) * float(np.var(group)) for group in groups.values()) / freedom
    of_points = np.mean([_variance_of_median(max(len(seen.seeds), 1)) for seen in observations])
    return Replicates(sqrt(variance * float(of_points)), freedom)


def _finite_logs(seeds: Sequence[float]) -> list[float]:
    """Log steps, those that did not reach the goal as far above the median as the fastest lie
    below it."""
    steps = [log(one) if isfinite(one) else one for one in sorted(seeds)]
    middle = float(np.median(steps)) if steps else 0.0
    pairs = zip(steps, reversed(steps), strict=True)
    return [one if isfinite(one) else 2 * middle - mirrored for one, mirrored in pairs]


def _variance_of_median(count: int) -> float:
    """Of so many standard normal numbers: exact for one, and within 2 % for odd counts."""
    return pi / 2 / (count + pi / 2 - 1)
