"""Models of any kind, computed as one by `torch.vmap` over their stacked weights: for their
outputs, or for the loss that they are called for.

What goes in and comes out may be any structure of tensors. `torch.vmap` is given the tensors alone,
and the structure is put together again around each trial's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from batchfront.training.model_call import LossOfModel
from batchfront.workload.calling import arguments_for
from batchfront.workload.data import Batch
from batchfront.workload.microbatch import MicroBatch, computing_together
from batchfront.workload.nested import Nested, tensors_in

Weights = Mapping[str, Tensor]
"""By name in the model: the weights, or buffers, of K trials, [K, ...]."""

_PLAIN = (bool, int, float, str, type(None))  # beside tensors, what every trial has the same of


class Mapped:
    """Any models that are alike but for their weights: inputs [K, n, ...] to their outputs."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._model = models[0]

    def __call__(
        self, weights: Weights, inputs: Nested, micro_batches: Sequence[MicroBatch]
    ) -> Nested:
        """`micro_batches`: in training, each trial's; in evaluation none."""
        self._model.train(bool(micro_batches))
        with _computing(micro_batches):
            return _over_trials(self.one, weights, inputs)

    def one(self, weights: dict[str, Tensor], inputs: Nested) -> Nested:
        """The outputs of one of them."""
        return functional_call(self._model, weights, *arguments_for(self._model, inputs))


class MappedLoss:
    """The losses of models that are called for them, by `loss(model, batch)`: of K trials with the
    same values of its metaparameters."""

    def __init__(
        self, models: Sequence[nn.Module], loss: Callable[..., Tensor], values: Mapping[str, Any]
    ) -> None:
        self._called = LossOfModel(models[0], loss, values)

    def __call__(
        self, weights: Weights, batch: Batch, micro_batches: Sequence[MicroBatch]
    ) -> Tensor:
        """Each trial's mean loss, [K], in training."""
        self._called.train()
        own = {f"model.{name}": weight for name, weight in weights.items()}
        with _computing(micro_batches):
            losses = _over_trials(self.one, own, batch.whole)
        if not isinstance(losses, Tensor) or losses.ndim != 1:
            raise ValueError("its loss is no scalar")
        return losses

    def one(self, weights: dict[str, Tensor], whole: Nested) -> Nested:
        """The loss of one of them."""
        return functional_call(self._called, weights, (whole,))


@contextmanager
def _computing(micro_batches: Sequence[MicroBatch]) -> Iterator[None]:
    # Of attention, vmap knows how to batch what the fused kernels are made of, not them.
    with computing_together(micro_batches), sdpa_kernel(SDPBackend.MATH):
        yield


def _over_trials(
    one: Callable[[dict[str, Tensor], Nested], Nested], weights: Weights, given: Nested
) -> Nested:
    """`one` of each trial's weights, and of each trial's rows of the tensors that are given."""
    leaves, structure = pytree.tree_flatten(given)
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    returned: list[Nested] = []

    def of_tensors(weights: dict[str, Tensor], tensors: list[Tensor]) -> list[Tensor]:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        found = one(weights, pytree.tree_unflatten(filled, structure))
        returned.append(pytree.tree_map(_without_tensor, found))
        return tensors_in(found)

    tensors = iter(torch.vmap(of_tensors)(dict(weights), [leaves[place] for place in places]))
    return pytree.tree_map(lambda leaf: next(tensors) if leaf is _TENSOR else leaf, returned[0])


_TENSOR = object()  # stands for one


def _without_tensor(leaf: Any) -> Any:
    """Raises ValueError for something in which tensors may be out of sight."""
    if isinstance(leaf, Tensor):
        return _TENSOR
    if isinstance(leaf, _PLAIN):
        return leaf
    kind = type(leaf).__name__
    raise ValueError(f"it returns a {kind}, which is no dict, tuple or other known structure")
