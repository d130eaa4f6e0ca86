"""digits/mlp/*: a small network on scikit-learn's bundled digits. Ours; nothing to download."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.digits import digits
from batchfront_studies.models.fully_connected import fully_connected

LEARNING_RATE = Log(1e-3, 3.0)


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {
        "digits/mlp/sgd": sgd,
        "digits/mlp/momentum": momentum,
        "digits/mlp/nesterov_momentum": nesterov_momentum,
        "digits/mlp/adamw": adamw,
    }


def sgd() -> Workload:
    """Stochastic gradient descent."""
    return _mlp(SGD(), {"learning_rate": LEARNING_RATE})


def momentum() -> Workload:
    """Heavy-ball momentum."""
    return _mlp(Momentum(), _momentum_space())


def nesterov_momentum() -> Workload:
    """Nesterov momentum."""
    return _mlp(NesterovMomentum(), _momentum_space())


def adamw() -> Workload:
    """AdamW (Loshchilov and Hutter 2019): any `torch.optim` optimizer is added like this."""
    space: SearchSpace = {
        "learning_rate": Log(1e-4, 0.1),
        "beta1": ReverseLog(0.5, 0.99),
        "weight_decay": Log(1e-4, 0.1),
    }
    return _mlp(TorchOptimizer("adamw", _adamw), space)


def step_budget(batch_size: int) -> int:
    """60,000 examples (46 epochs), and at least 3,000 steps.

    Momentum's best of 32 needs about 1,000 steps at batch size 2 and 35 at 1,024; sgd several
    times more.
    """
    return max(3_000, 60_000 // batch_size)


def model() -> nn.Module:
    """64-64-10 units, no dropout. [n, 64] -> [n, 10]"""
    return fully_connected(64, (64,), 10)


def _mlp(algorithm: Algorithm, search_space: SearchSpace) -> Workload:
    return Workload(
        name=f"digits/mlp/{algorithm.name}",
        description="64-64-10 units on scikit-learn's 8x8 digits (ours)",
        data=digits,
        model=model,
        loss=cross_entropy,
        algorithm=algorithm,
        goal=Goal(ERROR_RATE, 0.03),
        search_space=search_space,
        step_budget=step_budget,
        batch_sizes=powers_of_two(2, 1024),
    )


def _momentum_space() -> SearchSpace:
    return {"learning_rate": LEARNING_RATE, "momentum": ReverseLog(0.0, 0.99)}


def _adamw(
    parameters: list[Tensor], *, learning_rate: float, beta1: float, weight_decay: float
) -> torch.optim.Optimizer:
    betas = (beta1, 0.999)
    return torch.optim.AdamW(parameters, learning_rate, betas, weight_decay=weight_decay)
