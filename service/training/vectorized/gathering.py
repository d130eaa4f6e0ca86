"""The batches of several trials, each as the trial gets it by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from service.data import Examples, is_in_memory


def gathered(
    examples: Examples, indices: Tensor, seeds: Sequence[int | None]
) -> tuple[Tensor, Tensor]:
    """Inputs and targets, [K, n, ...], of the examples at `indices` [K, n].

    seeds -- each trial's, to augment by

    Raises ValueError where the trials' batches have different shapes.
    """
    if is_in_memory(examples):
        return apart(examples.batch(indices.flatten()), indices)
    each: tuple[list[Tensor], list[Tensor]] = ([], [])
    for own, seed in zip(indices.unbind(), seeds, strict=True):
        for batches, part in zip(each, examples.batch(own, seed), strict=True):
            batches.append(part.clone())  # some put the next batch in the place of the last one
    for batches in each:
        if len({(batch.shape, batch.dtype) for batch in batches}) > 1:
            raise ValueError("the batches of its trials have different shapes")
    return torch.stack(each[0]), torch.stack(each[1])


def apart(batch: tuple[Tensor, Tensor], indices: Tensor) -> tuple[Tensor, Tensor]:
    """A batch of several trials' examples, trial by trial."""
    inputs, targets = (part.view(*indices.shape, *part.shape[1:]) for part in batch)
    return inputs, targets
