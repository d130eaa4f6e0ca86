"""Metrics of held-out data: means of a cost or score per example, or of a whole split at once.

That a metric is a mean over examples, each within known bounds, is what lets an evaluation stop
as soon as the goal is out of reach without ever being wrong about it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from service.average_precision import average_precision

NO_TARGET = -100
"""A target that says: nothing is to be predicted here (torch's own `ignore_index`)."""


@dataclass(frozen=True)
class Metric:
    """The mean over examples of `per_example(outputs, targets)`.

    per_example -- model outputs and targets of n examples to a tensor of n numbers
    better      -- "lower" for errors and losses, "higher" for scores
    low, high   -- bounds of one example's number, for a weight of 1
    weight      -- targets of n examples to n weights: the metric is then the sum of
                   `per_example` over the sum of these, such as a cost per token of sentences of
                   many lengths
    """

    name: str
    per_example: Callable[[Tensor, Tensor], Tensor]
    better: Literal["lower", "higher"]
    low: float = 0.0
    high: float = float("inf")
    weight: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class SplitMetric:
    """A metric that is no mean over examples: `of(outputs, targets)` of a whole split.

    of        -- all outputs and all targets of a split, in its order, to one number
    better    -- "lower" or "higher"
    low, high -- its bounds
    """

    name: str
    of: Callable[[Tensor, Tensor], float]
    better: Literal["lower", "higher"]
    low: float = 0.0
    high: float = float("inf")


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
        raise ValueError("outputs and targets must have the same shape")
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


ERROR_RATE = Metric("error rate", _wrong, "lower", high=1.0)
"""The share of examples whose largest output, of shape [n, classes], is not their class."""

ACCURACY = Metric("accuracy", _right, "higher", high=1.0)
"""1 - error rate."""

CROSS_ENTROPY = Metric("cross-entropy", _cross_entropy, "lower")
"""Mean negative log-likelihood in nats, without label smoothing."""

MEAN_SQUARED_ERROR = Metric("mean squared error", _squared_error, "lower")
"""Mean squared difference between outputs and targets of the same shape."""

TOKEN_CROSS_ENTROPY = Metric("cross-entropy", _token_cross_entropy, "lower", weight=token_count)
"""Mean negative log-likelihood in nats of a token: of outputs [n, length, tokens] and targets
[n, length], over all that are not NO_TARGET. Called as CROSS_ENTROPY, whose examples are tokens
here, so that it compares with what was measured elsewhere."""

AVERAGE_PRECISION = SplitMetric("average precision", average_precision, "higher", high=1.0)
"""Of outputs [n, classes], one score for each label an example may have, and targets of the same
shape: over all labels of all examples together."""
