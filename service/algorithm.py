"""Training algorithms as data, and the per-trial optimizers they start.

The SGD family updates all parameters by one fused call a step: for the small models that tuning
is full of, what surrounds that call in `torch.optim` takes as long as the training itself.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from service.errors import WorkloadError
from service.search_space import Metaparameters

REQUIRED = inspect.Parameter.empty
"""Stands for the default of a metaparameter that has none."""


def keyword_metaparameters(function: Callable[..., object]) -> dict[str, Any]:
    """The keyword-only parameters of `function`, which batchfront fills from the search space.

    Name to default, or to REQUIRED: `def loss(outputs, targets, *, label_smoothing=0.0)` takes
    the metaparameter `label_smoothing`.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature take nothing of ours
        return {}
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def chosen(function: Callable[..., object], values: Metaparameters) -> dict[str, Any]:
    """Those of `values` that `function` takes as keyword-only parameters."""
    return {name: values[name] for name in keyword_metaparameters(function) if name in values}


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


class Algorithm(ABC):
    """A training algorithm: the last part of a workload's name, and a maker of optimizers."""

    name: str

    @abstractmethod
    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default, or to REQUIRED."""

    @abstractmethod
    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        """An optimizer for a new trial with these metaparameters."""

    def describe(self) -> dict[str, Any]:
        """The algorithm as plain data, for a study's identity."""
        return {"name": self.name}


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


@dataclass(frozen=True)
class SGD(Algorithm):
    """Stochastic gradient descent, w <- w - lr g (Shallue et al. 2018, section 2.2)."""

    name: str = "sgd"

    def metaparameters(self) -> dict[str, Any]:
        return {"learning_rate": REQUIRED, "weight_decay": 0.0}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return self._start(model, values, nesterov=False)

    def _start(self, model: nn.Module, values: Metaparameters, nesterov: bool) -> Optimizer:
        momentum, decay = float(values.get("momentum", 0)), float(values.get("weight_decay", 0))
        return SGDOptimizer(model, momentum, nesterov, decay)


@dataclass(frozen=True)
class Momentum(SGD):
    """Heavy-ball momentum, v <- m v + g, w <- w - lr v (Polyak 1964; Shallue, section 2.2)."""

    name: str = "momentum"

    def metaparameters(self) -> dict[str, Any]:
        return {**super().metaparameters(), "momentum": REQUIRED}


@dataclass(frozen=True)
class NesterovMomentum(Momentum):
    """Nesterov momentum, w <- w - lr (g + m v), as Sutskever et al. 2013 write it."""

    name: str = "nesterov_momentum"

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return self._start(model, values, nesterov=True)


class _TorchOptimizer(Optimizer):
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


@dataclass(frozen=True)
class TorchOptimizer(Algorithm):
    """Any `torch.optim` optimizer, by a factory whose keyword-only parameters are metaparameters.

        def adamw(parameters, *, learning_rate, weight_decay=0.01):
            return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

        TorchOptimizer("adamw", adamw)

    The workload's schedule sets the learning rate of all parameter groups at every step.
    """

    name: str
    factory: Callable[..., torch.optim.Optimizer]

    def metaparameters(self) -> dict[str, Any]:
        return {"learning_rate": REQUIRED, **keyword_metaparameters(self.factory)}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return _TorchOptimizer(self.factory(trainable(model), **chosen(self.factory, values)))

    def describe(self) -> dict[str, Any]:
        name = getattr(self.factory, "__qualname__", type(self.factory).__name__)
        return {"name": self.name, "factory": name}
