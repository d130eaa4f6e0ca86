"""A small workload with everything that a batch's cut could change, in float64.

Images of stripes, each with a short row of tokens to predict, some of them missing: convolutions
with ghost batch normalization in groups of 4, dropout, and a loss that is a mean over tokens.
"""

import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from batchfront import (
    Goal,
    Log,
    Momentum,
    Split,
    Splits,
    TorchSchedule,
    WeightAverage,
    Workload,
)
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import NO_TARGET, TOKEN_CROSS_ENTROPY, token_count

SPEC = f"{Path(__file__).resolve()}:striped"
GAPPY = f"{Path(__file__).resolve()}:gappy"
AVERAGING = f"{Path(__file__).resolve()}:averaging"
SEARCHING = f"{Path(__file__).resolve()}:searching"
NAME = "striped/cnn/momentum"

GHOST_SIZE = 4
TOKENS, LENGTH = 5, 3


class Loaded(Split):
    """Examples that are loaded ahead, as those are that have to be read."""

    ahead = 2

    def to(self, device: torch.device) -> "Loaded":
        return self


def splits() -> Splits:
    """64 / 24 images of 6 x 6."""
    generator = torch.Generator().manual_seed(11)
    return Splits(*(_split(size, generator) for size in (64, 24)))


def _split(size: int, generator: torch.Generator) -> Split:
    targets = torch.randint(TOKENS, (size, LENGTH), generator=generator)
    rows = targets.repeat_interleave(2, dim=1).double()[:, None, :, None].expand(-1, 1, -1, 6)
    noise = torch.randn(size, 1, 6, 6, generator=generator, dtype=torch.float64)
    missing = torch.rand(size, LENGTH, generator=generator) < 0.3
    missing[:, 0] = False
    return Loaded(rows / TOKENS + 0.1 * noise, targets.masked_fill(missing, NO_TARGET))


class Rows(nn.Module):
    """[n, 1, 6, 6] -> [n, 3, 5]"""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.normalization = GhostBatchNorm2d(4, GHOST_SIZE)
        self.dropout = Dropout(0.2)
        self.outputs = nn.Linear(4 * 36, LENGTH * TOKENS)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and (pause := float(os.environ.get("STRIPED_PAUSE", "0"))):
            time.sleep(pause)
        x = self.dropout(self.normalization(self.convolution(x)).relu().flatten(1))
        logits: Tensor = self.outputs(x)
        return logits.view(-1, LENGTH, TOKENS)


def striped() -> Workload:
    """Passes its goal after some twenty steps."""
    return Workload(
        name=NAME,
        data=splits,
        model=Rows,
        loss=token_cross_entropy,
        weight=token_count,
        algorithm=Momentum(),
        goal=Goal(TOKEN_CROSS_ENTROPY, 0.9),
        search_space={"learning_rate": Log(0.01, 0.3), "momentum": 0.9},
        step_budget=60,
        batch_sizes=(10,),
    )


def searching() -> Workload:
    """The same by an optimizer that asks for several gradients a step, which are clipped."""
    space = {"learning_rate": Log(0.01, 1.0), "max_iter": 3}
    return replace(striped(), algorithm=torch.optim.LBFGS, clip_norm=0.5, search_space=space)  # type: ignore[arg-type]


def averaging() -> Workload:
    """The same at rates of a scheduler of torch's, evaluated by the average of its weights."""

    def cosine(optimizer: Any, *, step_budget: int) -> LRScheduler:
        return CosineAnnealingLR(optimizer, step_budget, eta_min=1e-3)

    schedule = TorchSchedule(cosine, every="step")
    return replace(striped(), average=WeightAverage(0.8), schedule=schedule)


class Noisy(nn.Module):
    """Weights that NumPy has drawn, and `noise` times what NumPy and Python draw in each pass."""

    def __init__(self, *, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.outputs = nn.Linear(36, LENGTH * TOKENS).double()
        with torch.no_grad():
            self.outputs.weight.copy_(torch.from_numpy(0.1 * np.random.randn(15, 36)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.outputs(x.flatten(1)).view(-1, LENGTH, TOKENS)
        if self.noise:
            logits = logits + self.noise * (np.random.randn() + random.random() + torch.rand(()))
            logits = logits * (1 + self.noise * np.random.randn())
        return logits


def gappy_splits() -> Splits:
    """Of which every second image has nothing to predict."""
    made = splits()
    train = made.train
    assert isinstance(train, Split)
    targets = train.targets.clone()
    targets[::2] = NO_TARGET
    return Splits(Split(train.inputs, targets), made.validation)


def gappy() -> Workload:
    """The same images, and rows that a device, or a whole batch, may have no token of."""
    changed = {"name": "gappy/linear/momentum", "data": gappy_splits, "model": Noisy}
    return replace(striped(), batch_sizes=(2,), **changed)
