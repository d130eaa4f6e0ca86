"""Tiny workloads for the tests: three overlapping clouds of points, learned in a few dozen steps.

Workers find them by this file's path, as a user's own file (`SPEC`); what a test wants of the
processes that it starts, it says in their environment.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchfront import (
    CROSS_ENTROPY,
    ERROR_RATE,
    Choice,
    Goal,
    Linear,
    LinearDecay,
    Log,
    Momentum,
    ReverseLog,
    Split,
    SplitMetric,
    Splits,
    Workload,
    cross_entropy,
)

SPEC = f"{Path(__file__).resolve()}:clouds"
PLAIN = f"{Path(__file__).resolve()}:plain"
COUNTED = f"{Path(__file__).resolve()}:counted"
POISONED = f"{Path(__file__).resolve()}:poisoned"

BATCH_SIZES = (4, 16)
STEP_BUDGET = 150


def splits() -> Splits:
    """96 / 80 / 40 points in the plane, of three classes."""
    generator = torch.Generator().manual_seed(7)
    return Splits(*(_split(size, generator) for size in (96, 80, 40)))


def _split(size: int, generator: torch.Generator) -> Split:
    targets = torch.arange(size) % 3
    centers = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    noise = torch.randn(size, 2, generator=generator)
    return Split(centers[targets] + 0.7 * noise, targets)


class Pausing(nn.Module):
    """Passes its input on, in training after a pause that the environment asks for."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and (pause := float(os.environ.get("TOY_PAUSE", "0"))):
            time.sleep(pause)
        return x


def model(*, dropout: float = 0.0) -> nn.Module:
    """2-12-3 units. [n, 2] -> [n, 3]"""
    width = int(os.environ.get("TOY_WIDTH", "12"))
    layers = [nn.Linear(2, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 3)]
    return nn.Sequential(Pausing(), *layers)


def clouds() -> Workload:
    """Everything that a trial's result can depend on: dropout, smoothing, decay, momentum."""
    return Workload(
        name="clouds/mlp/momentum",
        data=splits,
        model=model,
        loss=cross_entropy,
        algorithm=Momentum(),
        schedule=LinearDecay(),
        goal=Goal(ERROR_RATE, 0.1),
        search_space={
            "learning_rate": Log(1e-3, 0.1),
            "momentum": ReverseLog(0.0, 0.95),
            "dropout": Choice(0.0, 0.1, 0.3),
            "label_smoothing": Linear(0.0, 0.2),
            "decay_steps": STEP_BUDGET,
            "decay_factor": Log(1e-2, 1.0),
        },
        step_budget=STEP_BUDGET,
        batch_sizes=BATCH_SIZES,
    )


def plain() -> Workload:
    """The same without dropout, which torch's own module draws for all trials at once."""
    space = {name: of for name, of in clouds().search_space.items() if name != "dropout"}
    return replace(clouds(), name="plain/mlp/momentum", search_space=space)


def adamw() -> Workload:
    """By torch's AdamW, with all that rules for it scale, searched or fixed."""
    space = {
        "learning_rate": Log(1e-3, 0.1),
        "beta1": ReverseLog(0.0, 0.99),
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": Log(1e-3, 0.1),
        "decay_steps": STEP_BUDGET,
        "decay_factor": 0.1,
    }
    algorithm: Any = torch.optim.AdamW
    name = "clouds/mlp/adamw"
    return replace(clouds(), name=name, algorithm=algorithm, search_space=space)


def _margin(outputs: Tensor, targets: Tensor) -> float:
    """Of all together, in their order, which leaves the numbers of each where they belong."""
    right = outputs.gather(1, targets[:, None])[:, 0]
    return float((right - outputs.mean(1)).double().median())


def measuring() -> Workload:
    """The plain one with two measures, a mean over examples and one of all together."""
    return replace(plain(), measures=(CROSS_ENTROPY, SplitMetric("margin", _margin, "higher")))


class Counted(nn.Module):
    """Passes on less of its input the more training steps there have been, by an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return x / (1 + 0.05 * self.steps)


def counted() -> Workload:
    """A workload of which no checkpoint holds all."""

    def model() -> nn.Module:
        return nn.Sequential(Pausing(), Counted(), nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 3))

    return replace(plain(), name="clouds/counted/momentum", model=model)


class Poison(nn.Module):
    """Raises in its third training step if the dose is high."""

    def __init__(self, dose: float) -> None:
        super().__init__()
        self.dose = dose
        self.register_buffer("steps", torch.tensor(0))  # which a checkpoint keeps

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        if self.dose > 0.8 and self.steps > 2:
            raise ArithmeticError(f"poisoned by {self.dose:.2f}")
        return x


def poisoned_model(*, dose: float) -> nn.Module:
    """One linear layer behind a `Poison`. [n, 2] -> [n, 3]"""
    return nn.Sequential(Poison(dose), nn.Linear(2, 3))


def poisoned() -> Workload:
    """A workload of which about every fifth trial raises."""
    return replace(
        clouds(),
        name="clouds/poisoned/momentum",
        model=poisoned_model,
        search_space={
            "learning_rate": Log(1e-2, 1.0),
            "momentum": ReverseLog(0.0, 0.9),
            "dose": Linear(0.0, 1.0),
            "decay_steps": STEP_BUDGET,
            "decay_factor": 1.0,
        },
    )
