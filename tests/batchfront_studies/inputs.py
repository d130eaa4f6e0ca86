"""What goes into each data set's models, made up: for tests that need shapes and no data."""

from collections.abc import Callable

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def images(*shape: int, classes: int = 10) -> Callable[[int], Batch]:
    """Makes n images of this shape with targets of n classes."""

    def make(count: int) -> Batch:
        draw = torch.Generator().manual_seed(0)
        return torch.rand(count, *shape, generator=draw), torch.arange(count) * 4 % classes

    return make


BATCHES: dict[str, Callable[[int], Batch]] = {
    "digits": images(64),
    "mnist": images(1, 28, 28),
    "mnist_subsets": images(1, 28, 28),
    "fashion_mnist": images(1, 28, 28),
    "solution_quality": images(1, 28, 28),
    "cifar_10": images(3, 32, 32),
}
"""The first part of a workload's name to a maker of batches of n."""


def batch_for(workload: str, count: int) -> Batch:
    """Inputs and targets such as this workload trains on."""
    return BATCHES[workload.split("/")[0]](count)
