"""Models: layers, what they hold besides weights, and what hangs on them."""

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from batchfront import Choice, Dropout, GhostBatchNorm2d, Log, Splits
from tests.zoo.cases import Case, Stacks, apart, mlp, plain, points


def _model(name: str, model: Callable[..., nn.Module], stacks: Stacks = "may", **more: Any) -> Case:
    parts = more.pop("parts", True)
    return Case(plain(name, model=model, **more), stacks, parts)


def _images() -> Splits:
    inputs, targets = points()
    return apart(inputs.repeat(1, 8).view(-1, 1, 8, 8), targets)


def _tokens() -> Splits:
    """Sentences of 3 to 12 tokens, padded with 0: have they more odd or more even ones?"""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 20, (240, 12), generator=generator)
    lengths = torch.randint(3, 13, (240,), generator=generator)
    tokens[torch.arange(12)[None] >= lengths[:, None]] = 0
    odd, there = (tokens % 2 == 1).sum(1), (tokens > 0).sum(1)
    return apart(tokens, (2 * odd > there).long())


def _cnn() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 3))


def _normalized(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def _dropping(*, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), Dropout(dropout), nn.Linear(16, 3))


class Through(nn.Module):
    """The plain model inside of another, which its subclasses change."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


class Pooled(nn.Module):
    """The sum of a sentence's embeddings, and a linear layer."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding, self.head = embedding, nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(tokens)
        y: Tensor = self.head(embedded if embedded.ndim == 2 else embedded.sum(1))
        return y


class Attention(nn.Module):
    """One layer of self-attention over a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        y: Tensor = self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return y


class Recurrent(nn.Module):
    """An LSTM over a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        y: Tensor = self.head(self.lstm(self.embedding(tokens))[0][:, -1])
        return y


class Tied(nn.Module):
    """Encodes and decodes by one and the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.inner.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.again(self.inner(x).relu()).relu())
        return y


class Shuffled(Through):
    """Sees its inputs in an order of its own, a plain tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.order = torch.randperm(8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, self.order])


class Listed(Through):
    """The same order as a list of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.order = torch.randperm(8).tolist()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, self.order])


class Tempered(Through):
    """Divides by a temperature that is drawn when the model is made."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = float(torch.rand(()) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / self.temperature


class Shared(Through):
    """A plain tensor in the same memory as a weight, which moves with it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = self.net[2].weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * self.seen.mean()


class Counting(Through):
    """Cools down with each training step: a number that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x) / (1 + 0.1 * self.steps)


class Seldom(Through):
    """A buffer that moves at every twelfth step alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("offset", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.training:
            self.steps += 1
            if self.steps % 12 == 0:
                self.offset = y.detach().mean(0)
        return y - self.offset


class Averaged(Through):
    """A running mean of its inputs, as normalizations keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return super().forward(x - self.mean)


class Centred(Through):
    """Subtracts the mean over the batch: examples see each other."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y - y.mean(0, keepdim=True) if self.training else y


class Branching(Through):
    """Does one thing or another by what it computes."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.abs().max() < 3 else y / 2


class Noisy(Through):
    """Adds noise of torch's own generator in training."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + 0.1 * torch.randn_like(y) if self.training else y


class NoisyByNumpy(Through):
    """Scales by a number of NumPy's in training."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y * float(np.random.uniform(0.9, 1.1)) if self.training else y


class Skipping(Through):
    """Leaves out a layer now and then, by Python's random numbers (stochastic depth)."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y * 0.5 if self.training and random.random() < 0.3 else y


class Toggling(Through):
    """Freezes its first layer after a few steps."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        self.net[0].requires_grad_(bool(self.steps < 8))
        return super().forward(x)


class Unused(Through):
    """Has a layer that the loss knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(8, 8)


class _Doubled(torch.autograd.Function):
    """x, with twice its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return 2 * gradients[0]


class Custom(Through):
    """Has a gradient of its own."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Doubled.apply(super().forward(x))
        return y


class Spread(nn.Module):
    """Puts its inputs into place by an index."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        spread = torch.zeros_like(x).index_add_(1, torch.arange(8) % 4, x)
        y: Tensor = self.head(spread)
        return y


def _parameter_hooks() -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    return model


def _accumulate_hooks() -> nn.Module:
    model = mlp()

    def halve(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.mul_(0.5)

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(halve)
    return model


def _backward_hook() -> nn.Module:
    model = mlp()
    model[2].register_full_backward_hook(lambda _layer, given, _got: (0.5 * given[0],))
    return model


def _forward_hook() -> nn.Module:
    model = mlp()
    model[0].register_forward_hook(lambda _layer, _given, got: got.clamp(-1, 1))
    return model


class OutputHook(Through):
    """A hook on what a layer gives, not on the layer."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.net[0](x)
        if y.requires_grad:
            y.register_hook(lambda gradient: gradient * 0.1)
        z: Tensor = self.net[2](y.relu())
        return z


def _spectral() -> nn.Module:
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 3)
    )


def _weight_norm() -> nn.Module:
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 3)
    )


def _frozen() -> nn.Module:
    model = mlp()
    model[0].requires_grad_(False)
    return model


def _by_numpy() -> nn.Module:
    model = mlp()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(np.random.randn(16, 8)) * 0.3)
    return model


_made = count()


def _one_of_two() -> nn.Module:
    """Another model every second time that it is made."""
    return nn.Sequential(
        nn.Linear(8, 16), nn.ReLU() if next(_made) % 2 else nn.Tanh(), nn.Linear(16, 3)
    )


def _activated(*, activation: str) -> nn.Module:
    chosen = nn.Tanh() if activation == "tanh" else nn.ReLU()
    return nn.Sequential(nn.Linear(8, 16), chosen, nn.Linear(16, 3))


_RATE = {"learning_rate": Log(1e-2, 1.0)}

MODELS = (
    _model("mlp", mlp, "must"),
    _model("deep", lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()), nn.Linear(8, 3)), "must"),
    _model("no_bias", lambda: nn.Sequential(nn.Linear(8, 16, bias=False), nn.GELU(), nn.Linear(16, 3)), "must"),
    _model("through", Through, "must"),
    _model("double", lambda: mlp().double(), data=lambda: apart(points()[0].double(), points()[1])),
    _model("cnn", _cnn, "must", data=_images),
    _model("reflecting_cnn", lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)), data=_images),
    _model("dropout", _dropping, "must", search_space={**_RATE, "dropout": Choice(0.1, 0.5)}),
    _model("torch_dropout", lambda: nn.Sequential(mlp(), nn.Dropout(0.3)), "never", parts=False),
    _model("rrelu", lambda: nn.Sequential(nn.Linear(8, 16), nn.RReLU(), nn.Linear(16, 3)), "never", parts=False),
    _model("batch_norm", lambda: _normalized(nn.BatchNorm2d(4)), "never", data=_images, parts=False),
    _model("ghost_batch_norm", lambda: _normalized(GhostBatchNorm2d(4, ghost_size=8)), "never", data=_images),
    _model("group_norm", lambda: _normalized(nn.GroupNorm(2, 4)), data=_images),
    _model("layer_norm", lambda: nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3)), "must"),
    _model("embedding", lambda: Pooled(nn.Embedding(20, 8)), data=_tokens),
    _model("padding_idx", lambda: Pooled(nn.Embedding(20, 8, padding_idx=0)), data=_tokens),
    _model("max_norm", lambda: Pooled(nn.Embedding(20, 8, max_norm=1.0)), "never", data=_tokens),
    _model("by_frequency", lambda: Pooled(nn.Embedding(20, 8, scale_grad_by_freq=True)), data=_tokens, parts=False),
    _model("embedding_bag", lambda: Pooled(nn.EmbeddingBag(20, 8, mode="sum")), data=_tokens),
    _model("attention", Attention, data=_tokens),
    _model("lstm", Recurrent, data=_tokens),
    _model("tied", Tied),
    _model("frozen", _frozen),
    _model("spectral_norm", _spectral, "never", parts=False),
    _model("weight_norm", _weight_norm),
    _model("shuffled", Shuffled, "never"),
    _model("listed", Listed, "never"),
    _model("tempered", Tempered, "never"),
    _model("shared_memory", Shared, "never"),
    _model("counting", Counting, "never", parts=False),
    _model("seldom", Seldom, "never", parts=False),
    _model("averaged", Averaged, parts=False),
    _model("centred", Centred, parts=False),
    _model("branching", Branching, "never", parts=False),
    _model("noisy", Noisy, "never", parts=False),
    _model("noisy_by_numpy", NoisyByNumpy, "never", parts=False),
    _model("skipping", Skipping, "never", parts=False),
    _model("toggling", Toggling, "never", parts=False),
    _model("unused", Unused, search_space={**_RATE, "weight_decay": 0.1}),
    _model("custom_gradient", Custom),
    _model("index_add", Spread),
    _model("parameter_hooks", _parameter_hooks, "never", parts=False),
    _model("accumulate_hooks", _accumulate_hooks, "never", parts=False),
    _model("backward_hook", _backward_hook, "never"),
    _model("forward_hook", _forward_hook),
    _model("output_hook", OutputHook),
    _model("numpy_init", _by_numpy),
    _model("one_of_two", _one_of_two, "never"),
    _model("activation", _activated, search_space={**_RATE, "activation": Choice("tanh", "relu")}),
)  # fmt: skip
