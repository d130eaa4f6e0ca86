"""A stored goal as something that values can be compared with."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.frontier import Frontier

Values = TypeVar("Values", float, NDArray[np.float64])


@dataclass(frozen=True)
class GoalMetric:
    """The goal of a frontier: `lower` says whether less of the metric is better."""

    value: float
    lower: bool

    @classmethod
    def of(cls, frontier: Frontier) -> "GoalMetric":
        """The goal of a frontier's studies."""
        goal = frontier.goal
        return cls(float(goal["value"]), goal["better"] == "lower")

    def cost(self, values: Values) -> Values:
        """The values, with their sign changed where more is better: the lowest is the best."""
        return values if self.lower else -values

    def passed(self, value: float) -> bool:
        """Whether a value is strictly past the goal, as a trial's has to be."""
        return bool(self.cost(value) < self.cost(self.value))


def goal_metric(frontier: Frontier) -> str:
    """What the goal is of, in words: "validation error rate"; "the goal metric" if nobody said."""
    metric = frontier.goal["metric"]
    return f"validation {metric}" if metric else "the goal metric"


def significant(value: float, digits: int = 2) -> float:
    """A number of so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.{digits - 1}e}")
