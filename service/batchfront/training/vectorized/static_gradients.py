"""Gradients of small networks, computed in tensors that stay where they are.

Of networks as small as those that tuning is full of, a step takes as long as what surrounds its
operations: views, new memory, the interpreter. Here all of that is done once, and a step is a list
of calls. What they come to is what `gradients.Written` does, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor, nn

from batchfront.training.vectorized.forward import Layered
from batchfront.workload.data import Examples, Part, Split
from batchfront.workload.metrics import NO_TARGET

Call = Callable[[], object]

_AS_THEY_ARE = (nn.Flatten, nn.Identity, nn.Dropout)  # the last of probability 0

_VECTOR = 16  # numbers of float32 in a CPU's widest vectors


class StaticGradients:
    """The mean cross-entropies of K trials with their gradients, by steps whose batches have been
    looked up ahead: of models, weights and examples that are `is_static`.

    shape -- of a step's indices, [K, n]
    """

    def __init__(
        self, layered: Layered, weights: Mapping[str, Tensor], train: Examples, shape: torch.Size
    ) -> None:
        whole, self._subsets = _whole(train)
        split = cast(Split, whole)
        self._inputs, self._targets = split.inputs, split.targets
        self._shape, self._rows = shape, shape.numel()
        self._forward: list[Call] = []
        self._backward: list[Call] = []
        self._indices: Sequence[Tensor] = ()
        self._classes: Sequence[Tensor] = ()
        self._places: Sequence[Tensor] = ()  # of their logs of probabilities
        with torch.inference_mode():
            batch = self._new(*self._inputs.shape[1:])
            self._batch = batch.flatten(0, 1)
            gradients = self._lay_out(layered, weights, batch.flatten(2))
        self._gradients = [gradients[name] for name in weights]

    def _new(self, *shape: int) -> Tensor:
        """Room for numbers of each example, [K, n, ...]."""
        return torch.empty(*self._shape, *shape, dtype=self._inputs.dtype)

    def _lay_out(
        self, layered: Layered, weights: Mapping[str, Tensor], x: Tensor
    ) -> dict[str, Tensor]:
        """Note the calls that a step is made of. Returns where gradients are put, by name."""
        gradients: dict[str, Tensor] = {}
        backward: list[list[Call]] = []
        above = x  # the gradient by a layer's outputs; none is asked for by the batch
        for layer, own in zip(layered.layers, layered.own, strict=True):
            if isinstance(layer, nn.ReLU):
                self._forward.append(x.relu_)
                through = torch.ops.aten.threshold_backward.grad_input
                backward.append([partial(through, above, x, 0, grad_input=above)])
            elif isinstance(layer, nn.Linear):
                weight = weights[own["weight"]].detach()
                y, below, across = self._new(len(weight[0])), above, weight.transpose(1, 2)
                above = torch.empty_like(y)
                gradients[own["weight"]] = into = torch.empty_like(weight)
                calls: list[Call] = [partial(torch.bmm, above.transpose(1, 2), x, out=into)]
                if "bias" in own:
                    bias = weights[own["bias"]].detach()
                    self._forward.append(partial(torch.baddbmm, bias[:, None], x, across, out=y))
                    gradients[own["bias"]] = into = torch.empty_like(bias)
                    calls.append(partial(torch.sum, above, 1, out=into))
                else:
                    self._forward.append(partial(torch.bmm, x, across, out=y))
                if backward:
                    calls.append(partial(torch.bmm, above, weight, out=below))
                backward.append(calls)
                x = y
        self._lay_out_loss(x, above)
        self._backward += [call for calls in reversed(backward) for call in calls]
        return gradients

    def _lay_out_loss(self, outputs: Tensor, above: Tensor) -> None:
        rows, count = outputs.flatten(0, 1), self._shape[1]
        classes = rows.shape[1]
        columns = not self._rows % _VECTOR and _may_lie_in_columns(classes, outputs.dtype)
        if columns:  # which takes a fifth of the time
            lying, logs = (rows.new_empty(rows.shape[::-1]) for _ in range(2))
            self._forward.append(partial(lying.copy_, rows.t()))
            self._forward.append(partial(torch._log_softmax, lying, 0, False, out=logs))
        else:
            logs = torch.empty_like(rows)
            self._forward.append(partial(torch._log_softmax, rows, 1, False, out=logs))
        # Where a target's is among all logs: its class times the one, and its row times the other.
        self._strides = (self._rows, 1) if columns else (1, classes)
        self._logs, self._picked = logs.flatten(), rows.new_empty(self._rows)
        self._losses = rows.new_empty(self._shape[0])
        self._one_hot, self._wanted = torch.eye(classes, dtype=rows.dtype), torch.empty_like(rows)
        flat = above.flatten(0, 1)
        self._backward = [
            partial(torch.sum, self._picked.view(self._shape), 1, out=self._losses),
            partial(self._losses.div_, -float(count)),
            partial(torch.exp, logs.t() if columns else logs, out=flat),
            partial(flat.sub_, self._wanted),
            partial(flat.div_, float(count)),
        ]

    def plan(self, indices: Tensor) -> None:
        """The examples of the next steps, [steps, K, n]."""
        for subset in self._subsets:
            indices = subset[indices]
        with torch.inference_mode():
            flat = indices.flatten(1)
            classes = self._targets[flat]
            by_class, by_row = self._strides
            places = classes * by_class + torch.arange(self._rows) * by_row
            self._indices, self._classes = flat.unbind(), classes.unbind()
            self._places = places.unbind()

    def __call__(self, place: int) -> tuple[Tensor, list[Tensor | None]]:
        """The losses, [K], of a planned step, and each weight's gradient: good until the next."""
        with torch.inference_mode():
            torch.index_select(self._inputs, 0, self._indices[place], out=self._batch)
            torch.index_select(self._one_hot, 0, self._classes[place], out=self._wanted)
            for call in self._forward:
                call()
            torch.index_select(self._logs, 0, self._places[place], out=self._picked)
            for call in self._backward:
                call()
        return self._losses, [*self._gradients]


def is_static(layered: Layered, weights: Mapping[str, Tensor], train: Examples) -> bool:
    """Whether such steps, of layers whose gradients are written out, can be laid out ahead: linear
    layers and ReLUs, on a CPU, of examples in memory that all have one class as a target."""
    split, _ = _whole(train)
    if type(split) is not Split or not _is_known_row(layered):
        return False
    inputs, targets = split.inputs, split.targets
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
        return False
    kinds = {(w.dtype, w.device) for w in weights.values()}
    fits = kinds == {(inputs.dtype, inputs.device)} and inputs.device.type == "cpu"
    flat = inputs.ndim == 2 or isinstance(layered.layers[0], nn.Flatten)
    of_classes = targets.dtype == torch.int64 and targets.ndim == 1
    return fits and flat and of_classes and not bool((targets == NO_TARGET).any())


def _is_known_row(layered: Layered) -> bool:
    """Whether it is linear layers, the last of which is its end, and ReLUs each right after one, in
    whose outputs' place theirs come."""
    for layer in layered.layers:
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
            return False
    kinds = [type(layer) for layer in layered.layers if type(layer) not in _AS_THEY_ARE]
    return kinds[-1] is nn.Linear and all(
        kind is nn.Linear or (kind is nn.ReLU and before is nn.Linear)
        for before, kind in zip([None, *kinds], kinds, strict=False)
    )


def _whole(examples: Examples) -> tuple[Examples, list[Tensor]]:
    """What examples are a part of, and the indices to look theirs up by, one after another."""
    subsets = []
    while type(examples) is Part:
        subsets.append(examples.indices)
        examples = examples.whole
    return examples, subsets


@cache
def _may_lie_in_columns(classes: int, dtype: torch.dtype) -> bool:
    """Whether the logs of probabilities are the same, to the bit, where the rows that they are of
    lie side by side. As a row of few classes fits into a vector, whose numbers are added in turn,
    that is so on some CPUs; of numbers that are added in another order, some would differ here."""
    rows = torch.randn(4096, classes, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 4
    lying = torch._log_softmax(rows.t().contiguous(), 0, False)
    return torch.equal(torch._log_softmax(rows, 1, False), lying.t())
