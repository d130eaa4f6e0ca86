"""What a trial has to reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchfront.errors import UsageError

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.metrics import Metric, SplitMetric


@dataclass(frozen=True)
class Goal:
    """A metric of the validation split, and the value that it has to be strictly better than.

    Strictly, as in the analysis code that Shallue et al. 2018 published with their data.
    """

    metric: Metric | SplitMetric
    value: float

    def __post_init__(self) -> None:
        low, high, name = self.metric.low, self.metric.high, self.metric.name
        if not low <= self.value <= high:
            raise UsageError(f"goal {self.value:g}: {name} lies between {low:g} and {high:g}")
        if not self._better(self.best):
            raise UsageError(f"goal {self.value:g}: no {name} can be strictly better than that")

    @property
    def best(self) -> float:
        """The best number that the metric can have."""
        return self.metric.low if self.metric.better == "lower" else self.metric.high

    def passed(self, value: float) -> bool:
        """Whether a full value of the metric is past the goal: one that isn't finite never is."""
        return self._better(value) and math.isfinite(value)

    def out_of_reach(self, total: float, seen: float, size: float) -> bool:
        """Whether no outcome of the unseen examples could pass the goal any more.

        total, seen -- sum over, and number (or weight) of, the examples seen
        size        -- number (or weight) of all
        """
        bound = (total + (size - seen) * self.best) / size if seen < size else total / size
        return not self._better(bound)

    def _better(self, value: float) -> bool:
        return value < self.value if self.metric.better == "lower" else value > self.value

    def __str__(self) -> str:
        sign = "<" if self.metric.better == "lower" else ">"
        return f"validation {self.metric.name} {sign} {self.value:g}"
