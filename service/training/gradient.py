"""The gradient of a batch, in as many passes as it takes."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from service.algorithm import chosen
from service.batch_pass import BatchPass, passing
from service.data import Examples
from service.errors import WorkloadError
from service.layers import GhostBatchNorm2d
from service.search_space import Metaparameters
from service.training.memory import PassSize, release
from service.training.seeds import mix
from service.workload import Workload


class BatchGradient:
    """Computes the mean loss of one trial's batches, and leaves its gradient in the parameters.

    Passes of any size give the same gradient up to rounding: the passes of a batch are weighed by
    what the loss is a mean over, dropout (`service.layers.Dropout`) and augmentation draw for an
    example what they would have drawn in one pass, and ghost batch normalization is never cut
    within a group. torch's own dropout draws other numbers in other passes.
    """

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        values: Metaparameters,
        train: Examples,
        passes: PassSize,
        seed: int,
        device: torch.device,
    ) -> None:
        self.workload, self.model, self.train, self.passes = workload, model, train, passes
        self._values = chosen(workload.loss, values)
        self._seed, self._reseed = seed, generator_of(device).manual_seed
        modules = list(model.modules())
        self._whole_batches = any(isinstance(m, _BatchNorm) for m in modules)
        self._ghosts = [m for m in modules if isinstance(m, GhostBatchNorm2d)]
        self.quantum = math.lcm(*(layer.ghost_size for layer in self._ghosts))

    def of(self, step: int, indices: Tensor) -> Tensor:
        """The mean loss of the batch of `indices`, whose update is the one after `step`."""
        work = partial(self._in_passes, step, indices)
        loss = self.passes.fit(len(indices), work, self._undo, self.quantum)
        for layer in self._ghosts:
            layer.commit()
        return loss

    def _in_passes(self, step: int, indices: Tensor, size: int) -> Tensor:
        batch_size, seed = len(indices), mix(self._seed, step)
        self._reseed(seed)
        if size >= batch_size:
            inputs, targets = self.train.batch(indices, seed)
            loss = self._loss(inputs, targets, BatchPass(0, batch_size, batch_size, seed))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        if self._whole_batches:
            raise WorkloadError(
                f"{self.workload.name}: memory is too small for a batch of {batch_size}, and "
                "batch normalization of whole batches can't be split; use GroupNorm, or "
                "GhostBatchNorm2d, which normalizes over a fixed number of examples"
            )
        return self._added_up(indices, size, seed)

    def _added_up(self, indices: Tensor, size: int, seed: int) -> Tensor:
        """Each pass's gradient counts as much as what its loss is a mean over."""
        batch_size, weigh = len(indices), self.workload.weight
        losses: list[Tensor] = []
        weights: list[Tensor] = []
        for start in range(0, batch_size, size):
            part = indices[start : start + size]
            inputs, targets = self.train.batch(part, seed)
            here = BatchPass(start, start + len(part), batch_size, seed)
            loss = self._loss(inputs, targets, here)
            weight = (
                loss.new_tensor(len(part) / batch_size) if weigh is None else weigh(targets).sum()
            )
            (loss * weight).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach() * weight)
            weights.append(weight)
        total = torch.stack(losses).sum()
        if weigh is None:
            return total
        whole = torch.stack(weights).sum()
        _divide([p.grad for p in self.model.parameters() if p.grad is not None], whole)
        return total / whole

    def _loss(self, inputs: Tensor, targets: Tensor, here: BatchPass) -> Tensor:
        with passing(here):
            return self.workload.loss(self.model(inputs), targets, **self._values)

    def _undo(self) -> None:
        self.model.zero_grad(set_to_none=True)
        for layer in self._ghosts:
            layer.discard()
        release()


def generator_of(device: torch.device) -> torch.Generator:
    """What torch's own layers draw from."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def _divide(gradients: Sequence[Tensor], by: Tensor) -> None:
    for gradient in gradients:
        gradient.div_(by)
