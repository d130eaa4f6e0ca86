"""A workload that no seed makes the same twice is found out."""

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.preflight.repeatable import refuse_unrepeatable
from batchfront.workload.algorithm import SGD, TorchOptimizer
from batchfront.workload.data import Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import ACCURACY, NO_TARGET, TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.workload import Workload
from tests import striped
from tests.toy import clouds, splits

VALUES = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "decay_steps": 40,
    "decay_factor": 0.1,
}
SHARED = torch.Generator().manual_seed(0)


class Drawing(nn.Module):
    """Draws by `made` when it is made, and then by `passing` in training or in evaluation."""

    def __init__(
        self,
        made: Callable[[], float] = float,
        training: Callable[[], float] = float,
        evaluating: Callable[[], float] = float,
    ) -> None:
        super().__init__()
        self.draws = {True: training, False: evaluating}
        self.linear = nn.Linear(2, 3)
        self.linear.weight.data += made()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x * (1 + self.draws[self.training]()))
        return y


def fresh() -> float:
    return float(np.random.default_rng().normal())


def shared() -> float:
    return torch.randn((), generator=SHARED).item()


def seeded() -> float:
    return float(np.random.randn()) + random.random() + torch.rand(()).item()


def of(model: Callable[[], nn.Module]) -> Workload:
    return replace(clouds(), model=model)


@pytest.mark.parametrize("draw", [fresh, shared, random.SystemRandom().random])
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("made", "differ in their untrained weights"),
        ("training", "differ in their weights after 2 steps"),
        ("evaluating", "differ in their untrained loss"),
    ],
)
def test_what_no_seed_sets_or_trials_share_is_refused(
    draw: Callable[[], float], where: str, says: str
) -> None:
    with pytest.raises(WorkloadError, match=f"{says}: something draws random numbers that no"):
        refuse_unrepeatable(of(lambda: Drawing(**{where: draw})), splits(), 4, VALUES)


def test_an_optimizer_that_draws_from_no_seed_is_refused() -> None:
    class Shaking(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step(closure)
            self.param_groups[0]["params"][0].data.add_(fresh())

    algorithm = TorchOptimizer("shaking", lambda p, *, learning_rate: Shaking(p, learning_rate))
    workload = replace(clouds(), algorithm=algorithm)
    with pytest.raises(WorkloadError, match="differ in their weights after 2 steps"):
        refuse_unrepeatable(workload, splits(), 4, VALUES)


@pytest.mark.parametrize(("draw", "refused"), [(fresh, True), (seeded, False)])
def test_an_update_may_draw_what_a_trial_seeds_alone(
    draw: Callable[[], float], refused: bool
) -> None:
    def update(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (nn.functional.cross_entropy(model(batch[0]), batch[1]) * draw()).backward()
        optimizer.step()

    workload = replace(clouds(), update=update, loss=None)
    said = pytest.raises(WorkloadError, match="differ in their weights after 2 steps")
    with said if refused else nullcontext():
        refuse_unrepeatable(workload, splits(), 4, VALUES)


def test_what_a_trial_seeds_passes() -> None:
    drawing = of(lambda: Drawing(seeded, seeded, seeded))
    refuse_unrepeatable(drawing, splits(), 4, VALUES)
    refuse_unrepeatable(replace(drawing, goal=Goal(ACCURACY, 0.9)), splits(), 1, VALUES)
    refuse_unrepeatable(replace(clouds(), algorithm=SGD()), splits(), 64, VALUES)
    refuse_unrepeatable(striped.gappy(), striped.gappy_splits(), 2, {**VALUES, "noise": 0.1})


def test_examples_that_count_nothing_are_not_asked() -> None:
    inputs, targets = torch.ones(40, 3, dtype=torch.int64), torch.full((40, 3), NO_TARGET)
    targets[30:] = 1
    workload = replace(
        clouds(),
        model=lambda: nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4)),
        loss=token_cross_entropy,
        weight=token_count,
        goal=Goal(TOKEN_CROSS_ENTROPY, 0.1),
    )
    late = Split(inputs, targets)
    refuse_unrepeatable(workload, Splits(late, late), 8, VALUES)
