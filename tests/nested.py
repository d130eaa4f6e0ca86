"""Workloads that are one and the same problem, written with other structures of tensors.

Their trials must come to the same weights, to the bit. In float64, so that micro-batches do too, up
to what is far below anything that a mistake would make.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront import ERROR_RATE, Goal, Log, Metric, Momentum, Split, Splits, Workload

SPEC = f"{Path(__file__).resolve()}:own_loss"

VALUES = {"learning_rate": 0.1, "momentum": 0.9}


def points() -> tuple[Tensor, Tensor]:
    """300 points in 8 dimensions, and their classes of 3."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    return x, (x @ torch.randn(8, 3, generator=generator, dtype=torch.float64)).argmax(1)


def _splits(structure: Callable[[Tensor, Tensor], Any]) -> Callable[[], Splits]:
    x, y = points()
    return lambda: Splits(
        *(Split(*structure(x[rows], y[rows])) for rows in (slice(200), slice(200, 300)))
    )


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).double()


class OfDict(nn.Module):
    """Takes a dict as its one argument."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.net(inputs["pixels"])
        return out


class OfNames(OfDict):
    """Takes the dict's entries by their names, as transformers' models do, and its labels too."""

    def forward(self, pixels: Tensor, labels: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        logits = self.net(pixels)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"logits": logits, "loss": loss}


class OfTwo(OfDict):
    """Takes two tensors by their places, and returns two."""

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits = self.net(torch.cat([left, right], dim=1))
        return logits, logits.detach().exp()


def _of_labels(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    return (outputs["logits"].argmax(1) != targets["labels"]).double()


def _of_first(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    return (outputs[0].argmax(1) != targets).double()


def _workload(name: str, **parts: Any) -> Workload:
    usual: dict[str, Any] = {
        "name": f"nested/mlp/{name}",
        "data": _splits(lambda x, y: (x, y)),
        "model": net,
        "loss": F.cross_entropy,
        "algorithm": Momentum(),
        "goal": Goal(ERROR_RATE, 0.05),
        "search_space": {"learning_rate": Log(1e-2, 1.0), "momentum": 0.9},
        "step_budget": 400,
        "batch_sizes": (8, 16),
    }
    return Workload(**{**usual, **parts})


def plain() -> Workload:
    return _workload("plain")


def of_dict() -> Workload:
    return _workload("dict", data=_splits(lambda x, y: ({"pixels": x}, y)), model=OfDict)


def of_two() -> Workload:
    return _workload(
        "two",
        data=_splits(lambda x, y: ((x[:, :3], x[:, 3:]), y)),
        model=OfTwo,
        loss=lambda outputs, targets: F.cross_entropy(outputs[0], targets),
        goal=Goal(Metric("wrong", _of_first, "lower", 0, 1), 0.05),
    )


def of_names() -> Workload:
    """A dict that is inputs and targets at once, and outputs in a dict."""
    return _workload(
        "names",
        data=_splits(lambda x, y: ({"pixels": x, "labels": y},)),
        model=OfNames,
        loss=lambda outputs, targets: F.cross_entropy(outputs["logits"], targets["labels"]),
        goal=Goal(Metric("wrong", _of_labels, "lower", 0, 1), 0.05),
    )


def own_loss() -> Workload:
    """The same, of which the loss is the model's own."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        found: Tensor = model(**batch)["loss"]
        return found

    return _workload(
        "own_loss",
        data=_splits(lambda x, y: ({"pixels": x, "labels": y},)),
        model=OfNames,
        loss=loss,
        goal=Goal(Metric("wrong", _of_labels, "lower", 0, 1), 0.05),
    )


def loss_of_pair() -> Workload:
    """A pair of inputs and targets, given to a loss that calls the model."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(model(inputs), targets)

    return _workload("loss_of_pair", loss=loss)


ALL = (of_dict, of_two, of_names, own_loss, loss_of_pair)
