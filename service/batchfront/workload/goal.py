"""What a trial has to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from batchfront.errors import UsageError

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.metrics import Metric, SplitMetric

Better = Literal["lower", "higher"]

LONGEST_NAME = 64
"""Characters of a metric's name that a database keeps."""


@dataclass(frozen=True)
class ReportedMetric:
    """A metric that a training loop of the user's computes, and tells by its name.

    better    -- which values are better
    low, high -- the values that it can have
    """

    name: str
    better: Better
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if self.better not in ("lower", "higher"):
            raise UsageError(f"metric {self.name}: better is {self.better!r}; use lower or higher")
        if not (self.name.isprintable() and 0 < len(self.name.strip()) <= LONGEST_NAME):
            raise UsageError(
                f"metric {self.name!r}: its name must be one line of 1 to {LONGEST_NAME} characters"
            )


@dataclass(frozen=True, init=False)
class Goal:
    """A metric of the validation split, and the value that it has to be strictly better than.

    Strictly, as in the analysis code that Shallue et al. 2018 published with their data. A metric
    that the user's own training loop computes may be given by its name, with the values that are
    `better`: `Goal("val_loss", 1.8, better="lower")`.
    """

    metric: Metric | SplitMetric | ReportedMetric
    value: float

    def __init__(
        self,
        metric: Metric | SplitMetric | ReportedMetric | str,
        value: float,
        better: Better | None = None,
    ) -> None:
        if isinstance(metric, str):
            if better is None:
                raise UsageError(f'goal {metric} {value:g}: say better="lower" or better="higher"')
            metric = ReportedMetric(metric, better)
        elif better is not None:
            raise UsageError(f"goal {value:g}: which {metric.name} is better, the metric says")
        object.__setattr__(self, "metric", metric)
        object.__setattr__(self, "value", value)
        low, high, name = metric.low, metric.high, metric.name
        if not low <= value <= high:
            raise UsageError(f"goal {value:g}: {name} lies between {low:g} and {high:g}")
        if not self._better(self.best):
            raise UsageError(f"goal {value:g}: no {name} can be strictly better than that")

    @property
    def computed(self) -> Metric | SplitMetric:
        """The metric, as batchfront computes it.

        Raises UsageError for one of which only the name is known.
        """
        if isinstance(self.metric, ReportedMetric):
            raise UsageError(
                f"goal {self}: {self.metric.name} is computed by whoever trains; a Workload's "
                "metric is a Metric, such as ERROR_RATE"
            )
        return self.metric

    @property
    def best(self) -> float:
        """The best number that the metric can have."""
        return self.metric.low if self.metric.better == "lower" else self.metric.high

    def passed(self, value: float) -> bool:
        """Whether a full value of the metric is past the goal: one that isn't finite never is."""
        return self._better(value) and math.isfinite(value)

    def metric_worse(self, value: float, bound: float) -> bool:
        """Whether a value of the metric is worse than a bound."""
        return value > bound if self.metric.better == "lower" else value < bound

    def out_of_reach(self, total: float, seen: float, size: float) -> bool:
        """Whether no outcome of the unseen examples could pass the goal any more.

        total, seen -- sum over, and number (or weight) of, the examples seen
        size        -- number (or weight) of all
        """
        bound = (total + (size - seen) * self.best) / size if seen < size else total / size
        return not self._better(bound)

    def _better(self, value: float) -> bool:
        return value < self.value if self.metric.better == "lower" else value > self.value

    def describe(self) -> dict[str, Any]:
        """The goal as plain data, for a study's identity."""
        described = {
            "metric": self.metric.name,
            "better": self.metric.better,
            "value": self.value,
        }
        reported = isinstance(self.metric, ReportedMetric)
        return {**described, "text": str(self)} if reported else described

    def __str__(self) -> str:
        sign = "<" if self.metric.better == "lower" else ">"
        held_out = "" if isinstance(self.metric, ReportedMetric) else "validation "
        return f"{held_out}{self.metric.name} {sign} {self.value:g}"


def restore_goal(described: Mapping[str, Any]) -> Goal:
    """A goal as `Goal.describe` gave it; of its metric only the name is known then."""
    return Goal(described["metric"], described["value"], described["better"])
