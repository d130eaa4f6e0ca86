"""The leanest training loops that one would write by hand, for `engine_throughput`.

Heavy-ball momentum at a constant learning rate; no seeding, no interruption, no schedule, no
record of the loss. Each takes a model, inputs and targets in memory, and a batch size, and
returns a function that trains for a number of steps. Every epoch draws one permutation, and every
batch is gathered by a slice of it; what does not fill a batch at the end of an epoch begins the
next one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE, MOMENTUM = 1e-3, 0.9
_PLAIN: dict[str, Any] = {
    "weight_decay": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "maximize": False,
    "is_first_step": False,
}

Loop = Callable[[int], None]
Loss = Callable[[Tensor, Tensor], Tensor]
MakeLoop = Callable[[nn.Module, Tensor, Tensor, int], Loop]


def _indices(inputs: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Slices of one permutation after another, without end."""
    order = torch.empty(0, dtype=torch.int64, device=inputs.device)
    while True:
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(inputs), device=inputs.device)])
        whole = len(order) - len(order) % batch_size
        yield from order[:whole].split(batch_size)  # type: ignore[no-untyped-call]
        order = order[whole:]


def _torch_sgd(**how: bool) -> MakeLoop:
    def make(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Loop:
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, **how)
        indices = _indices(x, batch_size)

        def loop(steps: int) -> None:
            for _ in range(steps):
                i = next(indices)
                loss = F.cross_entropy(model(x[i]), y[i])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

        return loop

    return make


def _grad_and_fused_update(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Loop:
    """`torch.autograd.grad`, and the update as one call of the kernel below `fused=True`."""
    weights: list[Tensor] = list(model.parameters())
    velocities = [torch.zeros_like(w) for w in weights]
    indices = _indices(x, batch_size)

    def loop(steps: int) -> None:
        for _ in range(steps):
            i = next(indices)
            loss = F.cross_entropy(model(x.index_select(0, i)), y.index_select(0, i))
            gradients = list(torch.autograd.grad(loss, weights))
            with torch.no_grad():
                torch._fused_sgd_(
                    weights, gradients, velocities, lr=RATE, momentum=MOMENTUM, **_PLAIN
                )

    return loop


def _backward_and_fused_update(
    forward: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    rate: float = RATE,
    momentum: float = MOMENTUM,
    loss_of: Loss = F.cross_entropy,
) -> MakeLoop:
    """The same by `backward`, each gradient taken from its parameter and put to None."""

    def make(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Loop:
        parameters = list(model.parameters())
        weights = [p.detach() for p in parameters]  # the same memory, unseen by autograd
        velocities = [torch.zeros_like(w) for w in weights if momentum]  # or it refuses
        outputs, indices = forward(model), _indices(x, batch_size)

        def loop(steps: int) -> None:
            for _ in range(steps):
                i = next(indices)
                loss = loss_of(outputs(x.index_select(0, i)), y.index_select(0, i))
                loss.backward()  # type: ignore[no-untyped-call]
                gradients: list[Any] = [p.grad for p in parameters]
                torch._fused_sgd_(
                    weights, gradients, velocities, lr=rate, momentum=momentum, **_PLAIN
                )
                for p in parameters:
                    p.grad = None

        return loop

    return make


def _flat_vectors(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Loop:
    """All weights in one vector and all gradients in another: four vector operations a step."""
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    gradients, velocity = torch.zeros_like(weights), torch.zeros_like(weights)
    start = 0
    for p in model.parameters():
        stop = start + p.numel()
        p.data = weights[start:stop].view_as(p)
        p.grad = gradients[start:stop].view_as(p)
        start = stop
    indices = _indices(x, batch_size)

    def loop(steps: int) -> None:
        for _ in range(steps):
            i = next(indices)
            loss = F.cross_entropy(model(x.index_select(0, i)), y.index_select(0, i))
            loss.backward()  # type: ignore[no-untyped-call]
            velocity.mul_(MOMENTUM).add_(gradients)
            weights.add_(velocity, alpha=-RATE)
            gradients.zero_()

    return loop


def _bare_functions(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """One hidden layer written out: no `nn.Module` is called. [n, ...] -> [n, outputs]"""
    hidden, hidden_bias, last, last_bias = model.parameters()

    def outputs(x: Tensor) -> Tensor:
        h = F.relu(F.linear(x.flatten(1), hidden, hidden_bias))
        return F.linear(h, last, last_bias)

    return outputs


LOOPS: dict[str, MakeLoop] = {
    "torch.optim.SGD": _torch_sgd(),
    "torch.optim.SGD(foreach=True)": _torch_sgd(foreach=True),
    "torch.optim.SGD(fused=True)": _torch_sgd(fused=True),
    "autograd.grad + fused update": _grad_and_fused_update,
    "backward + fused update": _backward_and_fused_update(lambda model: model),
    "flat vectors": _flat_vectors,
}
"""Loops over the model as it stands, an `nn.Module`: any model can be trained by them."""

WRITTEN_OUT = _backward_and_fused_update(_bare_functions)
"""The same with the network itself written out, which serves this one architecture alone."""


def leanest(rate: float, momentum: float, loss_of: Loss = F.cross_entropy) -> MakeLoop:
    """`backward + fused update`, the fastest over any model, with a trial's metaparameters."""
    return _backward_and_fused_update(lambda model: model, rate, momentum, loss_of)
