"""The plain workload, and what is noted of each change of it."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from batchfront import ERROR_RATE, SGD, Goal, Log, Split, Splits, Workload, cross_entropy

Stacks = Literal["must", "may", "never"]


@dataclass(frozen=True)
class Case:
    """A workload, and what holds of it.

    stacks -- whether its trials can be computed as one model: "must" is so plain that to refuse
              it would be a loss, "never" gives another result if it is done naively
    parts  -- whether the gradient of a batch is that of its micro-batches put together
    """

    workload: Workload
    stacks: Stacks = "may"
    parts: bool = True

    @property
    def name(self) -> str:
        """The second part of its workload's name, which is unique."""
        return self.workload.name.split("/")[1]


def points(count: int = 240, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points [count, 8], and which of three directions each lies in [count]."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 8, generator=generator)
    return inputs, (inputs @ torch.randn(8, 3, generator=generator)).argmax(1)


def apart(inputs: Tensor, targets: Tensor) -> Splits:
    """Three quarters to train on, a quarter to validate on."""
    cut = len(inputs) * 3 // 4
    return Splits(Split(inputs[:cut], targets[:cut]), Split(inputs[cut:], targets[cut:]))


def splits() -> Splits:
    """The plain data set."""
    return apart(*points())


def mlp() -> nn.Sequential:
    """8-16-3 units. [n, 8] -> [n, 3]"""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def plain(name: str, **changed: Any) -> Workload:
    """The plain workload with some of its parts replaced."""
    parts: dict[str, Any] = {
        "data": splits,
        "model": mlp,
        "loss": cross_entropy,
        "algorithm": SGD(),
        "goal": Goal(ERROR_RATE, 0.05),
        "search_space": {"learning_rate": Log(1e-2, 1.0)},
        "step_budget": 200,
        "batch_sizes": (8, 16),
    }
    return Workload(name=f"zoo/{name}/sgd", **{**parts, **changed})
