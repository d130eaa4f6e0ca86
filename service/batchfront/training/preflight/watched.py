"""The gradient of a try, and what is to be known of how it came to be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.training.generators import drawn_since, states
from batchfront.training.gradient import BatchGradient
from batchfront.workload.data import Batch
from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.nested import tensors_in


class Watched(BatchGradient):
    """The gradient of a try, which notes whose random numbers are taken."""

    def __init__(self, *told: Any, drawing: Callable[[MicroBatch], Any]) -> None:
        super().__init__(*told)
        self.drawn: set[str] = set()
        self._drawing = drawing

    def load(self, part: Tensor, seed: int, step: int) -> Batch:
        return of_kind(self.model, super().load(part, seed, step))

    def loss(
        self,
        batch: Batch,
        here: MicroBatch,
        forward: Callable[..., Any] | None = None,
        *,
        counts: bool,
    ) -> Tensor:
        before = states(self.device)
        with self._drawing(here):
            found = super().loss(batch, here, forward, counts=counts)
        self.drawn.update(drawn_since(before, self.device))
        return found


def of_kind(model: nn.Module, batch: Batch) -> Batch:
    """In double precision for a model of it."""
    kind = next(model.parameters()).dtype
    if kind is not torch.float64:
        return batch
    return batch.map(lambda tensor: tensor.to(kind) if tensor.is_floating_point() else tensor)


@contextmanager
def counting(model: nn.Module) -> Iterator[list[float]]:
    """Counts the multiplications of what passes through the model, about."""
    counted = [0.0]

    def count(layer: nn.Module, _: Any, outputs: Any) -> None:
        of = next(iter(tensors_in(outputs)), None)
        for weight in layer.parameters(recurse=False):
            if of is not None and weight.ndim > 1:
                counted[0] += weight.numel() * of.numel() / weight.shape[0]

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    try:
        yield counted
    finally:
        for hook in hooks:
            hook.remove()
