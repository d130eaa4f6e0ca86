"""Has a model passed the goal? Answered exactly, from as few examples as it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.data import Examples
from service.goal import Goal
from service.metrics import Metric, SplitMetric
from service.training.memory import PassSize

_SMALLEST_CHUNK = 32
_LARGEST_CHUNK = 1024


@dataclass(frozen=True)
class Evaluation:
    """What one look at the validation split showed.

    passed   -- whether the goal is passed; always exact
    value    -- the metric over the whole split; None if the walk stopped early
    examples -- how many examples it took
    """

    passed: bool
    value: float | None
    examples: int


@torch.inference_mode()
def full_metric(
    model: nn.Module,
    split: Examples,
    metric: Metric | SplitMetric,
    passes: PassSize | None = None,
) -> float:
    """The metric over a whole split, with the model in evaluation mode afterwards."""
    model.eval()
    fit = (PassSize() if passes is None else passes).fit
    everything = torch.arange(len(split), device=split.indexed_on)
    if isinstance(metric, SplitMetric):
        return _of_split(model, split, metric, fit)
    total = whole = 0.0
    for indices in everything.split(_LARGEST_CHUNK):  # type: ignore[no-untyped-call]
        inputs, targets = split.batch(indices)
        costs = fit(len(inputs), _costs(model, metric, inputs, targets))
        total += costs.sum(dtype=torch.float64).item()
        whole += len(targets) if metric.weight is None else float(metric.weight(targets).sum())
    return total / whole


Fit = Callable[[int, Callable[[int], Tensor]], Tensor]


def _of_split(model: nn.Module, split: Examples, metric: SplitMetric, fit: Fit) -> float:
    outputs, targets = [], []
    everything = torch.arange(len(split), device=split.indexed_on)
    for indices in everything.split(_LARGEST_CHUNK):  # type: ignore[no-untyped-call]
        inputs, expected = split.batch(indices)
        outputs.append(fit(len(inputs), _in_parts(model, inputs)))
        targets.append(expected)
    return float(metric.of(torch.cat(outputs), torch.cat(targets)))


def _in_parts(model: nn.Module, inputs: Tensor) -> Callable[[int], Tensor]:
    def compute(size: int) -> Tensor:
        return torch.cat([model(part) for part in inputs.split(size)])  # type: ignore[no-untyped-call]

    return compute


def _costs(
    model: nn.Module, metric: Metric, inputs: Tensor, targets: Tensor
) -> Callable[[int], Tensor]:
    """Each example's cost, computed in passes of the size that is given."""

    def compute(size: int) -> Tensor:
        if size >= len(inputs):
            return metric.per_example(model(inputs), targets)
        pairs = zip(inputs.split(size), targets.split(size), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([metric.per_example(model(x), y) for x, y in pairs])

    return compute


class Evaluator:
    """Walks a split in chunks, hardest examples first, and stops when the goal is out of reach.

    The order is the trial's own: whenever a walk had to go past the first chunk, the examples
    that spoke most against the goal move to the front. A model that got an example wrong is
    likely to get it wrong one percent more steps later, so most walks end after about as many
    examples as the goal allows errors. Which examples are looked at never changes the answer.
    """

    def __init__(self, split: Examples, goal: Goal, passes: PassSize | None = None) -> None:
        self.split = split
        self.passes = PassSize() if passes is None else passes
        self.goal = goal
        self.order = torch.arange(len(split), device=split.indexed_on)
        self.chunk = _chunk(goal, len(split))
        weigh = None if isinstance(goal.metric, SplitMetric) else goal.metric.weight
        self._weights = None if weigh is None else split.weights(weigh).to(split.indexed_on)
        self._whole = len(split) if self._weights is None else self._weights.sum().item()

    @torch.inference_mode()
    def look(self, model: nn.Module, *, full: bool) -> Evaluation:
        """Evaluate the model; with `full`, on every example whatever the goal."""
        model.eval()
        size, metric = len(self.split), self.goal.metric
        if isinstance(metric, SplitMetric):  # of a part of the split it says nothing
            found = full_metric(model, self.split, metric, self.passes)
            return Evaluation(self.goal.passed(found), found, size)
        total, weight, seen, costs = 0.0, 0.0, 0, []
        reachable = True
        while seen < size and (full or reachable):
            indices = self.order[seen : seen + self.chunk]
            inputs, targets = self.split.batch(indices)
            work = _costs(model, metric, inputs, targets)
            costs.append(self.passes.fit(len(indices), work).to(self.order.device))
            total += costs[-1].sum(dtype=torch.float64).item()
            seen += len(indices)
            weight += len(indices) if self._weights is None else self._weights[indices].sum().item()
            # A non-finite total is never past a goal: comparisons with NaN are false.
            reachable = not self.goal.out_of_reach(total, weight, self._whole)
        if len(costs) > 1:
            self._harder_first(torch.cat(costs))
        value = total / self._whole if seen == size else None
        return Evaluation(value is not None and self.goal.passed(value), value, seen)

    def _harder_first(self, costs: Tensor) -> None:
        """Reorder by the costs of the examples just seen: worst, then unseen, then best."""
        seen = self.order[: len(costs)]
        lower_is_better = self.goal.metric.better == "lower"
        ranked, by = torch.sort(costs, descending=lower_is_better, stable=True)
        seen = seen[by]
        bad = int(
            (ranked > ranked.mean()).sum() if lower_is_better else (ranked < ranked.mean()).sum()
        )
        self.order = torch.cat([seen[:bad], self.order[len(costs) :], seen[bad:]])


def _chunk(goal: Goal, size: int) -> int:
    """A little over the number of examples that it takes to rule a goal out, in steps of 32."""
    metric = goal.metric
    span = metric.high - metric.low
    allowed = size * abs(goal.value - (metric.low if metric.better == "lower" else metric.high))
    needed = allowed / span if span < float("inf") else size
    chunk = math.ceil(1.25 * needed / _SMALLEST_CHUNK) * _SMALLEST_CHUNK
    return min(max(chunk, _SMALLEST_CHUNK), _LARGEST_CHUNK)
