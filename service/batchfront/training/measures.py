"""Metrics of a whole split, from its examples' outputs as they come."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.training.memory import is_lost_device, is_out_of_memory
from batchfront.workload.data import Batch
from batchfront.workload.metrics import Metric, SplitMetric, costs_of, value_of, weights_of
from batchfront.workload.nested import Nested, join_rows, rows_at

Kept = tuple[Nested, Nested]
"""What a metric keeps of some examples: two structures of a row for each."""


class Total(Protocol):
    """A metric of a whole split on the way: `add` the `part` of each chunk, then ask its value."""

    def part(self, outputs: Nested, batch: Batch) -> Kept: ...

    def add(self, part: Kept, indices: Tensor | None = None) -> None:
        """Count a part; `indices` say which examples these are, unless they come in order."""

    def value(self) -> float:
        """The metric of all that was added; NaN if nothing in it counts."""


def total_of(metric: Metric | SplitMetric) -> Total:
    """Begin a metric of a whole split."""
    return _Whole(metric) if isinstance(metric, SplitMetric) else _Mean(metric)


class _Mean:
    """The mean over examples: a part is each one's cost and weight."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._costs: list[Tensor] = []
        self._weights: list[Tensor] = []

    def part(self, outputs: Nested, batch: Batch) -> Kept:
        metric, targets, count = self._metric, batch.targets, batch.examples
        if metric.weight is None:
            costs = costs_of(metric, outputs, targets, count=count)
            return costs, torch.ones_like(costs)
        weights = weights_of(metric, targets, count)
        return costs_of(metric, outputs, targets, weights, count=count), weights

    def add(self, part: Kept, indices: Tensor | None = None) -> None:
        costs, weights = part
        # Left where they are: to read one here would wait for the device, chunk after chunk.
        self._costs.append(costs.sum(dtype=torch.float64))
        self._weights.append(weights.sum(dtype=torch.float64))

    def value(self) -> float:
        total, whole = map(_added, (self._costs, self._weights))
        return total / whole if whole else math.nan


def _added(sums: Sequence[Tensor]) -> float:
    total = 0.0
    for one in sums:  # one by one: `sum` rounds otherwise
        total += one.item()
    return total


class _Whole:
    """A number of all outputs and targets, which are its parts, in the split's order."""

    def __init__(self, metric: SplitMetric) -> None:
        self._metric = metric
        self._outputs: list[Nested] = []
        self._targets: list[Nested] = []
        self._indices: list[Tensor] = []

    def part(self, outputs: Nested, batch: Batch) -> Kept:
        return outputs, batch.targets

    def add(self, part: Kept, indices: Tensor | None = None) -> None:
        self._outputs.append(part[0])
        self._targets.append(part[1])
        if indices is not None:
            self._indices.append(indices)

    def value(self) -> float:
        outputs, targets = join_rows(self._outputs), join_rows(self._targets)
        if self._indices:
            in_order = torch.cat(self._indices).argsort()
            outputs, targets = rows_at(outputs, in_order), rows_at(targets, in_order)
        return value_of(self._metric, outputs, targets)


class Measures:
    """A workload's measures at one full evaluation, from the outputs that its goal is judged by.

    What one of them raises is raised as WorkloadError, which names it.
    """

    def __init__(self, metrics: Sequence[Metric | SplitMetric]) -> None:
        self._totals = {metric.name: total_of(metric) for metric in metrics}

    def parts(self, outputs: Nested, batch: Batch) -> tuple[Nested, ...]:
        """What they keep of a chunk, or of a micro-batch of it."""
        found: list[Nested] = []
        for name, total in self._totals.items():
            with _naming(name):
                found.extend(total.part(outputs, batch))
        return tuple(found)

    def add(self, parts: Sequence[Nested], indices: Tensor | None = None) -> None:
        """Take what `parts` gave for a chunk, of the examples at `indices`."""
        for total, one, other in zip(self._totals.values(), parts[::2], parts[1::2], strict=True):
            total.add((one, other), indices)

    def values(self) -> dict[str, float]:
        """By name, over all that was added; one that isn't finite is as it is."""
        found = {}
        for name, total in self._totals.items():
            with _naming(name):
                found[name] = total.value()
        return found


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or is_lost_device(error):
            raise
        lines = str(error).strip().splitlines() or ["no message"]
        raise WorkloadError(f"measure {name!r}: {type(error).__name__}: {lines[0]}") from error
