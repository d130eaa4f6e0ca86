"""Each trial's mean loss, of the outputs of all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchfront.training.vectorized.batches import of_each
from batchfront.workload.losses import cross_entropy, token_cross_entropy
from batchfront.workload.metrics import NO_TARGET
from batchfront.workload.nested import Nested, map_tensors, tensors_in


class Losses:
    """A workload's loss of K trials that each have their own `values` of its metaparameters:
    outputs and targets, whose tensors are [K, n, ...], to their mean losses [K].

    Cross-entropies are computed together; any other loss is called once a trial.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        values: Sequence[Mapping[str, Any]],
        device: torch.device,
    ) -> None:
        self._loss, self._values = loss, values
        shares = [float(own.get("label_smoothing", 0.0)) for own in values]
        # How torch has the shapes of outputs, and of targets: classes on the last axis of two,
        # where with three they would stand on the second one.
        known = {cross_entropy: (3, 2), token_cross_entropy: (4, 3)}
        self._dimensions = known.get(loss) if all(0 <= own <= 1 for own in shares) else None
        smoothing = torch.tensor(shares, dtype=torch.float64, device=device)
        self._smoothing = smoothing if any(shares) else None

    @property
    def unsmoothed(self) -> bool:
        """Whether they are cross-entropies of one class an example, none of them smoothed."""
        return self._dimensions == (3, 2) and self._smoothing is None

    def __call__(self, outputs: Nested, targets: Nested) -> Tensor:
        if self._fits(outputs, targets):
            return self._cross_entropies(_logs(outputs), targets.flatten(1))[0]
        each = of_each(outputs, len(self._values)), of_each(targets, len(self._values))
        trials = zip(*each, self._values, strict=True)
        losses = [self._loss(found, wanted, **own) for found, wanted, own in trials]
        trained = any(tensor.requires_grad for tensor in tensors_in(outputs))
        if trained and not all(loss.requires_grad for loss in losses):
            raise ValueError("a loss doesn't depend on the model's outputs")
        return torch.stack(losses)

    def with_gradient(self, outputs: Tensor, targets: Nested) -> tuple[Tensor, Tensor]:
        """The losses, and the gradient of their sum by the outputs. Of no use to autograd."""
        if self._fits(outputs, targets):
            logs, flat = _logs(outputs), targets.flatten(1)
            losses, there, count = self._cross_entropies(logs, flat)
            gradient = self._above(logs, flat).div_(count[..., None]).mul_(there[..., None])
            return losses, gradient.view(outputs.shape)
        with torch.inference_mode(False), torch.enable_grad():
            leaf = outputs.clone().requires_grad_()
            losses = self(leaf, map_tensors(_usual, targets))
            return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]

    def _fits(self, outputs: Nested, targets: Nested) -> bool:
        return (
            isinstance(outputs, Tensor)
            and isinstance(targets, Tensor)
            and (outputs.ndim, targets.ndim) == self._dimensions
            and targets.dtype == torch.int64  # and no probabilities
            and targets.shape == outputs.shape[:-1]
        )

    def _cross_entropies(self, logs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As torch's cross_entropy has it: NO_TARGET is passed over, a share of each target is
        spread over all classes. [K, n, classes], [K, n] -> [K]; also which targets are there, and
        how many, [K, n] and [K, 1]."""
        flat = targets.flatten()
        costs = F.nll_loss(logs.flatten(0, 1), flat, ignore_index=NO_TARGET, reduction="none")
        there = targets != NO_TARGET
        count = there.sum(1, keepdim=True).clamp_min_(1)  # of none, the mean is 0
        found = (costs.view(targets.shape).sum(1, keepdim=True) / count).squeeze(1)
        if self._smoothing is not None:
            spread = (-logs.mean(-1)).masked_fill(~there, 0.0).sum(1) / count.squeeze(1)
            found = torch.lerp(found, spread, self._smoothing.to(found.dtype))
        return found, there, count

    def _above(self, logs: Tensor, targets: Tensor) -> Tensor:
        """How far each class's probability is above what is wanted, [K, n, classes]."""
        above, wanted = logs.exp(), targets.clamp_min(0)[..., None]
        if self._smoothing is None:
            return above.scatter_(-1, wanted, -1.0, reduce="add")
        smoothing = self._smoothing.to(logs.dtype).view(-1, 1, 1)
        above.scatter_add_(-1, wanted, (smoothing - 1).expand(wanted.shape))
        return above.sub_(smoothing / logs.shape[-1])


def _usual(tensor: Tensor) -> Tensor:
    """One that autograd may keep."""
    return tensor.clone() if tensor.is_inference() else tensor


def _logs(outputs: Tensor) -> Tensor:
    """Of the classes' probabilities: [K, ..., classes] -> [K, n, classes]."""
    return F.log_softmax(outputs.flatten(1, -2), -1)
