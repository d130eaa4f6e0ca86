"""A training step: what a trial does with a batch, by its gradient or by the workload's update."""

import math
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from batchfront.errors import WorkloadError
from batchfront.training.gradient import BatchGradient, Gradient
from batchfront.training.model_call import Computed
from batchfront.workload.algorithm import SGD, chosen
from batchfront.workload.optimizers import Optimizer, ScheduledOptimizer
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload

SEES_WHOLE_BATCH = "its update sees a batch as a whole"
"""Why the batches of a workload with an update of its own are never cut."""


class TrainingStep(Protocol):
    """Trains a trial's model for a step."""

    def __call__(
        self,
        gradient: Gradient,
        optimizer: Optimizer,
        step: int,
        indices: Tensor,
        learning_rate: float,
    ) -> Tensor | float | None:
        """Make the update after `step` updates, of the batch of `indices`.

        Returns the batch's mean loss before it, and None where nothing in the batch counts, or an
        update doesn't tell.
        """


def start_optimizer(workload: Workload, model: nn.Module, values: Metaparameters) -> Optimizer:
    """The optimizer of a new trial: one of torch's where the workload's own update steps it."""
    algorithm = workload.algorithm
    if workload.update is not None and isinstance(algorithm, SGD):
        algorithm = algorithm.of_torch()
    return algorithm.start(model, values)


def training_step(
    workload: Workload,
    values: Metaparameters,
    optimizer: Optimizer,
    gradient: BatchGradient,
    computed: Computed,
) -> TrainingStep:
    """What a trial with these metaparameters does with its batches."""
    norm = clip_norm(workload, values)
    if workload.update is not None:
        return _Update(workload, values, optimizer, gradient, computed)
    clip = None if norm is None else _Clip(gradient.model, norm)
    _refuse_two_steps(workload, optimizer, gradient.model)
    if optimizer.needs_closure:
        if len(optimizer.of_torch()) > 1:
            raise WorkloadError(
                f"{workload.name}: one of its several optimizers takes a closure, and when the "
                "others make their steps can't be told; write update=, which steps them all"
            )
        return _WithClosure(gradient.model, clip)
    return _plain if clip is None else partial(_clipped, clip)


def clip_norm(workload: Workload, values: Metaparameters) -> float | None:
    """The norm that a trial's gradients are clipped to; None: they aren't, or something of the
    user's takes the metaparameter `clip_norm` and sees to it."""
    if workload.clip_norm is not None and not workload.takes_clip_norm:
        raise WorkloadError(
            f"{workload.name}: clip_norm= clips the gradient that batchfront computes, and "
            + (
                "update= computes its own; call torch.nn.utils.clip_grad_norm_ there"
                if workload.update is not None
                else "a function of its own takes the metaparameter clip_norm; leave one of the two"
            )
        )
    norm = values.get("clip_norm", workload.clip_norm) if workload.takes_clip_norm else None
    if norm is None:
        return None
    if isinstance(norm, bool | str) or not 0 < norm < math.inf:
        raise WorkloadError(
            f"{workload.name}: clip_norm must be a number above 0, the norm that gradients are "
            f"clipped to; found {norm!r}"
        )
    return float(norm)


class _Clip:
    """Clips the gradient of all of a model's trainable parameters to a norm, as people's loops do
    (Pascanu et al. 2013)."""

    def __init__(self, model: nn.Module, norm: float) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._norm = norm

    def __call__(self) -> None:
        clip_grad_norm_(self._parameters, self._norm)


def _plain(
    gradient: Gradient, optimizer: Optimizer, step: int, indices: Tensor, learning_rate: float
) -> Tensor | None:
    loss = gradient.of(step, indices)
    optimizer.step(learning_rate)
    return loss


def _clipped(
    clip: _Clip,
    gradient: Gradient,
    optimizer: Optimizer,
    step: int,
    indices: Tensor,
    learning_rate: float,
) -> Tensor | None:
    loss = gradient.of(step, indices)
    clip()
    optimizer.step(learning_rate)
    return loss


class _WithClosure:
    """For an optimizer that asks for the loss and its gradient as often as it likes, such as
    LBFGS: of the same batch, with the same draws."""

    def __init__(self, model: nn.Module, clip: _Clip | None) -> None:
        self._model, self._clip = model, clip

    def __call__(
        self,
        gradient: Gradient,
        optimizer: Optimizer,
        step: int,
        indices: Tensor,
        learning_rate: float,
    ) -> Tensor | None:
        found: list[Tensor | None] = []

        def closure() -> Tensor:
            self._model.zero_grad(set_to_none=True)
            with torch.enable_grad():
                loss = gradient.of(step, indices)
            if self._clip is not None:
                self._clip()
            found.append(loss)
            return torch.zeros(()) if loss is None else loss

        optimizer.step(learning_rate, closure)
        if not found:
            raise WorkloadError("its optimizer's step() has not called the closure that it takes")
        return found[0]


class _Update:
    """The workload's own, of a whole batch: with the rates set, generators seeded for the step,
    and no gradient left from the step before."""

    def __init__(
        self,
        workload: Workload,
        values: Metaparameters,
        optimizer: Optimizer,
        gradient: BatchGradient,
        computed: Computed,
    ) -> None:
        if not isinstance(optimizer, ScheduledOptimizer):
            raise WorkloadError(
                f"{workload.name}: update= steps torch's optimizers, and the algorithm "
                f"{workload.algorithm.name!r} has none; give TorchOptimizer(name, factory)"
            )
        assert workload.update is not None
        self._update: Callable[..., Any] = partial(
            workload.update, **chosen(workload.update, values)
        )
        self._name, self._gradient, self._computed = workload.name, gradient, computed
        self._parameters = list(gradient.model.parameters())
        gradient.streams.leave_nothing_out()  # an update can't be done again

    def __call__(
        self,
        gradient: Gradient,
        optimizer: Optimizer,
        step: int,
        indices: Tensor,
        learning_rate: float,
    ) -> Tensor | float | None:
        assert isinstance(optimizer, ScheduledOptimizer)
        optimizer.set_rates(learning_rate)
        for parameter in self._parameters:
            parameter.grad = None
        self._gradient.model.train()
        work = partial(self._updated, optimizer, step, indices)
        found = self._gradient.micro_batch_size.fit(len(indices), work, self._gradient.undo)
        optimizer.refuse_changed()
        return self._loss(found)

    def _updated(self, optimizer: ScheduledOptimizer, step: int, indices: Tensor, size: int) -> Any:
        if size < len(indices):
            raise self._gradient.cannot_split(f"memory is too small for a batch of {len(indices)}")
        seed = self._gradient.begin(step)
        batch = self._gradient.load(indices, seed, step).whole
        return self._computed.compute(self._update, self._computed.module, batch, optimizer.made)

    def _loss(self, found: Any) -> Tensor | float | None:
        """What the update has returned, as what can be added to the sum of losses."""
        if found is None:
            return None
        if isinstance(found, Tensor) and found.numel() == 1 and not found.is_complex():
            return found.detach().reshape(()).to(self._gradient.device)
        if isinstance(found, Real) and found is not True and found is not False:
            return float(found)
        raise WorkloadError(
            f"{self._name}: update() must return the step's loss as one number or a tensor of one, "
            f"or None; returned {_described(found)}"
        )


def _described(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)} ({found.dtype})"
    return type(found).__name__


def _refuse_two_steps(workload: Workload, optimizer: Optimizer, model: nn.Module) -> None:
    """Of a parameter with the same gradient; an update may know what it does."""
    names = {id(p): name for name, p in model.named_parameters()}
    seen: set[int] = set()
    for one in optimizer.of_torch():
        own = {id(p) for group in one.param_groups for p in group["params"]}
        twice = [names.get(p, "of another module") for p in own & seen]
        if twice:
            raise WorkloadError(
                f"{workload.name}: the parameter {min(twice)} is in two of its optimizers, and "
                "would be updated twice a step by one gradient; give it to one of them, or train "
                "by update=, which steps them when it likes"
            )
        seen |= own
