"""Each trial's mean loss, of the outputs of all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from service.losses import cross_entropy, token_cross_entropy
from service.metrics import NO_TARGET

Losses = Callable[[Tensor, Tensor], Tensor]
"""Outputs and targets of K trials, both [K, n, ...], to their mean losses [K]."""


def losses_of(
    loss: Callable[..., Tensor], values: Sequence[Mapping[str, Any]], device: torch.device
) -> Losses:
    """A workload's loss for trials that each have their own `values` of its metaparameters.

    Cross-entropies are computed together; any other is called once a trial.
    """
    smoothing = [float(own.get("label_smoothing", 0.0)) for own in values]

    def one_by_one(outputs: Tensor, targets: Tensor) -> Tensor:
        trials = zip(outputs.unbind(), targets.unbind(), values, strict=True)
        return torch.stack([loss(found, wanted, **own) for found, wanted, own in trials])

    if loss not in (cross_entropy, token_cross_entropy):
        return one_by_one
    shares = torch.tensor(smoothing, dtype=torch.float64, device=device) if any(smoothing) else None

    def together(outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.is_floating_point() or targets.shape != outputs.shape[:-1]:
            return one_by_one(outputs, targets)  # probabilities, or classes on another axis
        return _cross_entropies(outputs, targets, shares)

    return together


def _cross_entropies(outputs: Tensor, targets: Tensor, smoothing: Tensor | None) -> Tensor:
    """As torch's cross_entropy has it: NO_TARGET is passed over, a share of each target is spread
    over all classes. [K, ..., classes], [K, ...] -> [K]"""
    trials = len(outputs)
    logs = F.log_softmax(outputs, -1)
    flat = targets.flatten()
    costs = F.nll_loss(logs.flatten(0, -2), flat, ignore_index=NO_TARGET, reduction="none")
    there = targets != NO_TARGET
    count = there.view(trials, -1).sum(1)
    found = costs.view(trials, -1).sum(1) / count
    if smoothing is None:
        return found
    spread = (-logs.mean(-1)).masked_fill(~there, 0.0).view(trials, -1).sum(1) / count
    return torch.lerp(found, spread, smoothing.to(found.dtype))
