"""A trial of a vectorized heat follows the same trial computed by itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.training.engines import Sequential
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Examples, Split, Splits
from batchfront.workload.execution import Execution
from batchfront.workload.goal import Goal
from batchfront.workload.layers import Dropout
from batchfront.workload.losses import sigmoid_cross_entropy
from batchfront.workload.lr_schedule import LinearDecay, WarmupCosine
from batchfront.workload.metrics import ACCURACY, CROSS_ENTROPY, NO_TARGET
from batchfront_studies.models.simple_cnn import simple_cnn
from tests.batchfront.training.vectorized.trials import (
    NEVER,
    cnn,
    draws,
    follow,
    language,
    mlp,
    runs,
    sentences,
    splits,
    weights,
    workload,
)


def adamw(parameters: Iterator[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, learning_rate / 10)


@pytest.mark.parametrize(
    "algorithm",
    [SGD(), Momentum(), NesterovMomentum(), TorchOptimizer("adamw", adamw)],
    ids=lambda a: a.name,
)
@pytest.mark.parametrize("decay", [(0.0,), (1e-3, 0.0, 1e-2)], ids=["plain", "weight decay"])
def test_with_every_optimizer(data: Splits, algorithm: Algorithm, decay: tuple[float]) -> None:
    follow(workload(mlp, algorithm), data, draws(5, weight_decay=decay))


def two_rates(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    slow = {"params": parameters[:2], "lr": learning_rate / 100}
    return torch.optim.SGD([slow, {"params": parameters[2:]}], lr=learning_rate)


def test_with_parameter_groups_that_have_their_own_rates(data: Splits) -> None:
    values = draws(4, decay_steps=(50, 150), decay_factor=(0.01, 0.3))
    grouped = workload(mlp, TorchOptimizer("two_rates", two_rates), schedule=LinearDecay())
    follow(grouped, data, values, steps=60)


def test_with_rates_that_decay_each_in_its_own_way(data: Splits) -> None:
    linear = draws(5, decay_steps=(50, 150), decay_factor=(0.01, 0.3))
    follow(workload(schedule=LinearDecay()), data, linear)
    cosine = draws(4, warmup_steps=(5, 20), total_steps=(210, 300))
    follow(workload(schedule=WarmupCosine()), data, cosine)


def test_with_dropout_of_each_trials_own_numbers_and_probability(data: Splits) -> None:
    found = follow(workload(), data, draws(5, dropout=(0.4, 0.0, 0.1)))
    without = follow(workload(), data, draws(5))
    assert not torch.equal(weights(found[0]), weights(without[0]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_batches_that_have_no_target(data: Splits, smoothing: float) -> None:
    train = data.train
    assert isinstance(train, Split)
    some = torch.arange(len(train)) % 16 == 0
    few = replace(train, targets=train.targets.masked_fill(~some, NO_TARGET))
    values = draws(4, label_smoothing=(smoothing, 0.0))
    follow(workload(), Splits(few, data.validation), values, steps=60)


def test_with_label_smoothing_of_each_trials_own(data: Splits) -> None:
    follow(workload(), data, draws(5, label_smoothing=(0.0, 0.1, 0.3)))


def test_with_any_loss(data: Splits) -> None:
    def squared(outputs: Tensor, targets: Tensor, *, power: float = 2.0) -> Tensor:
        wanted = nn.functional.one_hot(targets, 4)
        return (outputs - wanted).abs().pow(power).mean()

    follow(workload(loss=squared), data, draws(4, power=(2.0, 3.0)))

    def labels(outputs: Tensor, targets: Tensor) -> Tensor:
        return sigmoid_cross_entropy(outputs, nn.functional.one_hot(targets, 4))

    follow(workload(loss=labels), data, draws(3))


@pytest.mark.parametrize("goal", [Goal(ACCURACY, 0.8), Goal(CROSS_ENTROPY, 0.4)], ids=str)
def test_with_any_metric(data: Splits, goal: Goal) -> None:
    follow(workload(goal=goal), data, draws(5))


def test_with_convolutions() -> None:
    calm = draws(5, learning_rate=(0.02, 0.05, 0.03))  # none of which magnifies what rounding does
    follow(workload(cnn), splits(1, 4, 4), calm)
    other_layout = workload(cnn, execution=Execution(channels_last=True))
    follow(other_layout, splits(1, 4, 4), calm[:3], steps=40)


def test_with_the_simple_cnn_in_single_precision() -> None:
    """To a ten-thousandth: what rounding in float32 comes to in a few steps."""
    double = splits(1, 28, 28)
    data = Splits(*(replace(s, inputs=s.inputs.float()) for _, s in double.named()))
    narrow = workload(lambda: simple_cnn("narrow"), SGD())
    follow(narrow, data, draws(3), steps=6, tolerance=1e-4)


def test_with_a_transformer_of_tied_weights() -> None:
    follow(language(), sentences(), draws(4))


@pytest.mark.parametrize("written", [True, False], ids=["ours", "any"])
def test_with_batches_that_have_nothing_to_predict(written: bool) -> None:
    """Which count nothing, neither in the weights nor in the mean of the training loss."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    tokens = sentences()
    empty = torch.arange(len(tokens.train)) % 4 > 0
    targets = tokens.train.batch(torch.arange(len(tokens.train)))[1]
    train = replace(tokens.train, targets=targets.masked_fill(empty[:, None], NO_TARGET))  # type: ignore[type-var]
    of = language() if written else replace(language(), loss=loss)
    data = Splits(train, tokens.validation)
    alone, together = (runs(of, data, draws(3), batch_size=2) for _ in range(2))
    for way, trials in ((Sequential(), alone), (Vectorized(), together)):
        assert way.advance(trials, 30, NEVER) == [True] * 3
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights(other), weights(one), rtol=1e-9, atol=1e-9)
        assert one.is_finite()
        assert (other.loss_steps, other.step) == (one.loss_steps, 30)
        assert other.loss_sum.item() == pytest.approx(one.loss_sum.item())
        assert one.loss_steps < 30
        assert other.engines == {"sequential", "vectorized"}


class Branching(nn.Module):
    """What is no row of layers: a residual, with dropout on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(16, 8), nn.Linear(8, 4)
        self.dropout = Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.into(x).tanh()
        y: Tensor = self.out(hidden + self.dropout(hidden))
        return y


def test_with_dropout_in_a_model_of_any_shape(data: Splits) -> None:
    found = follow(workload(lambda: Branching().double()), data, draws(4))
    assert len({tuple(weights(run).tolist()) for run in found}) == 4


class Jittered(Examples):
    """Points that are moved a little, each time that they are trained on."""

    def __init__(self, stored: Examples) -> None:
        self.stored = stored

    @property
    def indexed_on(self) -> torch.device:
        return self.stored.indexed_on

    def __len__(self) -> int:
        return len(self.stored)

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = self.stored.batch(indices)
        if seed is None:
            return inputs, targets
        generator = torch.Generator().manual_seed(seed % 2**40)
        noise = torch.randn(len(self), *inputs.shape[1:], generator=generator)
        return inputs + 0.1 * noise[indices], targets

    def to(self, device: torch.device) -> "Jittered":
        return Jittered(self.stored.to(device))

    def describe(self) -> dict[str, Any]:
        return self.stored.describe()


def test_with_augmentation_of_each_trials_own_numbers(data: Splits) -> None:
    follow(workload(), Splits(Jittered(data.train), data.validation), draws(3), steps=60)


def test_in_single_precision(data: Splits) -> None:
    """To a thousandth: momentum of 0.9 multiplies what rounding does over 200 steps."""
    single = Splits(*(replace(s, inputs=s.inputs.float()) for _, s in data.named()))
    follow(workload(lambda: mlp().float()), single, draws(5), tolerance=1e-3)


@pytest.mark.parametrize("model", ["linear layers", "convolutions"])
def test_to_the_bit_whatever_it_is_stacked_with(data: Splits, model: str) -> None:
    of, points = (
        (workload(), data) if model == "linear layers" else (workload(cnn), splits(1, 4, 4))
    )
    together = runs(of, points, draws(17))
    Vectorized().advance(together, 50, NEVER)
    for count in (1, 2, 5):
        fewer = runs(of, points, draws(count))
        Vectorized().advance(fewer, 50, NEVER)
        assert all(map(torch.equal, map(weights, fewer), map(weights, together)))
