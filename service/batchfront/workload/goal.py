"""What a trial has to reach."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from batchfront.errors import UsageError, WorkloadError
from batchfront.workload.given import attribute, is_torchs, name_of, number, shown
from batchfront.workload.metric_fields import Better, check_metric

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.metrics import Metric, SplitMetric


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
        check_metric(self)


_OURS: dict[str, Better] = {
    "error rate": "lower",
    "accuracy": "higher",
    "mean squared error": "lower",
    "average precision": "higher",
    "token cross entropy": "lower",
}
"""The metrics that batchfront computes, by the names of their constants, and which values of each
are better. The cross-entropy alone may be one of examples, or of tokens."""


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.strip().lower()))


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
        value = _value(metric, value)
        if isinstance(metric, str):
            metric = _reported(metric, value, better)
        elif not is_metric(metric):
            raise UsageError(f"goal {value:g}: {not_a_metric(metric)}")
        elif better is not None:
            raise UsageError(f"goal {value:g}: which {metric.name} is better, the metric says")
        object.__setattr__(self, "metric", metric)
        object.__setattr__(self, "value", value)
        low, high, name = metric.low, metric.high, metric.name
        if not low <= value <= high:
            percent = f"; {value:g} % is {value / 100:g}" if high == 1 and 1 < value <= 100 else ""
            raise UsageError(f"goal {value:g}: {name} lies between {low:g} and {high:g}{percent}")
        if not self._better(self.best):
            raise UsageError(f"goal {value:g}: no {name} can be strictly better than that")

    def by_batchfront(self) -> Goal:
        """The same goal with the metric of ours that its name means, where only that is given.

        Raises UsageError, with what to write, for another name.
        """
        if not isinstance(self.metric, ReportedMetric):
            return self
        found = metric_of_ours(self.metric.name)
        if found is None:
            _ = self.computed  # which refuses it
        assert found is not None
        if found.better != self.metric.better:
            raise UsageError(
                f"goal {self}: of {found.name}, {found.better} values are better; leave better= out"
            )
        return Goal(found, self.value)

    @property
    def computed(self) -> Metric | SplitMetric:
        """The metric, as batchfront computes it.

        Raises UsageError for one of which only the name is known.
        """
        if isinstance(self.metric, ReportedMetric):
            name, better = self.metric.name, self.metric.better
            raise UsageError(
                f"goal {self}: {name} is computed by whoever trains; a Workload's metric is a "
                "Metric, such as ERROR_RATE, CROSS_ENTROPY, TOKEN_CROSS_ENTROPY, or your own: "
                f'Metric("{name}", function_of_outputs_and_targets, "{better}")'
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


def as_goal(workload: str, given: Any) -> Goal:
    """A workload's goal, also where what a `Goal` is made of stands in a tuple.

    Raises UsageError, with what to write, for what can't be one.
    """
    if isinstance(given, Goal):
        return given
    if isinstance(given, tuple | list) and len(given) in (2, 3):
        return Goal(*given)
    what = shown(given)
    if is_metric(given):
        what += f" ({given.name}), without the value to pass"
    raise WorkloadError(
        f"{workload}: goal is {what}; write a metric and the value to pass: Goal(ERROR_RATE, 0.1), "
        'or where a loop reports it Goal("val_loss", 1.8, better="lower")'
    )


def metric_of_ours(name: str) -> Metric | SplitMetric | None:
    """The metric that a name means, "error rate" or "ERROR_RATE"; None if it is none of ours."""
    if _plain(name) not in _OURS:
        return None
    from batchfront.workload import metrics  # late, as it brings torch

    found: Metric | SplitMetric = getattr(metrics, _plain(name).replace(" ", "_").upper())
    return found


def _value(metric: object, value: Any) -> float:
    """The value to pass, as a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return value  # which no metric lies at: the bounds say so
    name = metric if isinstance(metric, str) else metric.name if is_metric(metric) else ""
    try:
        return number(f"goal {name}: its value", value)
    except WorkloadError as error:
        swapped = isinstance(value, str) or is_metric(value)
        hint = "; write Goal(metric, value)" if swapped and "quotes" not in str(error) else ""
        raise UsageError(f"{error}{hint}") from None


def _reported(name: str, value: float, better: Better | None) -> ReportedMetric:
    plain = _plain(name)
    if better is None and plain in ("cross entropy", "ce"):
        raise UsageError(
            f"goal {name} {value:g}: write Goal(CROSS_ENTROPY, {value:g}), of tokens "
            f"Goal(TOKEN_CROSS_ENTROPY, {value:g}), or where a loop reports it "
            f'Goal("{name}", {value:g}, better="lower")'
        )
    better = _OURS.get(plain) if better is None else better
    if better is None:
        raise UsageError(
            f'goal {name} {value:g}: say better="lower" or better="higher", as in '
            f'Goal("{name}", {value:g}, better="lower")'
        )
    return ReportedMetric(name, better)


def is_metric(given: Any) -> TypeGuard[Metric | SplitMetric | ReportedMetric]:
    ours = sys.modules.get("batchfront.workload.metrics")  # which brings torch: who has one has it
    kinds = () if ours is None else (ours.Metric, ours.SplitMetric)
    return isinstance(given, (ReportedMetric, *kinds))


def not_a_metric(given: Any) -> str:
    """What to write in place of a metric that isn't one of ours."""
    name = name_of(given, "mine")
    whole = f'SplitMetric("{name}", lambda outputs, targets: '
    better = 'better="higher") (or "lower")'
    if isinstance(given, type):
        return f"{shown(given)} is no metric; write Metric(name, per_example, better) with it"
    if is_torchs(given, "nn.Module"):  # torchmetrics' among them, which add up what they are shown
        return (
            f"{shown(given)} is no metric; by its function, for a whole split, write "
            f"{whole}function(outputs, targets), {better}"
        )
    if not callable(given):
        return f"{shown(given)} is no metric; write one such as ERROR_RATE or ACCURACY"
    if str(attribute(given, "__module__")).startswith("sklearn"):
        called = f"{name}(targets, outputs.argmax(1))"
        return f"{shown(given)} is no metric; write {whole}{called}, {better}"
    return (
        f"{shown(given)} is no metric yet; if it gives a number for each example, write "
        f'Metric("{name}", {name}, {better}, and if one for the whole split SplitMetric instead'
    )


def restore_goal(described: Mapping[str, Any]) -> Goal:
    """A goal as `Goal.describe` gave it; of its metric only the name is known then."""
    return Goal(described["metric"], described["value"], described["better"])
