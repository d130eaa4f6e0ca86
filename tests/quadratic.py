"""The noisy quadratic model as a workload, whose steps to target can be computed.

SGD on the loss sum_i h_i·theta_i²/2, with gradients whose noise has the variance c_i/B at batch
size B, from theta_i0 with E[theta_i0²] = 1, has after t steps (Zhang et al. 2019, section 3)

    E[theta_i²](t) = (1-a·h_i)^(2t) + (1-(1-a·h_i)^(2t)) · a·c_i / (B·h_i·(2-a·h_i))

for the learning rate a. The model's parameters are these second moments m_i themselves, and its
loss has the gradient (2h_i - a·h_i²)·m_i - a·c_i/B, so that a step of plain SGD is exactly

    m_i <- (1-a·h_i)²·m_i + a²·c_i/B

The expected loss is the goal's metric: nothing is random, and any batch or example is like another.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchfront import SGD, Goal, Log, Metric, Split, Splits, Workload, powers_of_two

SPEC = f"{Path(__file__).resolve()}:quadratic"

DIMENSIONS = 64
CURVATURES = 1 / np.arange(1, DIMENSIONS + 1)
"""h_i; of c_i = h_i, as where the gradients' covariance is the Hessian."""

GOAL = 0.05 * CURVATURES.sum() / 2
"""A twentieth of the untrained model's expected loss."""

RATES = Log(0.01, 4.0)
"""From 2/h_1 = 2 on, training diverges."""

STEP_BUDGET = 1_000
BATCH_SIZES = powers_of_two(4, 256)


class Moments(nn.Module):
    """The second moments, for each example. [n, 1] -> [n, 64]"""

    def __init__(self) -> None:
        super().__init__()
        self.moments = nn.Parameter(torch.ones(DIMENSIONS, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.moments.expand(len(x), -1)


def _curvatures(like: Tensor) -> Tensor:
    return torch.from_numpy(CURVATURES).to(like.device)


def loss(outputs: Tensor, targets: Tensor, *, learning_rate: float) -> Tensor:
    """What plain SGD with this learning rate turns into the moments' recurrence."""
    moments, h = outputs[0], _curvatures(outputs)
    pull = (2 * h - learning_rate * h**2) * moments**2 / 2
    noise = learning_rate * h / len(outputs) * moments
    return (pull - noise).sum()


def _expected_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * _curvatures(outputs)).sum(dim=1) / 2


def data() -> Splits:
    """As many examples as the largest batch takes; two to look at."""
    return Splits(*(Split(torch.zeros(n, 1), torch.zeros(n)) for n in (BATCH_SIZES[-1], 2)))


def quadratic() -> Workload:
    """One metaparameter, the learning rate."""
    return Workload(
        name="quadratic/moments/sgd",
        data=data,
        model=Moments,
        loss=loss,
        algorithm=SGD(),
        goal=Goal(Metric("expected loss", _expected_loss, "lower"), GOAL),
        search_space={"learning_rate": RATES},
        step_budget=STEP_BUDGET,
        batch_sizes=BATCH_SIZES,
    )


def expected_loss(rate: float, batch_size: int, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """In closed form, after each of these numbers of steps."""
    h = CURVATURES
    kept = (1 - rate * h) ** (2 * steps[:, None])
    return ((kept + (1 - kept) * rate / (batch_size * (2 - rate * h))) * h).sum(axis=1) / 2


def steps_to_target(rate: float, batch_size: int) -> float:
    """The first step of the workload's grid at which the goal is passed; infinite if none is."""
    grid = np.array(quadratic().grid.steps(STEP_BUDGET))
    with np.errstate(over="ignore", invalid="ignore"):
        passed = np.flatnonzero(expected_loss(rate, batch_size, grid) < GOAL)
    return float(grid[passed[0]]) if len(passed) else math.inf


@cache
def fewest_steps(batch_size: int) -> float:
    """The least steps to target of any learning rate, over a dense grid of them."""
    return min(steps_to_target(rate, batch_size) for rate in np.geomspace(0.05, 1.99, 200))
