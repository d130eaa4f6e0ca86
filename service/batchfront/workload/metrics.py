"""Metrics of held-out data: means of a cost or score per example, or of a whole split at once.

That a metric is a mean over examples, each within known bounds, is what lets an evaluation stop
as soon as the goal is out of reach without ever being wrong about it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from batchfront.errors import UsageError, WorkloadError
from batchfront.workload.given import shown, takes
from batchfront.workload.metric_fields import check_metric
from batchfront.workload.nested import Nested, tensors_in

_CHUNK = 1 << 24  # scores that are compared at once


def average_precision(outputs: Tensor, targets: Tensor) -> float:
    """Average precision of `outputs` (scores) for `targets` of the same shape (true or false).

    All numbers of all examples are ranked together: of [n, classes], a class counts as much as it
    has examples (scikit-learn's `average="micro"`). The sum, over distinct scores, of the
    precision among all that are at least as high times the recall gained there, exactly. 0 where
    nothing is true; NaN where a score is.
    """
    if outputs.shape != targets.shape:
        raise ValueError("outputs and targets must have the same shape")
    scores, shown = outputs.flatten(), targets.flatten().to(torch.bool)
    if scores.isnan().any():
        return math.nan
    wanted = _exact(scores[shown])
    if not len(wanted):
        return 0.0
    # Only at the score of something true does recall grow, so that the others need no sorting.
    levels, found = torch.unique(wanted, return_counts=True)  # ascending
    places = torch.zeros(len(levels) + 1, dtype=torch.int64, device=scores.device)
    for part in scores.split(_CHUNK):  # type: ignore[no-untyped-call]
        below = torch.searchsorted(levels, _exact(part), right=True)  # levels that it reaches
        places += below.bincount(minlength=len(places))
    reaching = places.flip(0).cumsum(0).flip(0)[1:]  # scores that reach each level
    correct = found.flip(0).cumsum(0).flip(0)
    precision = correct.to(torch.float64) / reaching
    return float((precision * found).sum() / len(wanted))


def _exact(scores: Tensor) -> Tensor:
    """Scores of 16 bits as 32, in which they keep their values."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


NO_TARGET = -100
"""A target that says: nothing is to be predicted here (torch's own `ignore_index`)."""


@dataclass(frozen=True)
class Metric:
    """The mean over examples of `per_example(outputs, targets)`.

    per_example -- model outputs and targets of n examples to n numbers
    better      -- "lower" for errors and losses, "higher" for scores
    low, high   -- bounds of one example's number, for a weight of 1. The better one lets an
                   evaluation stop early; a number outside of them is an error
    weight      -- targets of n examples to n weights: the metric is then the sum of
                   `per_example` over the sum of these, such as a cost per token of sentences of
                   many lengths. An example of weight 0 counts nothing
    """

    name: str
    per_example: Callable[[Nested, Nested], Tensor]
    better: Literal["lower", "higher"]
    low: float = -math.inf
    high: float = math.inf
    weight: Callable[[Nested], Tensor] | None = None

    def __post_init__(self) -> None:
        check_metric(self)
        _refuse_no_function(self, "per_example", "(outputs, targets)", 2)
        if self.weight is not None:
            _refuse_no_function(self, "weight", "(targets)", 1)


@dataclass(frozen=True)
class SplitMetric:
    """A metric that is no mean over examples: `of(outputs, targets)` of a whole split.

    of        -- all outputs and all targets of a split, in its order, to one number
    better    -- "lower" or "higher"
    low, high -- its bounds
    """

    name: str
    of: Callable[[Nested, Nested], float]
    better: Literal["lower", "higher"]
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        check_metric(self)
        _refuse_no_function(self, "of", "(outputs, targets)", 2)


def _refuse_no_function(
    metric: "Metric | SplitMetric", field: str, arguments: str, count: int
) -> None:
    given = getattr(metric, field)
    if callable(given) and not isinstance(given, type) and takes(given, count):
        return
    raise UsageError(
        f"metric {metric.name!r}: {field} is {shown(given)}; write a function of {arguments}"
    )


def costs_of(
    metric: Metric,
    outputs: Nested,
    targets: Nested,
    weights: Tensor | None = None,
    *,
    count: int | None = None,
) -> Tensor:
    """Compute a metric's number for each of n examples, as an evaluation does.

    weights -- of these examples, shape [n], where the metric has a `weight`
    count   -- n, where the targets are no tensor

    Returns floating-point numbers of shape [n]. Raises WorkloadError for anything that isn't n
    numbers within the metric's bounds.
    """
    return counted(metric, numbers_of(metric, outputs, targets, count), weights)


def numbers_of(
    metric: Metric, outputs: Nested, targets: Nested, count: int | None = None
) -> Tensor:
    """Compute the same without a look at the bounds.

    Booleans, whole numbers, NumPy arrays and lists are taken as numbers, and so is a column [n, 1].
    """
    found = metric.per_example(outputs, targets)
    return _each(f"metric {metric.name!r}", found, len(targets) if count is None else count)


def counted(metric: Metric, costs: Tensor, weights: Tensor | None = None) -> Tensor:
    """Check examples' numbers against the metric's bounds; `weights` are of the same shape.

    Returns them, within those to the bit, and 0 for an example of weight 0, whatever the metric
    makes of it (0 / 0, often).
    Raises WorkloadError for a number outside of the bounds.
    """
    if weights is not None:
        weights = weights.to(costs.device)
        costs = costs.masked_fill(weights == 0, 0.0)
    if id(metric) in _WITHIN:
        return costs
    _refuse_outside(metric, costs, weights)
    # What rounding puts beyond an end would make an early look another than a full one.
    unit = torch.ones((), dtype=costs.dtype, device=costs.device) if weights is None else weights
    if math.isfinite(metric.low):
        costs = costs.maximum(metric.low * unit)
    return costs.minimum(metric.high * unit) if math.isfinite(metric.high) else costs


def weights_of(metric: Metric, targets: Nested, count: int | None = None) -> Tensor:
    """Compute the weights of n examples, float64, shape [n].

    Raises WorkloadError for anything that isn't n finite numbers from 0 on.
    """
    count = len(targets) if count is None else count
    if metric.weight is None:
        (first, *_) = tensors_in(targets)
        return torch.ones(count, dtype=torch.float64, device=first.device)
    return as_weights(f"the weight of metric {metric.name!r}", metric.weight(targets), count)


def as_weights(what: str, found: Any, count: int) -> Tensor:
    """Check weights that somebody's function gave for `count` examples.

    Returns them in float64, shape [count]. Raises WorkloadError, which begins with `what`, for
    anything that isn't `count` finite numbers from 0 on.
    """
    weights = _each(what, found, count).to(torch.float64)
    wrong = weights[~(weights.isfinite() & (weights >= 0))]
    if len(wrong):
        raise WorkloadError(f"{what} is {wrong[0].item():g} for an example; it must be 0 or more")
    return weights


def value_of(metric: SplitMetric, outputs: Nested, targets: Nested) -> float:
    """Compute a metric of a whole split.

    Raises WorkloadError for anything that isn't one number within the metric's bounds.
    """
    found = metric.of(outputs, targets)
    number = _numbers(found)
    if number is None or number.numel() != 1:
        raise WorkloadError(
            f"metric {metric.name!r} must give one number for the whole split; "
            f"found {_found(found)}"
        )
    _refuse_outside(metric, number.reshape(1))
    return float(number.item())


def _each(what: str, found: Any, count: int) -> Tensor:
    """One number for each of `count` examples, shape [count]."""
    numbers = _numbers(found)
    # Of a single example a scalar is as good; and [n, 1] holds a number for each example.
    if numbers is None or numbers.numel() != count or numbers.shape[:1] not in ((), (count,)):
        raise WorkloadError(
            f"{what} must give one number per example, shape ({count},); found {_found(found)}"
        )
    return numbers.reshape(count)


def _numbers(found: Any) -> Tensor | None:
    """Numbers, of whatever kind, as a floating-point tensor; None for what are none."""
    if not isinstance(found, Tensor):
        try:
            found = torch.tensor(np.asarray(found))
        except (TypeError, ValueError, RuntimeError):
            return None
    numbers: Tensor = found
    if numbers.is_floating_point():
        return numbers
    return None if numbers.is_complex() else numbers.to(torch.float64)


def _found(found: Any) -> str:
    shape = getattr(found, "shape", None)
    return type(found).__name__ if shape is None else f"shape {tuple(shape)} ({found.dtype})"


def _refuse_outside(
    metric: Metric | SplitMetric, numbers: Tensor, weights: Tensor | None = None
) -> None:
    """Raise WorkloadError for a number outside the bounds by more than rounding; NaN is inside."""
    if math.isinf(metric.low) and math.isinf(metric.high):
        return
    if weights is not None:
        numbers = (numbers / weights)[weights > 0]
    if not numbers.numel():
        return
    least, most = torch.stack(torch.aminmax(numbers)).tolist()  # one wait for the device
    rounding = max(_ROUNDING, 2 * torch.finfo(numbers.dtype).eps)
    for bound, number, side in ((metric.low, least, "low"), (metric.high, most, "high")):
        beyond = number - bound if side == "high" else bound - number
        if beyond > rounding * max(abs(bound), 1.0):
            where, end, none = ("above", "highest", "math.inf")
            if side == "low":
                where, end, none = ("below", "lowest", "-math.inf")
            raise WorkloadError(
                f"metric {metric.name!r} has given {number:g}, {where} its {side}={bound:g}: give "
                f"it {side}= the {end} number that it can have, or {side}={none} if there is none"
            )


_ROUNDING = 1e-5
"""Of a bound, or of 1: what sums in single precision come to beyond it."""


def _wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    largest, classes = outputs.max(dim=1)
    # Beside a NaN nothing is largest; torch would name its place, which may be the right class.
    return ((classes != targets) | largest.isnan()).to(torch.float32)


def _right(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - _wrong(outputs, targets)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.shape != targets.shape:  # which torch would broadcast, to another number
        raise ValueError(
            "outputs and targets must have the same shape: targets[:, None] gives n targets that "
            "of a model with one output; for another error write a Metric of your own"
        )
    return (outputs - targets).square().reshape(len(targets), -1).mean(dim=1)


def token_count(targets: Tensor) -> Tensor:
    """How many tokens of each example are to be predicted: [n, length] (int64) to [n] (float64).

    Those that are NO_TARGET are padding.
    """
    return (targets != NO_TARGET).sum(dim=1, dtype=torch.float64)


def _token_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    costs = F.cross_entropy(
        outputs.flatten(0, 1).float(), targets.flatten(), ignore_index=NO_TARGET, reduction="none"
    )
    return costs.view(targets.shape).sum(dim=1)


ERROR_RATE = Metric("error rate", _wrong, "lower", low=0.0, high=1.0)
"""The share of examples whose largest output, of shape [n, classes], is not their class."""

ACCURACY = Metric("accuracy", _right, "higher", low=0.0, high=1.0)
"""1 - error rate."""

CROSS_ENTROPY = Metric("cross-entropy", _cross_entropy, "lower", low=0.0)
"""Mean negative log-likelihood in nats, without label smoothing."""

MEAN_SQUARED_ERROR = Metric("mean squared error", _squared_error, "lower", low=0.0)
"""Mean squared difference between outputs and targets of the same shape."""

TOKEN_CROSS_ENTROPY = Metric(
    "cross-entropy", _token_cross_entropy, "lower", low=0.0, weight=token_count
)
"""Mean negative log-likelihood in nats of a token: of outputs [n, length, tokens] and targets
[n, length], over all that are not NO_TARGET. Called as CROSS_ENTROPY, whose examples are tokens
here, so that it compares with what was measured elsewhere."""

AVERAGE_PRECISION = SplitMetric("average precision", average_precision, "higher", low=0.0, high=1.0)
"""Of outputs [n, classes], one score for each label an example may have, and targets of the same
shape: over all labels of all examples together."""

_WITHIN = frozenset(
    map(
        id,
        (
            ERROR_RATE,
            ACCURACY,
            CROSS_ENTROPY,
            MEAN_SQUARED_ERROR,
            TOKEN_CROSS_ENTROPY,
            AVERAGE_PRECISION,
        ),
    )
)
"""Metrics that can't leave their bounds, so that nobody has to look."""
