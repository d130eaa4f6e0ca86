"""Training algorithms as data, and which metaparameters they take."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchfront.errors import WorkloadError
from batchfront.workload.search_space import Metaparameters

if TYPE_CHECKING:  # which bring torch
    import torch
    from torch import nn

    from batchfront.workload.optimizers import Optimizer

REQUIRED = inspect.Parameter.empty
"""Stands for the default of a metaparameter that has none."""


def keyword_metaparameters(function: Callable[..., object] | None) -> dict[str, Any]:
    """The keyword-only parameters of `function`, if there is one, which batchfront fills from the
    search space.

    Name to default, or to REQUIRED: `def loss(outputs, targets, *, label_smoothing=0.0)` takes
    the metaparameter `label_smoothing`.
    """
    if function is None:
        return {}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature take nothing of ours
        return {}
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def first_parameter(function: Callable[..., object]) -> str | None:
    """The name of the first parameter that `function` takes by position, if it has one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return next((p.name for p in parameters if p.kind in by_place), None)


def chosen(function: Callable[..., object] | None, values: Metaparameters) -> dict[str, Any]:
    """Those of `values` that `function` takes as keyword-only parameters."""
    return {name: values[name] for name in keyword_metaparameters(function) if name in values}


class Algorithm(ABC):
    """A training algorithm: the last part of a workload's name, and a maker of optimizers."""

    name: str

    @abstractmethod
    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default, or to REQUIRED."""

    @abstractmethod
    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        """An optimizer for a new trial with these metaparameters."""

    def refuse_unused_rate(self, model: nn.Module, values: Metaparameters) -> None:  # noqa: B027
        """Raise WorkloadError if the learning rate that a search draws would have no effect.

        It may change the model, which is to be thrown away.
        """

    def describe(self) -> dict[str, Any]:
        """The algorithm as plain data, for a study's identity."""
        return {"name": self.name}


@dataclass(frozen=True)
class SGD(Algorithm):
    """Stochastic gradient descent, w <- w - lr g (Shallue et al. 2018, section 2.2)."""

    name: str = "sgd"

    def metaparameters(self) -> dict[str, Any]:
        return {"learning_rate": REQUIRED, "weight_decay": 0.0}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return self._start(model, values, nesterov=False)

    def _start(self, model: nn.Module, values: Metaparameters, nesterov: bool) -> Optimizer:
        from batchfront.workload.optimizers import SGDOptimizer

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


@dataclass(frozen=True)
class TorchOptimizer(Algorithm):
    """Any `torch.optim` optimizer, by a factory whose keyword-only parameters are metaparameters.

        def adamw(parameters, *, learning_rate, weight_decay=0.01):
            return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

        TorchOptimizer("adamw", adamw)

    The workload's schedule multiplies the learning rate of each parameter group: one that was made
    with `lr=0.1 * learning_rate` keeps to a tenth of the others, and one with `lr=0.0` stays as it
    is. Of a factory that takes no `learning_rate`, the rates are multiples of the optimizer's
    default, in whose place that of the trial comes. Nobody else may set them.
    """

    name: str
    factory: Callable[..., torch.optim.Optimizer]

    def metaparameters(self) -> dict[str, Any]:
        return {"learning_rate": REQUIRED, **keyword_metaparameters(self.factory)}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        from batchfront.workload.optimizers import ScheduledOptimizer

        optimizer = self._made(model, values)
        default = getattr(optimizer, "defaults", {}).get("lr")
        made_for = values["learning_rate"] if self._takes_learning_rate() else default
        return ScheduledOptimizer(self.name, optimizer, float(made_for or 0.0))

    def refuse_unused_rate(self, model: nn.Module, values: Metaparameters) -> None:
        if not self._takes_learning_rate():
            return
        twice = {**values, "learning_rate": 2 * values["learning_rate"]}
        made = [self._made(model, own).param_groups for own in (values, twice)]
        rates, others = ([float(group["lr"]) for group in groups] for groups in made)
        if rates == others:
            raise WorkloadError(
                f"TorchOptimizer {self.name!r}: its factory takes learning_rate and makes the same "
                f"rates of any ({', '.join(f'{rate:g}' for rate in rates)}); pass it on as "
                "lr=learning_rate, or leave it out of the factory's parameters"
            )

    def _takes_learning_rate(self) -> bool:
        return "learning_rate" in keyword_metaparameters(self.factory)

    def _made(self, model: nn.Module, values: Metaparameters) -> torch.optim.Optimizer:
        from batchfront.workload.optimizers import trainable

        made = self.factory(trainable(model), **chosen(self.factory, values))
        if not hasattr(made, "param_groups"):
            raise WorkloadError(
                f"TorchOptimizer {self.name!r}: its factory must return one torch.optim.Optimizer, "
                f"with several parameter groups if need be; returned {type(made).__name__}"
            )
        return made

    def describe(self) -> dict[str, Any]:
        name = getattr(self.factory, "__qualname__", type(self.factory).__name__)
        return {"name": self.name, "factory": name}
