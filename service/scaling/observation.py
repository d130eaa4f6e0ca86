"""The points that a curve is fitted to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import UsageError
from service.scaling.forms import Array


@dataclass(frozen=True)
class Observation:
    """The steps of the best trial at a batch size, or the median of repeated measurements.

    steps       -- infinite where the goal was not reached
    steps_lower -- the goal was passed in (steps_lower, steps]; None where every step was looked
                   at, or where nothing is known about it
    seeds       -- all repeated measurements, infinite where one did not reach the goal; empty
                   where there is one measurement, or the best of a search
    """

    batch_size: int
    steps: float
    steps_lower: float | None = None
    seeds: tuple[float, ...] = ()

    @property
    def middle(self) -> float:
        """The mean of the steps at which the goal may first have been passed."""
        return self.steps if self.steps_lower is None else (self.steps_lower + 1 + self.steps) / 2


def in_order(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """By batch size. Raises UsageError for one that can't be."""
    found = sorted(observations, key=lambda seen: (seen.batch_size, seen.steps))
    for seen in found:
        if seen.batch_size < 1 or not seen.steps > 0 or not all(one > 0 for one in seen.seeds):
            raise UsageError(
                f"batch size {seen.batch_size} with {seen.steps} steps: both must be positive"
            )
        if seen.steps_lower is not None and not 0 <= seen.steps_lower < seen.steps:
            raise UsageError(
                f"batch size {seen.batch_size}: the goal can't have been passed between "
                f"{seen.steps_lower} and {seen.steps} steps"
            )
    return tuple(found)


def logs(observations: Iterable[Observation]) -> tuple[Array, Array]:
    """log batch size and log steps of each, (n,)."""
    pairs = np.log([(float(seen.batch_size), seen.middle) for seen in observations])
    return pairs[:, 0], pairs[:, 1]


def by_batch_size(observations: Sequence[Observation]) -> tuple[Array, Array]:
    """log batch size of the different ones, and the mean of log steps at each, (m,)."""
    log_batch, log_steps = logs(observations)
    sizes, index = np.unique(log_batch, return_inverse=True)
    return sizes, np.bincount(index, log_steps) / np.bincount(index)
