"""books/transformer_tiny/*: a Transformer for a CPU, on any text in LM1B's layout. Ours.

The goal was chosen on 55,781 sentences of English books out of copyright. Any other text in that
layout will do, perhaps with a goal of its own (`--goal`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.search_space import Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.lm1b import ANY, lm1b
from batchfront_studies.models.transformer import Size, Transformer

TOKENS, LONGEST = 1_000, 32

SIZE = Size(layers=2, width=64, heads=4, filter=256)

GOAL = 4.5
"""Nats a token. On those books, of 16 sentences a step with a momentum of 0.9, it takes some 390
steps with a learning rate of 0.5, 460 with 0.2, 600 with 0.1, and more than 800 with 0.05. The
untrained model costs 7.5; after 800 steps the best of these was at 4.24, and still falling."""

LOOKED_AT = 250
"""Validation sentences, some 6,000 tokens."""

GRID = EvaluationGrid(first=20, spacing=0.04)
"""A look costs as much as some seven steps of 16 sentences."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {
        "books/transformer_tiny/sgd": sgd,
        "books/transformer_tiny/momentum": momentum,
        "books/transformer_tiny/nesterov_momentum": nesterov_momentum,
        "books/transformer_tiny/adamw": adamw,
    }


def books() -> Splits:
    """Every training sentence, cut after 32 of 1,000 different tokens, however many there are;
    250 sentences of the second held-out file to stop by, and the first file to report."""
    return lm1b(ANY, TOKENS, LONGEST, LOOKED_AT, name="books")


def model() -> nn.Module:
    """[n, length] -> [n, length, 1,000]; 163,584 parameters."""
    return Transformer(SIZE, TOKENS, LONGEST)


def sgd() -> Workload:
    """Stochastic gradient descent."""
    return _tiny(SGD(), {"learning_rate": Log(0.05, 10.0)})


def momentum() -> Workload:
    """Heavy-ball momentum."""
    return _tiny(Momentum(), _momentum_space())


def nesterov_momentum() -> Workload:
    """Nesterov momentum."""
    return _tiny(NesterovMomentum(), _momentum_space())


def adamw() -> Workload:
    """AdamW (Loshchilov and Hutter 2019), without which few Transformers are trained."""
    space: SearchSpace = {"learning_rate": Log(3e-4, 0.1), "beta1": ReverseLog(0.5, 0.99)}
    return _tiny(TorchOptimizer("adamw", _adamw), space)


def step_budget(batch_size: int) -> int:
    """40,000 sentences, and at least 3,000 steps."""
    return max(3_000, 40_000 // batch_size)


def _tiny(algorithm: Algorithm, search_space: SearchSpace) -> Workload:
    return Workload(
        name=f"books/transformer_tiny/{algorithm.name}",
        description="Transformer of 2 layers, 64 units, 1,000 tokens, on any text in LM1B's "
        "layout (ours)",
        data=books,
        model=model,
        loss=token_cross_entropy,
        weight=token_count,
        algorithm=algorithm,
        goal=Goal(TOKEN_CROSS_ENTROPY, GOAL),
        search_space=search_space,
        step_budget=step_budget,
        batch_sizes=powers_of_two(4, 512),
        grid=GRID,
    )


def _momentum_space() -> SearchSpace:
    return {"learning_rate": Log(0.01, 2.0), "momentum": ReverseLog(0.5, 0.99)}


def _adamw(
    parameters: list[Tensor], *, learning_rate: float, beta1: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, learning_rate, (beta1, 0.999))
