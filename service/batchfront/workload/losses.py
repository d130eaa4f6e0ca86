"""Losses: what training minimizes. Keyword-only parameters are metaparameters."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from batchfront.workload.metrics import NO_TARGET


def cross_entropy(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats of `outputs` [n, classes] (logits) and `targets` [n] (int64), over
    all that are not NO_TARGET; 0 where all are.

    label_smoothing -- the share of each target spread evenly over all classes, 0 to 1
                       (Szegedy et al. 2016)
    """
    found = F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
    return _of_targets(found, targets)


def token_cross_entropy(
    outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy in nats of a token: of `outputs` [n, length, tokens] (logits) and
    `targets` [n, length] (int64), over all that are not NO_TARGET; 0 where all are.

    The workload's `weight` is then `token_count`.
    """
    found = F.cross_entropy(
        outputs.flatten(0, 1),
        targets.flatten(),
        ignore_index=NO_TARGET,
        label_smoothing=label_smoothing,
    )
    return _of_targets(found, targets)


def _of_targets(found: Tensor, targets: Tensor) -> Tensor:
    """A mean of torch's over targets: 0, and not 0 / 0, if there is none. Its gradient is 0."""
    if found.is_cpu and not math.isnan(found.detach().item()):
        return found
    return torch.where((targets != NO_TARGET).any(), found, 0.0)


def sigmoid_cross_entropy(
    outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over examples of the summed cross-entropies in nats of their labels, each of which may
    hold or not: `outputs` [n, labels] (logits), `targets` [n, labels] (bool, or 0 to 1).

    label_smoothing -- the share of each label's target spread evenly over true and false, 0 to 1
    """
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    wanted = targets.to(outputs.dtype)
    if label_smoothing:
        wanted = wanted.lerp(wanted.new_tensor(0.5), label_smoothing)
    summed = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="sum")
    return summed / len(outputs)
