"""Losses and metrics: means over examples, and what is none."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront import (
    AVERAGE_PRECISION,
    MEAN_SQUARED_ERROR,
    TOKEN_CROSS_ENTROPY,
    Goal,
    Linear,
    Log,
    Metric,
    Splits,
    sigmoid_cross_entropy,
    token_count,
    token_cross_entropy,
)
from tests.zoo.cases import Case, Stacks, apart, plain, points


def _loss(name: str, loss: Callable[..., Tensor], stacks: Stacks = "may", **more: Any) -> Case:
    parts = more.pop("parts", True)
    return Case(plain(name, loss=loss, **more), stacks, parts)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - F.one_hot(targets, 3)).square().mean()


def _weighted(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, weight=torch.tensor([1.0, 1.0, 20.0]))


def _summed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="sum")


def _by_positives(outputs: Tensor, targets: Tensor) -> Tensor:
    costs = F.cross_entropy(outputs, targets, reduction="none")
    return costs.sum() / (targets == 0).sum().clamp(min=1)


def _contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    alike = F.normalize(outputs, dim=1) @ F.normalize(outputs, dim=1).T
    return F.cross_entropy(alike, torch.arange(len(outputs))) + F.cross_entropy(outputs, targets)


def _root(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - F.one_hot(targets, 3)).square().mean().sqrt()


def _hardest(outputs: Tensor, targets: Tensor) -> Tensor:
    costs = F.cross_entropy(outputs, targets, reduction="none")
    return costs.topk(max(1, len(costs) // 2)).values.mean()


def _focal(outputs: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    costs = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-costs).exp()) ** gamma * costs).mean()


def _smoothed(outputs: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
    return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)


class Warming:
    """A loss that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(outputs, targets) * min(1.0, self.calls / 10)


def _noisy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs + 0.1 * torch.randn_like(outputs), targets)


def _branching(outputs: Tensor, targets: Tensor) -> Tensor:
    loss = F.cross_entropy(outputs, targets)
    return loss if loss.item() > 0.5 else 2 * loss


class Three(nn.Module):
    """Three questions of three classes each. [n, 8] -> [n, classes, questions]"""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 9)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y.view(-1, 3, 3)


def _questions() -> Splits:
    inputs, targets = points()
    return apart(inputs, torch.stack([targets, (targets + 1) % 3, targets], 1))


_WRONG = Metric("wrong", lambda o, t: (o.argmax(1) != t).float().mean(1), "lower", high=1.0)


def _labels() -> Splits:
    inputs, targets = points()
    return apart(inputs, F.one_hot(targets, 3).float())


def _values() -> Splits:
    inputs, _ = points()
    return apart(inputs, inputs[:, :1] * 2)


def _nll(outputs: Tensor, targets: Tensor) -> Tensor:
    spread = outputs[:, 1].clamp(-6, 6)
    return spread + 0.5 * ((outputs[:, 0] - targets[:, 0]) / spread.exp()) ** 2


def _sentences() -> Splits:
    """What comes next in rows that count up, of which some have nothing to predict."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 10, (240, 6), generator=generator)
    tokens[:, 1:] = (tokens[:, :1] + torch.arange(1, 6)) % 10
    targets = tokens.roll(-1, 1).clone()
    lengths = torch.randint(1, 6, (240,), generator=generator)
    targets[torch.arange(6)[None] >= lengths[:, None]] = -100
    return apart(tokens, targets)


def _speaking() -> nn.Module:
    return nn.Sequential(nn.Embedding(10, 16), nn.Linear(16, 10))


def _one() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))


def _two() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))


_RATE = {"learning_rate": Log(1e-2, 1.0)}
_TOKENS: dict[str, Any] = {
    "data": _sentences,
    "model": _speaking,
    "goal": Goal(TOKEN_CROSS_ENTROPY, 0.1),
}

LOSSES = (
    _loss("squared", _squared),
    _loss("smoothed", _smoothed, "must", search_space={**_RATE, "label_smoothing": Linear(0, 0.2)}),
    _loss("focal", _focal, search_space={**_RATE, "gamma": Linear(1, 3)}),
    _loss("regression", lambda o, t: F.mse_loss(o, t), data=_values, model=_one, goal=Goal(MEAN_SQUARED_ERROR, 1e-3)),
    _loss("likelihood", lambda o, t: _nll(o, t).mean(), data=_values, model=_two, goal=Goal(Metric("nll", _nll, "lower", low=-math.inf), -3.0)),
    _loss("labels", sigmoid_cross_entropy, data=_labels, goal=Goal(AVERAGE_PRECISION, 0.999)),
    _loss("classes_on_axis_1", F.cross_entropy, data=_questions, model=Three, goal=Goal(_WRONG, 0.01)),
    _loss("tokens", token_cross_entropy, **_TOKENS, weight=token_count),
    _loss("tokens_unweighted", token_cross_entropy, **_TOKENS, parts=False),
    _loss("class_weights", _weighted, parts=False),
    _loss("summed", _summed, parts=False, search_space={"learning_rate": Log(1e-3, 1e-1)}),
    _loss("by_positives", _by_positives, parts=False),
    _loss("contrastive", _contrastive, parts=False),
    _loss("root", _root, parts=False),
    _loss("hardest", _hardest, parts=False),
    _loss("branching_loss", _branching, "never", parts=False),
    _loss("warming_loss", Warming(), "never", parts=False),
    _loss("noisy_loss", _noisy, "never", parts=False),
)  # fmt: skip
