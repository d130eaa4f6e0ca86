"""Batches of K trials at once: whatever tensors a data set gives, each of shape [K, n, ...]."""

from collections.abc import Sequence
from operator import itemgetter

import torch
from torch import Tensor

from batchfront.workload.data import Batch, Examples, is_in_memory
from batchfront.workload.nested import Nested, combine, map_tensors


def gathered(examples: Examples, indices: Tensor, seeds: Sequence[int | None]) -> Batch:
    """The examples at `indices` [K, n], each trial's as its own batch has them.

    seeds -- each trial's, to augment by

    Raises ValueError where the trials' batches have different shapes.
    """
    if is_in_memory(examples):
        shape = indices.shape
        together: Batch = examples.batch(indices.flatten())
        return together.map(lambda tensor: tensor.view(*shape, *tensor.shape[1:]))
    each = [
        # Some put the next batch in the place of the last one.
        examples.batch(own, seed).map(Tensor.clone)
        for own, seed in zip(indices.unbind(), seeds, strict=True)
    ]
    if len({batch.inputs is batch.targets for batch in each}) > 1:
        raise ValueError("the batches of its trials are of different structures")
    inputs = _stacked([batch.inputs for batch in each])
    if each[0].inputs is each[0].targets:
        return Batch(inputs, inputs)
    return Batch(inputs, _stacked([batch.targets for batch in each]))


def _stacked(parts: Sequence[Nested]) -> Nested:
    """Structures of one kind as one, their tensors as rows of one each."""
    return combine(parts, _alike, "the batches of its trials are of different structures")


def _alike(rows: Sequence[Tensor | None]) -> Tensor | None:
    there = [row for row in rows if row is not None]
    if not there:  # a place of the structure that holds nothing
        return None
    if len(there) < len(rows) or len({(row.shape, row.dtype) for row in there}) > 1:
        raise ValueError("the batches of its trials have different shapes")
    return torch.stack(there)


def of_each(nested: Nested, trials: int) -> list[Nested]:
    """Each trial's own of a structure of tensors [K, ...]."""
    if isinstance(nested, Tensor):
        return list(nested.unbind())
    return [map_tensors(itemgetter(row), nested) for row in range(trials)]
