"""Optimizers, hooks on them, and schedules."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, optim

from batchfront import (
    SGD,
    LinearDecay,
    Log,
    Momentum,
    NesterovMomentum,
    ReverseLog,
    TorchOptimizer,
    WarmupCosine,
)
from tests.zoo.cases import Case, Stacks, plain

Made = optim.Optimizer
Parameters = Iterable[Tensor]

_RATE = {"learning_rate": Log(1e-2, 1.0)}
_SMALL = {"learning_rate": Log(1e-3, 1e-1)}


def _torch(name: str, factory: Callable[..., Made], stacks: Stacks = "must") -> Case:
    return Case(plain(name, algorithm=TorchOptimizer(name, factory), search_space=_SMALL), stacks)


def _of(made: Callable[..., Made], **options: Any) -> Callable[..., Made]:
    def factory(parameters: Parameters, *, learning_rate: float) -> Made:
        return made(parameters, lr=learning_rate, **options)

    return factory


def _clipped(parameters: Parameters, *, learning_rate: float) -> Made:
    """The norm of the gradient is clipped before each step."""
    weights = list(parameters)
    optimizer = optim.SGD(weights, lr=learning_rate)
    optimizer.register_step_pre_hook(
        lambda *_: torch.nn.utils.clip_grad_norm_(weights, 0.5) and None
    )
    return optimizer


def _two_rates(parameters: Parameters, *, learning_rate: float) -> Made:
    """The first layer at a hundredth of the learning rate."""
    weights = list(parameters)
    groups = [{"params": weights[:2], "lr": 0.01 * learning_rate}, {"params": weights[2:]}]
    return optim.SGD(groups, lr=learning_rate)


def _frozen_group(parameters: Parameters, *, learning_rate: float) -> Made:
    """The last layer at a rate of 0."""
    weights = list(parameters)
    groups = [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.0}]
    return optim.SGD(groups, lr=learning_rate)


def _decayed_group(parameters: Parameters, *, learning_rate: float) -> Made:
    """Weight decay of the matrices alone."""
    weights = list(parameters)
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.1},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return optim.AdamW(groups, lr=learning_rate)


def _noisy(parameters: Parameters, *, learning_rate: float) -> Made:
    """Noise on the gradient, of torch's own generator."""
    weights = list(parameters)
    optimizer = optim.SGD(weights, lr=learning_rate)

    def add(*_: Any) -> None:
        for weight in weights:
            if weight.grad is not None:
                weight.grad.add_(torch.randn_like(weight.grad), alpha=0.01)

    optimizer.register_step_pre_hook(add)
    return optimizer


class Averaging(optim.SGD):
    """Counts its steps in an attribute, and takes each tenth at half the rate."""

    def __init__(self, parameters: Parameters, lr: float) -> None:
        super().__init__(parameters, lr=lr)
        self.steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and self.steps % 10 == 0:
                    weight.grad.mul_(0.5)
        return super().step(closure)


_MOMENTUM = {**_RATE, "momentum": ReverseLog(0.1, 0.95)}

OPTIMIZERS = (
    Case(plain("momentum", algorithm=Momentum(), search_space=_MOMENTUM), "must"),
    Case(plain("nesterov", algorithm=NesterovMomentum(), search_space=_MOMENTUM), "must"),
    Case(plain("decay", algorithm=SGD(), search_space={**_RATE, "weight_decay": Log(1e-4, 1e-1)}), "must"),
    Case(plain("linear_decay", schedule=LinearDecay(), search_space={**_RATE, "decay_steps": 100, "decay_factor": Log(1e-2, 1)}), "must"),
    Case(plain("warm_up", schedule=WarmupCosine(), search_space={**_RATE, "warmup_steps": 10, "total_steps": 100}), "must"),
    _torch("torch_sgd", _of(optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.01)),
    _torch("adam", _of(optim.Adam)),
    _torch("adam_amsgrad", _of(optim.Adam, amsgrad=True)),
    _torch("adamw", _of(optim.AdamW)),
    _torch("adamw_fused", _of(optim.AdamW, fused=True)),
    _torch("nadam", _of(optim.NAdam)),
    _torch("radam", _of(optim.RAdam)),
    _torch("adamax", _of(optim.Adamax)),
    _torch("adagrad", _of(optim.Adagrad)),
    _torch("adadelta", _of(optim.Adadelta)),
    _torch("rmsprop", _of(optim.RMSprop, momentum=0.9)),
    _torch("rprop", _of(optim.Rprop)),
    _torch("asgd", _of(optim.ASGD)),
    _torch("clipped", _clipped, "may"),
    _torch("two_rates", _two_rates, "may"),
    _torch("frozen_group", _frozen_group, "may"),
    _torch("decayed_group", _decayed_group, "may"),
    _torch("noisy_gradient", _noisy, "never"),
    _torch("counting_optimizer", _of(Averaging), "may"),
)  # fmt: skip
