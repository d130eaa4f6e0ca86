"""Whether the trials of a workload can be computed as one: by what is known, and by a try."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from service.batch_pass import BatchPass, passing
from service.data import Examples, Part, Split, Splits
from service.layers import Dropout, GhostBatchNorm2d
from service.training.vectorized.forward import forward_of
from service.workload import Workload

_FEW = 3  # examples of a try
_SAMPLE = 64  # examples that augmentation is looked for in
_CLOSE = 1e-3  # of the largest output: what isn't rounding is more


def why_not(
    workload: Workload, model: nn.Module, splits: Splits, devices: Sequence[torch.device]
) -> str | None:
    """Why heats of a workload can't be computed as one, in a clause for a person; None if they
    can. `model` is one of its models, and `devices` those that compute each trial together.

    Two copies of the model, with weights that differ, are computed as one and one by one.
    """
    if len(devices) > 1:
        return f"{len(devices)} devices compute each trial"
    if workload.execution.compile or workload.execution.precision != "float32":
        return "it is compiled, or computed in bfloat16"
    if splits.train.ahead or splits.validation.ahead:
        return "its examples are loaded ahead"
    return why_not_stacked(model, splits.train)


def why_not_stacked(model: nn.Module, train: Examples) -> str | None:
    """The same, of a model by itself."""
    for module in model.modules():
        if isinstance(module, _BatchNorm | GhostBatchNorm2d):
            return f"it normalizes over batches ({type(module).__name__})"
        if isinstance(module, _DropoutNd) and not isinstance(module, Dropout) and module.p > 0:
            return f"torch's own {type(module).__name__} draws for all at once"
    try:
        return _difference(model, train)
    except Exception as error:  # whatever torch.vmap makes of a model that it can't take
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"its model can't be stacked ({lines[0][:120]})"


def _difference(model: nn.Module, train: Examples) -> str | None:
    pair = [deepcopy(model), deepcopy(model)]
    with torch.no_grad():
        for parameter in pair[1].parameters():
            parameter.mul_(0.5)
    for one in pair:
        one.train()
    inputs, _ = train.batch(torch.arange(min(2 * _FEW, len(train)), device=train.indexed_on))
    few = len(inputs) // 2
    if not few:
        return "it has a single example"
    each = torch.stack([inputs[:few], inputs[few : 2 * few]])
    passes = [BatchPass(0, few, few, seed) for seed in (1, 2)]
    before = [b.clone() for b in pair[0].buffers()]
    expected = []
    for one, own, here in zip(pair, each.unbind(), passes, strict=True):
        with passing(here):
            expected.append(one(own))
    if any(not torch.equal(a, b) for a, b in zip(before, pair[0].buffers(), strict=True)):
        return "its training changes buffers of the model"
    weights = {
        name: torch.stack([one.get_parameter(name).detach() for one in pair])
        for name, _ in model.named_parameters()
    }
    for weight in weights.values():
        weight.requires_grad_(weight.is_floating_point())
    buffers = {n: torch.stack([b, b]) for n, b in pair[0].named_buffers()}
    again = [BatchPass(0, few, few, seed) for seed in (1, 2)]  # a pass counts what it has drawn
    found = forward_of(pair)({**weights, **buffers}, each.clone(), again)
    wanted = torch.stack(expected)
    if not _close(found, wanted):
        return "its outputs are others when it is stacked"
    trained = list(weights.values())
    torch.autograd.grad(found.square().sum(), trained, allow_unused=True)
    return None


def _close(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    return bool(((found - wanted).abs().max() <= _CLOSE * wanted.abs().max()).item())


def augments(train: Examples) -> bool:
    """Whether what `batch` returns depends on its seed, so that each trial's is its own."""
    if isinstance(train, Split):
        return False
    if isinstance(train, Part):
        return augments(train.whole)
    some = torch.arange(min(_SAMPLE, len(train)), device=train.indexed_on)
    first, second = (train.batch(some, seed) for seed in (1, 2))
    return any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
