"""Has a model passed the goal? Answered exactly, from as few examples as it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.data import Split
from service.goal import Goal
from service.metrics import Metric
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
    model: nn.Module, split: Split, metric: Metric, passes: PassSize | None = None
) -> float:
    """The metric over a whole split, with the model in evaluation mode afterwards."""
    model.eval()
    total, fit = 0.0, (PassSize() if passes is None else passes).fit
    for start in range(0, len(split), _LARGEST_CHUNK):
        stop = start + _LARGEST_CHUNK
        inputs, targets = split.inputs[start:stop], split.targets[start:stop]
        costs = fit(len(inputs), _costs(model, metric, inputs, targets))
        total += costs.sum(dtype=torch.float64).item()
    return total / len(split)


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

    def __init__(self, split: Split, goal: Goal, passes: PassSize | None = None) -> None:
        self.split = split
        self.passes = PassSize() if passes is None else passes
        self.goal = goal
        self.order = torch.arange(len(split), device=split.inputs.device)
        self.chunk = _chunk(goal, len(split))

    @torch.inference_mode()
    def look(self, model: nn.Module, *, full: bool) -> Evaluation:
        """Evaluate the model; with `full`, on every example whatever the goal."""
        model.eval()
        size, metric = len(self.split), self.goal.metric
        total, seen, costs = 0.0, 0, []
        reachable = True
        while seen < size and (full or reachable):
            indices = self.order[seen : seen + self.chunk]
            inputs, targets = self.split.batch(indices)
            work = _costs(model, metric, inputs, targets)
            costs.append(self.passes.fit(len(indices), work))
            total += costs[-1].sum(dtype=torch.float64).item()
            seen += len(indices)
            # A non-finite total is never past a goal: comparisons with NaN are false.
            reachable = not self.goal.out_of_reach(total, seen, size)
        if len(costs) > 1:
            self._harder_first(torch.cat(costs))
        value = total / size if seen == size else None
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
