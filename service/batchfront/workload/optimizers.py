"""The optimizers that training algorithms start, one a trial.

The SGD family updates all parameters by one fused call a step: for the small models that tuning
is full of, what surrounds that call in `torch.optim` takes as long as the training itself.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.errors import CheckpointError, WorkloadError


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimizer updates: at least one, all of one dtype and device."""
    found = [p for p in model.parameters() if p.requires_grad]
    kinds = {(p.dtype, p.device) for p in found}
    if len(kinds) != 1:
        there = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "none"
        raise WorkloadError(
            "the model's trainable parameters must exist and share one dtype and device; "
            f"found {there}"
        )
    return found


class Optimizer(ABC):
    """One trial's optimizer: its state, and what it does with a gradient."""

    @abstractmethod
    def step(self, learning_rate: float) -> None:
        """Apply the gradients in place, then clear them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` continues exactly."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""


class SGDOptimizer(Optimizer):
    """v <- m v + g; then w <- w - lr v, or with Nesterov w <- w - lr (g + m v)."""

    def __init__(
        self, model: nn.Module, momentum: float, nesterov: bool, weight_decay: float
    ) -> None:
        self.parameters: list[Tensor] = [*trainable(model)]
        self.velocities = [torch.zeros_like(p) for p in self.parameters] if momentum else []
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def step(self, learning_rate: float) -> None:
        parameters, velocities, gradients = self.parameters, self.velocities, self._taken()
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if len(used) < len(gradients):
            parameters = [parameters[place] for place in used]
            velocities = [velocities[place] for place in used if velocities]
        # What torch.optim.SGD(fused=True) calls too, after as much time again in Python.
        torch._fused_sgd_(
            parameters,
            [gradient for gradient in gradients if gradient is not None],
            velocities,
            lr=learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            dampening=0.0,
            maximize=False,
            is_first_step=False,
        )

    def _taken(self) -> list[Tensor | None]:
        """Every parameter's gradient, None where it had no part in the loss: torch's optimizers
        leave such a parameter, and its velocity, alone. Then they are cleared.

        Cleared to None: autograd then hands over the next gradient as it is, where it would have
        to add it to a zero. Of 200,000 parameters that, and the update in one call, make a step
        at batch size 8 a quarter faster.
        """
        found = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        return found

    def state(self) -> dict[str, Any]:
        return {"velocities": self.velocities}

    def restore(self, state: dict[str, Any]) -> None:
        for velocity, saved in zip(self.velocities, state["velocities"], strict=True):
            velocity.copy_(saved)


class ScheduledOptimizer(Optimizer):
    """One of torch's, the learning rate of whose every parameter group is set before each step, in
    proportion to the rate that the group was made with, as torch's LambdaLR does.

    made_for -- the learning rate that the groups' own are multiples of
    """

    def __init__(self, name: str, optimizer: torch.optim.Optimizer, made_for: float) -> None:
        self.optimizer, self._name, self._made_for = optimizer, name, made_for
        self._shares: list[float] = []  # by group: its rate over `made_for`
        self._known: list[object] = []  # by group: its rate as we have left it
        self._take_in_new()
        if any("initial_lr" in group for group in optimizer.param_groups) or hasattr(
            optimizer.step, "_wrapped_by_lr_sched"
        ):
            raise self._refusal("a torch.optim.lr_scheduler is attached to its optimizer")

    def step(self, learning_rate: float) -> None:
        groups = self.optimizer.param_groups
        self._refuse_changed()
        if len(groups) > len(self._shares):
            self._take_in_new()
        for group, share in zip(groups, self._shares, strict=True):
            rate = learning_rate if share == 1.0 else learning_rate * share
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._known = [_seen(group["lr"]) for group in groups]
        self.optimizer.step()
        self._refuse_changed()
        self.optimizer.zero_grad()

    def _take_in_new(self) -> None:
        """The groups that there have been none of before."""
        for group in self.optimizer.param_groups[len(self._shares) :]:
            rate = group.get("lr")
            if not isinstance(rate, int | float | Tensor):
                raise WorkloadError(
                    f"TorchOptimizer {self._name!r}: {type(self.optimizer).__name__} has no "
                    "learning rate 'lr' in its parameter groups, where a schedule could set it; "
                    "call it 'lr' there"
                )
            if not self._made_for > 0:
                raise WorkloadError(
                    f"TorchOptimizer {self._name!r}: made for a learning rate of "
                    f"{self._made_for:g}; it must be above 0"
                )
            self._shares.append(float(rate) / self._made_for)
            self._known.append(_seen(rate))

    def _refuse_changed(self) -> None:
        for number, (group, known) in enumerate(
            zip(self.optimizer.param_groups, self._known, strict=False)
        ):
            if _seen(group["lr"]) != known:
                raise self._refusal(f"somebody else has set the rate of parameter group {number}")

    def _refusal(self, what: str) -> WorkloadError:
        return WorkloadError(
            f"TorchOptimizer {self._name!r}: {what}, and the workload's schedule sets the rates; "
            "write it as that: schedule=LinearDecay(), WarmupCosine(), or a Schedule of your own, "
            "whose factor(step, values) is what the learning rate is multiplied by"
        )

    def state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        rates = [float(group["lr"]) for group in state["param_groups"]]
        if len(rates) != len(self._shares):
            raise CheckpointError(
                f"its optimizer had {len(rates)} parameter groups, and is made with "
                f"{len(self._shares)}"
            )
        whole, unit = max(rates), max(self._shares)
        for rate, share in zip(rates, self._shares, strict=True):
            if not math.isclose(rate * unit, whole * share, rel_tol=1e-4):
                raise CheckpointError("its parameter groups had other learning rates")
        self.optimizer.load_state_dict(state)
        self._known = [_seen(group["lr"]) for group in self.optimizer.param_groups]


def _seen(rate: float | Tensor) -> object:
    """What tells that a rate has been set anew, without waiting for its device."""
    return (id(rate), rate._version) if isinstance(rate, Tensor) else rate
