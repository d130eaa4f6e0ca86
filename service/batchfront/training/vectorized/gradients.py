"""Losses of K trials in training, with their gradients: by autograd, or written out.

For layers as small as those that pay to be stacked, autograd's bookkeeping takes longer than the
computation.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from batchfront.training.vectorized.forward import Layered
from batchfront.training.vectorized.losses import Losses
from batchfront.training.vectorized.mapped import Weights
from batchfront.workload.data import Batch
from batchfront.workload.layers import Dropout
from batchfront.workload.microbatch import MicroBatch


class Gradients(Protocol):
    """A batch of all trials, in tensors [K, n, ...], and each trial's micro-batch -> losses [K],
    and the gradients of the weights, [K, ...] each, in the order of those that are trained; None
    of a weight that the losses don't depend on."""

    def __call__(
        self, batch: Batch, micro_batches: Sequence[MicroBatch]
    ) -> tuple[Tensor, Sequence[Tensor | None]]: ...


class ByAutograd:
    """The gradients of any losses.

    losses -- a batch of all trials, and their micro-batches, to their losses [K]
    """

    def __init__(
        self, losses: Callable[[Batch, Sequence[MicroBatch]], Tensor], trained: Sequence[Tensor]
    ) -> None:
        self._losses, self._trained = losses, trained

    def __call__(
        self, batch: Batch, micro_batches: Sequence[MicroBatch]
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        losses = self._losses(batch, micro_batches)
        # No loss depends on another trial's weights: the sum's gradient is each one's own.
        gradients = torch.autograd.grad(losses.sum(), self._trained, allow_unused=True)
        return losses.detach(), gradients


Backward = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""A layer, its inputs, its outputs, the gradient by its outputs -> the gradient by its inputs."""


def _as_inputs(_layer: nn.Module, x: Tensor, _y: Tensor, above: Tensor) -> Tensor:
    return above.reshape(x.shape)


def _relu(_layer: nn.ReLU, _x: Tensor, y: Tensor, above: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.default(above, y, 0)  # type: ignore[no-any-return]


def _tanh(_layer: nn.Tanh, _x: Tensor, y: Tensor, above: Tensor) -> Tensor:
    return above * (1 - y * y)


def _sigmoid(_layer: nn.Sigmoid, _x: Tensor, y: Tensor, above: Tensor) -> Tensor:
    return above * ((1 - y) * y)


BACKWARD: dict[type[nn.Module], Backward] = {
    nn.Flatten: _as_inputs,
    nn.Identity: _as_inputs,
    nn.Dropout: _as_inputs,  # of probability 0
    nn.ReLU: _relu,
    nn.Tanh: _tanh,
    nn.Sigmoid: _sigmoid,
}
"""The kinds of layers without weights whose gradient is written out; `nn.Linear`, and a
`batchfront.workload.layers.Dropout`, are of them too."""


class Written:
    """The gradients of layers in a row, all of kinds that are written out.

    plain -- as tensors that whatever comes next may change in place, which takes a little longer
    """

    def __init__(
        self, layered: Layered, weights: Weights, losses: Losses, *, plain: bool = False
    ) -> None:
        self._layered, self._weights, self._losses = layered, weights, losses
        self._mode = torch.no_grad if plain else torch.inference_mode
        self._names = [name for name, w in weights.items() if w.requires_grad]
        self._first = next(i for i, own in enumerate(layered.own) if own)

    def __call__(
        self, batch: Batch, micro_batches: Sequence[MicroBatch]
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        with self._mode():
            return self._computed(batch, micro_batches)

    def _computed(
        self, batch: Batch, micro_batches: Sequence[MicroBatch]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        steps = list(self._layered.steps(self._weights, batch.inputs, micro_batches))
        losses, above = self._losses.with_gradient(steps[-1].outputs, batch.targets)
        found: dict[str, Tensor] = {}
        layers = list(zip(self._layered.layers, self._layered.own, steps, strict=True))
        for place in range(len(layers) - 1, self._first - 1, -1):
            layer, own, (x, y, factors) = layers[place]
            below = place > self._first
            if own:
                rows, of_rows = _rows(x), _rows(above)
                found[own["weight"]] = torch.bmm(of_rows.transpose(1, 2), rows)
                if "bias" in own:
                    found[own["bias"]] = of_rows.sum(1)
                if below:
                    above = torch.bmm(of_rows, self._weights[own["weight"]]).view(x.shape)
            elif factors is not None:
                above = above * factors
            elif type(layer) is not Dropout:
                above = BACKWARD[type(layer)](layer, x, y, above)
        return losses, [found[name] for name in self._names]


def _rows(x: Tensor) -> Tensor:
    return x if x.ndim == 3 else x.flatten(1, -2)


def is_written(forward: Layered, weights: Weights) -> bool:
    """Whether the gradients of such models are written out."""
    names = [name for own in forward.own for name in own.values()]
    kinds = {type(layer) for layer in forward.layers}
    return (
        bool(names)
        and len(set(names)) == len(names)  # none is tied to another
        and all(weights[name].requires_grad for name in names)
        and kinds <= {nn.Linear, Dropout, *BACKWARD}
    )
