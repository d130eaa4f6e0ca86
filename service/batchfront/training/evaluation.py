"""Has a model passed the goal? Answered exactly, from as few examples as it takes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.generators import drawing_aside
from batchfront.training.measures import Measures, total_of
from batchfront.training.memory import MicroBatchSize
from batchfront.training.model_call import Computed
from batchfront.training.prefetch import Prefetch, Request
from batchfront.training.run import GoalCheck
from batchfront.workload.calling import called
from batchfront.workload.data import Batch, Examples
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import (
    Metric,
    SplitMetric,
    as_weights,
    counted,
    numbers_of,
)
from batchfront.workload.nested import Nested, join_rows, tensors_in

_SMALLEST_CHUNK = 32

_LARGEST_CHUNK = 1024

Model = nn.Module | Computed


@torch.inference_mode()
def full_metric(
    model: Model,
    split: Examples,
    metric: Metric | SplitMetric,
    micro_batch_size: MicroBatchSize | None = None,
    measures: Measures | None = None,
) -> float:
    """Compute the metric over a whole split, which leaves the model in evaluation mode.

    measures -- are computed of the same outputs

    Returns NaN if nothing in it counts.
    """
    total = total_of(metric)

    def parts(outputs: Nested, batch: Batch) -> tuple[Nested, ...]:
        return *total.part(outputs, batch), *_beside(measures, outputs, batch)

    for one, other, *beside in _walk(model, split, parts, micro_batch_size):
        total.add((one, other))
        if measures is not None:
            measures.add(beside)
    return total.value()


@torch.inference_mode()
def all_measures(
    model: Model,
    split: Examples,
    metrics: Sequence[Metric | SplitMetric],
    micro_batch_size: MicroBatchSize | None = None,
) -> dict[str, float]:
    """Compute measures over a whole split, by name, as `full_metric` does a metric."""
    measures = Measures(metrics)
    for parts in _walk(model, split, measures.parts, micro_batch_size):
        measures.add(parts)
    return measures.values()


def _walk(
    model: Model,
    split: Examples,
    parts: Callable[[Nested, Batch], tuple[Nested, ...]],
    micro_batch_size: MicroBatchSize | None,
) -> Iterator[tuple[Nested, ...]]:
    """What `parts(outputs, batch)` gives of each chunk of a split, in its order."""
    model.eval()
    everything = torch.arange(len(split), device=split.indexed_on)
    with _Chunks(
        split, everything, _LARGEST_CHUNK, micro_batch_size or MicroBatchSize(), len(split)
    ) as chunks:
        for start in range(0, len(split), _LARGEST_CHUNK):
            yield chunks.load(start, lambda batch: parts(_outputs(model, batch), batch))


def _outputs(model: Model, batch: Batch) -> Nested:
    inputs = batch.inputs
    return model(inputs) if isinstance(model, Computed) else called(model, inputs)


def _costs(
    model: Model, metric: Metric, measures: Measures | None, batch: Batch
) -> tuple[Nested, ...]:
    """Each example's cost, and what the measures keep of it."""
    outputs = _outputs(model, batch)
    costs = numbers_of(metric, outputs, batch.targets, batch.examples)
    return costs, *_beside(measures, outputs, batch)


def _beside(measures: Measures | None, outputs: Nested, batch: Batch) -> tuple[Nested, ...]:
    """What the measures keep of a batch. Whatever they draw, the model and the goal's metric draw
    what they would without them."""
    if measures is None:
        return ()
    (first, *_) = tensors_in(outputs)
    with drawing_aside(first.device):
        return measures.parts(outputs, batch)


class _Chunks:
    """Chunks of a split, in a given order, in micro-batches that fit, while the next are loaded.

    reach -- the position up to which it probably goes: no further is loaded before it is asked for
    """

    def __init__(
        self,
        split: Examples,
        order: Tensor,
        chunk: int,
        fitting: MicroBatchSize,
        reach: int,
    ) -> None:
        self._split, self._order, self._chunk = split, order, chunk
        self._fitting, self._reach = fitting, reach
        self._prefetch: Prefetch | None = None

    def __enter__(self) -> "_Chunks":
        if self._split.ahead:
            self._prefetch = Prefetch(self._split, self._requests)
        return self

    def __exit__(self, *error: object) -> None:
        if self._prefetch is not None:
            self._prefetch.close()

    def load(
        self, start: int, compute: Callable[[Batch], tuple[Nested, ...]]
    ) -> tuple[Nested, ...]:
        """What `compute(batch)` gives for the chunk from position `start` on."""
        indices = self._order[start : start + self._chunk]

        def work(size: int) -> tuple[Nested, ...]:
            parts = indices.split(size)  # type: ignore[no-untyped-call]
            found = [compute(self._load(part, start)) for part in parts]
            return found[0] if len(found) == 1 else tuple(map(join_rows, zip(*found, strict=True)))

        return self._fitting.fit(len(indices), work)

    def _load(self, part: Tensor, start: int) -> Batch:
        if self._prefetch is None:
            found: Batch = self._split.batch(part)
            return found
        return self._prefetch.batch(part, None, start)

    def _requests(self, start: int) -> Iterator[Request]:
        for position in range(start, max(self._reach, start + 1), self._chunk):
            indices = self._order[position : position + self._chunk]
            for part in indices.split(self._fitting.size(len(indices))):  # type: ignore[no-untyped-call]
                yield part, None


def split_weights(split: Examples, metric: Metric, name: str = "validation") -> Tensor:
    """Compute what each example of a split weighs in a metric that has a `weight`.

    Returns float64, in which sums of parts are the sum of all, of shape [len(split)]. Raises
    WorkloadError if there is none that counts.
    """
    assert metric.weight is not None
    found = split.weights(metric.weight)
    weights = as_weights(f"the weight of metric {metric.name!r}", found, len(split))
    if not bool(weights.any()):
        raise WorkloadError(
            f"no example of the {name} split has anything to predict: the weights that metric "
            f"{metric.name!r} gives its targets are all 0"
        )
    return weights


class Evaluator:
    """Walks a split in chunks, hardest examples first, and stops when the goal is out of reach.

    The order is the trial's own: whenever a walk had to go past the first chunk, the examples
    that spoke most against the goal move to the front. A model that got an example wrong is
    likely to get it wrong one percent more steps later, so most walks end after about as many
    examples as the goal allows errors. Which examples are evaluated never changes the answer.
    """

    def __init__(
        self,
        split: Examples,
        goal: Goal,
        micro_batch_size: MicroBatchSize | None = None,
        measures: Sequence[Metric | SplitMetric] = (),
    ) -> None:
        self.split, self.measures = split, measures
        self.micro_batch_size = MicroBatchSize() if micro_batch_size is None else micro_batch_size
        self.goal = goal
        self.order = torch.arange(len(split), device=split.indexed_on)
        self.size = len(split)
        self.chunk = _chunk(goal, self.size)
        self._weights: Tensor | None = None
        if isinstance(goal.metric, Metric) and goal.metric.weight is not None:
            self._weights = split_weights(split, goal.metric).to(split.indexed_on)
        self._reach = 0  # positions that the last evaluation came to
        self.whole = self.size if self._weights is None else self._weights.sum().item()

    @torch.inference_mode()
    def evaluate(self, model: Model, *, full: bool) -> GoalCheck:
        """Evaluate the model as far as the goal needs, or with `full` on every example; then, and
        where it passes the goal, its measures are computed too."""
        model.eval()
        metric = self.goal.computed
        if isinstance(metric, SplitMetric):  # of a part of the split it says nothing
            measures = Measures(self.measures) if full and self.measures else None
            value = full_metric(model, self.split, metric, self.micro_batch_size, measures)
            measured = {} if measures is None else measures.values()
            check = GoalCheck(self.goal.passed(value), value, len(self.split), measured)
            return self.at_crossing(check, model)
        evaluation = self.begin(full=full)
        measures = evaluation.measures
        cost_of = partial(_costs, model, metric, measures)
        order, fitting = self.order, self.micro_batch_size
        with _Chunks(self.split, order, self.chunk, fitting, evaluation.reach) as chunks:
            while evaluation.going:
                costs, *beside = chunks.load(evaluation.seen, cost_of)
                indices = evaluation.next()
                if measures is not None:
                    measures.add(beside, indices)
                costs = self.counted(costs.to(order.device), indices)
                evaluation.add(costs, costs.sum(dtype=torch.float64).item())
        measured = evaluation.measured()
        return self.at_crossing(replace(self.end(evaluation), measures=measured), model)

    def at_crossing(self, found: GoalCheck, model: Model) -> GoalCheck:
        """What was found, with the measures of a model that has passed the goal, where it was
        evaluated for that alone."""
        if not found.passed or found.measures or not self.measures:
            return found
        measures = all_measures(model, self.split, self.measures, self.micro_batch_size)
        return replace(found, measures=measures)

    def begin(self, *, full: bool) -> "OpenEvaluation":
        """Begin an evaluation that others carry out. Nothing is changed before its `end`."""
        measures = Measures(self.measures) if full and self.measures else None
        return OpenEvaluation(self, full, self.size if full else self._reach, measures)

    def end(self, evaluation: "OpenEvaluation") -> GoalCheck:
        """End an evaluation that goes no further. Returns what it has shown, without measures."""
        if not evaluation.full:
            self._reach = evaluation.seen
        if len(evaluation.costs) > 1:
            self._harder_first(torch.cat(evaluation.costs))
        value = evaluation.total / self.whole if evaluation.seen == self.size else None
        passed = value is not None and self.goal.passed(value)
        return GoalCheck(passed, value, evaluation.seen)

    def counted(self, costs: Tensor, indices: Tensor) -> Tensor:
        """The costs of the examples at `indices`, of the same shape, as `metrics.counted` has
        them."""
        assert isinstance(self.goal.metric, Metric)
        weights = None if self._weights is None else self._weights[indices]
        return counted(self.goal.metric, costs, weights)

    def weight_of(self, start: int, stop: int) -> float:
        """What the examples at these positions weigh together."""
        if self._weights is None:
            return stop - start
        return float(self._weights[self.order[start:stop]].sum().item())

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


@dataclass
class OpenEvaluation:
    """An evaluation on its way through an evaluator's order.

    reach    -- the position up to which it probably goes
    measures -- what goes along with it, if it is full
    """

    evaluator: Evaluator
    full: bool
    reach: int
    measures: Measures | None = None
    seen: int = 0
    total: float = 0.0
    weight: float = 0.0
    reachable: bool = True
    costs: list[Tensor] = field(default_factory=list)

    @property
    def going(self) -> bool:
        """Whether there is more to evaluate."""
        return self.seen < self.evaluator.size and (self.full or self.reachable)

    def measured(self) -> dict[str, float]:
        """What the measures have found, once all is evaluated."""
        return {} if self.measures is None else self.measures.values()

    def next(self) -> Tensor:
        """The indices of the next chunk."""
        return self.evaluator.order[self.seen : self.seen + self.evaluator.chunk]

    def add(self, costs: Tensor, total: float) -> None:
        """Take note of the costs of the next chunk's examples, and of their sum."""
        evaluator, start = self.evaluator, self.seen
        self.costs.append(costs)
        self.total += total
        self.seen = min(start + evaluator.chunk, evaluator.size)
        self.weight += evaluator.weight_of(start, self.seen)
        whole = evaluator.whole
        unfinished = self.seen < evaluator.size  # even where rounding, or weights of 0, hide it
        weight = min(self.weight, math.nextafter(whole, 0.0)) if unfinished else whole
        # A non-finite total is never past a goal: comparisons with NaN are false.
        self.reachable = not evaluator.goal.out_of_reach(self.total, weight, whole)


def _chunk(goal: Goal, size: int) -> int:
    """A little over the number of examples that it takes to rule a goal out, in steps of 32."""
    metric = goal.metric
    span = metric.high - metric.low
    allowed = size * abs(goal.value - (metric.low if metric.better == "lower" else metric.high))
    needed = allowed / span if span < float("inf") else size
    chunk = math.ceil(1.25 * needed / _SMALLEST_CHUNK) * _SMALLEST_CHUNK
    return min(max(chunk, _SMALLEST_CHUNK), _LARGEST_CHUNK)
