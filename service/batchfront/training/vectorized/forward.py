"""Models of one shape, computed as one: from inputs [K, n, ...] of K trials to their outputs.

Layers in a row (`nn.Sequential`, in any depth) of the kinds of LAYERS are computed by a batched
operation each; every other model by `torch.vmap` over the stacked weights (`mapped`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront.training.vectorized.holdings import Holdings
from batchfront.training.vectorized.mapped import Mapped, Weights
from batchfront.workload.calling import arguments_for
from batchfront.workload.layers import Dropout, dropout_factors
from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.nested import Nested

Layer = Callable[[Any, Weights, Tensor], Tensor]
"""A layer of the first trial, all trials' weights of it by their names in it, inputs -> outputs."""


class _Linear(torch.autograd.Function):
    """[K, n, i], [K, o, i], [K, o] or None -> [K, n, o].

    Of torch's own batched product, the gradient lies transposed in memory, and the update that
    adds it to the weights takes several times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (y,), (x, weight), wanted = gradients, ctx.saved_tensors, ctx.needs_input_grad
        return (
            torch.bmm(y, weight) if wanted[0] else None,
            torch.bmm(y.transpose(1, 2), x) if wanted[1] else None,
            y.sum(1) if wanted[2] else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    across = weight.transpose(1, 2)
    return torch.bmm(x, across) if bias is None else torch.baddbmm(bias[:, None], x, across)


def _linear(_layer: nn.Linear, own: Weights, x: Tensor) -> Tensor:
    rows = x if x.ndim == 3 else x.flatten(1, -2)
    product = _Linear.apply if torch.is_grad_enabled() else _product
    y: Tensor = product(rows, own["weight"], own.get("bias"))
    return y if x.ndim == 3 else y.view(*x.shape[:-1], -1)


def _conv2d(layer: nn.Conv2d, own: Weights, x: Tensor) -> Tensor:
    trials, bias = len(x), own.get("bias")
    y = F.conv2d(
        _merged(x),
        own["weight"].flatten(0, 1),
        None if bias is None else bias.flatten(),
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups * trials,
    )
    return _apart(y, trials)


def _pool(layer: nn.Module, _own: Weights, x: Tensor) -> Tensor:
    return _apart(layer(_merged(x)), len(x))


def _flatten(layer: nn.Flatten, _own: Weights, x: Tensor) -> Tensor:
    end = layer.end_dim
    return x.flatten(layer.start_dim + 1, end if end < 0 else end + 1)


def _elementwise(layer: nn.Module, _own: Weights, x: Tensor) -> Tensor:
    y: Tensor = layer(x)
    return y


def _merged(x: Tensor) -> Tensor:
    """[K, n, c, h, w] -> [n, K c, h, w]: a convolution's outputs lie so in memory."""
    return x.transpose(0, 1).flatten(1, 2)


def _apart(y: Tensor, trials: int) -> Tensor:
    return y.reshape(len(y), trials, -1, *y.shape[2:]).transpose(0, 1)


LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.Flatten: _flatten,
    nn.Dropout: _elementwise,  # of probability 0, where a search has that among others
    nn.Identity: _elementwise,
    nn.ReLU: _elementwise,
    nn.LeakyReLU: _elementwise,
    nn.GELU: _elementwise,
    nn.SiLU: _elementwise,
    nn.Tanh: _elementwise,
    nn.Sigmoid: _elementwise,
}
"""The kinds of layers that there is a batched operation for; a
`batchfront.workload.layers.Dropout`, whose numbers are each trial's own, is one too."""


class Step(NamedTuple):
    """What went into a layer, what came out, and what a dropout has multiplied it by, if it has."""

    inputs: Tensor
    outputs: Tensor
    factors: Tensor | None = None


class Layered:
    """Trials' models that are layers in a row, one batched operation each.

    own -- of each of the `layers`, the names in the model of its weights, by those in the layer
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._model = models[0]
        self.layers = list(_in_a_row(models[0]))
        # Of tied weights the first name counts, as in `named_parameters`.
        names = {id(p): name for name, p in models[0].named_parameters()}
        self.own = [
            {key: names[id(p)] for key, p in layer.named_parameters(recurse=False)}
            for layer in self.layers
        ]
        rows = zip(*map(_in_a_row, models), strict=True)
        self._dropped = [
            [layer.p for layer in row] if isinstance(row[0], Dropout) else [] for row in rows
        ]

    def __call__(
        self, weights: Weights, inputs: Nested, micro_batches: Sequence[MicroBatch]
    ) -> Tensor:
        """`micro_batches`: in training, each trial's; in evaluation none."""
        for step in self.steps(weights, inputs, micro_batches):
            outputs = step.outputs
        return outputs

    def steps(
        self, weights: Weights, inputs: Nested, micro_batches: Sequence[MicroBatch]
    ) -> Iterator[Step]:
        """The same, layer by layer."""
        x = inputs if isinstance(inputs, Tensor) else self._only(inputs)
        for layer, own, dropped in zip(self.layers, self.own, self._dropped, strict=True):
            factors = None
            if not isinstance(layer, Dropout):
                mine = {key: weights[name] for key, name in own.items()}
                y = LAYERS[type(layer)](layer, mine, x)
            elif micro_batches and any(dropped):
                each = zip(x.detach().unbind(), micro_batches, dropped, strict=True)
                factors = torch.stack([dropout_factors(*one) for one in each])
                y = x * factors
            else:
                y = x
            yield Step(x, y, factors)
            x = y

    def _only(self, inputs: Nested) -> Tensor:
        """What layers in a row are called with: one tensor, whose name they may be given by."""
        args, kwargs = arguments_for(self._model, inputs)
        given = (*args, *kwargs.values())
        if len(given) != 1 or not isinstance(given[0], Tensor):
            raise ValueError("layers in a row take one tensor")
        return given[0]


Forward = Layered | Mapped


def forward_of(models: Sequence[nn.Module]) -> Forward:
    """What computes models of one kind as one."""
    return Layered(models) if is_layered(models[0]) else Mapped(models)


def kind_of(model: nn.Module, values: Mapping[str, Any], *, layered: bool) -> str:
    """Models of the same kind can be stacked. `values` are those metaparameters that the model was
    made with, or is called for its loss with: of what they set, only a dropout's probability is
    known to be no matter, where models are trained as layers in a row."""
    shapes = [(n, p.shape, p.dtype, p.requires_grad) for n, p in model.named_parameters()]
    if layered:
        return f"layers {[_of_layer(layer) for layer in _in_a_row(model)]} {shapes}"
    buffers = [(name, b.shape, b.dtype) for name, b in model.named_buffers()]
    held = Holdings({"model": model}).digest
    return f"any {held} {shapes} {buffers} {sorted(values.items())}"


def _of_layer(layer: nn.Module) -> str:
    return "Dropout" if type(layer) is Dropout else Holdings({"layer": layer}).digest


def is_layered(model: nn.Module) -> bool:
    """Whether a model is layers in a row, all of known kinds."""
    return all(map(_is_known, _in_a_row(model)))


def _is_known(layer: nn.Module) -> bool:
    if _is_changed(layer):
        return False
    match layer:
        case nn.Conv2d():
            fits = layer.padding_mode == "zeros"
        case nn.MaxPool2d():
            fits = not layer.return_indices
        case nn.Flatten():
            fits = layer.start_dim > 0
        case nn.Dropout() if type(layer) is nn.Dropout:
            fits = layer.p == 0
        case _:
            fits = True
    return fits and (type(layer) in LAYERS or type(layer) is Dropout)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""What a module may keep hooks in that take part in a computation."""


def _is_changed(module: nn.Module) -> bool:
    """Whether a module does something else than its class says."""
    return "forward" in vars(module) or any(getattr(module, name) for name in HOOKS)


def _in_a_row(model: nn.Module) -> Iterator[nn.Module]:
    if type(model) is nn.Sequential and not _is_changed(model):
        for part in model:
            yield from _in_a_row(part)
    else:
        yield model
