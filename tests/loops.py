"""Small loops for the tests, which draw from every generator that there is.

Workers find them by this file's path (`SPEC`, with a name of one).
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from batchfront import Goal, Log, Loop, Measured, ReverseLog, Trial
from tests import toy

SPEC = f"{Path(__file__).resolve()}:"

SPLITS = toy.splits()
INPUTS, TARGETS = SPLITS.train.batch(torch.arange(len(SPLITS.train)))
HELD_OUT, LABELS = SPLITS.validation.batch(torch.arange(len(SPLITS.validation)))


def loop(train: Callable[[Trial], Any], **given: Any) -> Loop:
    """A loop of the tests' usual names and numbers."""
    usual: dict[str, Any] = {
        "name": "clouds/loop/momentum",
        "goal": Goal("error", 0.1, better="lower"),
        "search_space": {"learning_rate": Log(1e-3, 0.3)},
        "step_budget": toy.STEP_BUDGET,
        "batch_sizes": toy.BATCH_SIZES,
    }
    return Loop(train=train, **{**usual, **given})


def model() -> nn.Module:
    """2-12-3 units with dropout. [n, 2] -> [n, 3]"""
    return nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3))


def parts(trial: Trial) -> tuple[nn.Module, torch.optim.Optimizer]:
    """What is trained, from torch's global generator."""
    made = model()
    rate, momentum = trial["learning_rate"], trial["momentum"]
    return made, torch.optim.SGD(made.parameters(), lr=rate, momentum=momentum)


def update(net: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    """A step with dropout of torch's, noise of NumPy's and a scale of Python's. Its loss."""
    noise = torch.from_numpy(np.random.randn(len(batch), 2)).float()
    inputs = INPUTS[batch] + 0.1 * random.random() * noise
    loss = cross_entropy(net.train()(inputs), TARGETS[batch])
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


@torch.no_grad()
def error(net: nn.Module) -> float:
    """Of the held-out points, the share that it gets wrong."""
    return (net.eval()(HELD_OUT).argmax(1) != LABELS).double().mean().item()


def train_kept(trial: Trial) -> Iterator[Measured]:
    """Says what is to be kept of it."""
    net, optimizer = parts(trial)
    trial.keep(net, optimizer)
    for step, batch in trial.batches(len(INPUTS)):
        loss = update(net, optimizer, batch)
        if trial.evaluates(step):
            yield trial.measured(step, error(net), loss, examples=step * len(batch))


def train_replayed(trial: Trial) -> Iterator[Measured]:
    """Says nothing, and shuffles by torch's global generator."""
    net, optimizer = parts(trial)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, trial.step_budget + 1):
        if len(order) < trial.batch_size:
            order = torch.cat([order, torch.randperm(len(INPUTS))])
        batch, order = order[: trial.batch_size], order[trial.batch_size :]
        loss = update(net, optimizer, batch)
        if trial.evaluates(step):
            yield trial.measured(step, error(net), loss)


def kept() -> Loop:
    """A loop that can go on from a checkpoint."""
    space = {"learning_rate": Log(1e-3, 0.3), "momentum": ReverseLog(0.0, 0.95)}
    return loop(train_kept, search_space=space, train_examples=len(INPUTS))


def replayed() -> Loop:
    """A loop that is run again up to where it stood."""
    return replace(kept(), name="clouds/replayed/momentum", train=train_replayed)


class Line:
    """Weights that are NumPy's, and a count."""

    def __init__(self) -> None:
        self.weights, self.updates = np.zeros(3), 0

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights, self.updates = state["weights"], state["updates"]


LINE_INPUTS = np.random.default_rng(0).normal(size=(120, 3))
LINE_TARGETS = LINE_INPUTS @ np.array([1.0, -2.0, 0.5])


def train_line(trial: Trial) -> Iterator[Measured]:
    """Nothing of torch's."""
    line = Line()
    trial.keep(line)
    for step, batch in trial.batches(len(LINE_INPUTS)):
        inputs = LINE_INPUTS[batch] + 0.01 * np.random.randn(len(batch), 3)
        error = inputs @ line.weights - LINE_TARGETS[batch]
        line.weights = line.weights - trial["learning_rate"] * inputs.T @ error / len(batch)
        line.updates += 1
        if trial.evaluates(step):
            all_errors = LINE_INPUTS @ line.weights - LINE_TARGETS
            yield trial.measured(step, np.mean(all_errors**2), np.mean(error**2))


def line() -> Loop:
    """A loop without torch."""
    goal = Goal("squared error", 0.05, better="lower")
    return loop(train_line, name="line/regression/sgd", goal=goal)
