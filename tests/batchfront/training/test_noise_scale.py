"""Gradient noise is read without bias, and without changing what is read."""

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchfront import ERROR_RATE, Goal, Log, Momentum, Split, Splits, TorchOptimizer
from batchfront.errors import UsageError
from batchfront.outcomes import Reading
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.noise_scale import DENSE, NoiseScale, stride
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.losses import cross_entropy
from batchfront.workload.workload import Workload

CPU = torch.device("cpu")
EXAMPLES, WIDTH = 60, 5
STANDING = {"learning_rate": 0.0, "momentum": 0.0}
MOVING = {"learning_rate": 0.05, "momentum": 0.9}


def points() -> Tensor:
    """Float64 [60, 5], around a mean that is not 0."""
    generator = torch.Generator().manual_seed(1)
    return 0.5 + torch.randn(EXAMPLES, WIDTH, generator=generator, dtype=torch.float64)


def weights() -> Tensor:
    """How much each example counts, 0 and 1 among it."""
    return torch.arange(EXAMPLES, dtype=torch.float64) % 4


def along(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss whose gradient at an example, of a linear model, is the example."""
    return outputs.mean()


def weighed(outputs: Tensor, targets: Tensor) -> Tensor:
    """The same, a mean over what the examples weigh."""
    return (outputs[:, 0] * targets).sum() / targets.sum()


def linear(**changed: object) -> Workload:
    split = Split(points(), torch.arange(EXAMPLES) % 3)
    made = Workload(
        name="points/linear/momentum",
        data=lambda: Splits(split, split),
        model=lambda: nn.Linear(WIDTH, 1, bias=False).double(),
        loss=along,
        algorithm=Momentum(),
        goal=Goal(ERROR_RATE, 0.01),
        search_space={"learning_rate": Log(1e-3, 1.0), "momentum": 0.9},
        step_budget=1000,
        batch_sizes=(8,),
    )
    return replace(made, **changed)


def started(
    workload: Workload,
    batch_size: int,
    values: dict[str, float],
    micro_batch: int | None = None,
    seed: int = 3,
) -> ModelRun:
    sizes = MicroBatchSizes(MicroBatchSize(micro_batch))
    return ModelRun(workload, workload.load_data(), batch_size, values, seed, CPU, sizes)


def readings(workload: Workload, batch_size: int, steps: int, **how: int) -> list[Reading]:
    """Of a run whose weights stand still."""
    noise = NoiseScale(run := started(workload, batch_size, STANDING, **how))
    run.advance(steps)
    return noise.readings


def truth(of: Tensor) -> tuple[float, float]:
    """tr Σ and |G|² of all examples, each of whose gradients is a row."""
    return float(of.var(dim=0).sum()), float(of.mean(dim=0).square().sum())


def close(found: list[float], to: float) -> bool:
    """Whether the mean is within four of its standard errors."""
    return abs(fmean(found) - to) < 4 * float(np.std(found)) / len(found) ** 0.5


@pytest.mark.parametrize("micro_batch", [None, 3], ids=["beside", "in micro-batches"])
def test_trace_and_squared_norm_are_without_bias(micro_batch: int | None) -> None:
    found = readings(linear(), 12, 800, micro_batch=micro_batch)
    trace, squared = truth(points())

    assert close([one.trace for one in found], trace)
    assert close([one.squared_norm for one in found], squared)


def test_a_batch_of_all_examples_has_their_gradient() -> None:
    (found,) = readings(linear(), EXAMPLES, 1)

    assert found.squared_norm == pytest.approx(truth(points())[1])


def test_an_example_of_average_weight_is_what_noise_is_told_of() -> None:
    split = Split(points(), weights())
    workload = linear(data=lambda: Splits(split, split), loss=weighed, weight=lambda w: w)
    found = readings(workload, 20, 600)
    mean = (points() * weights()[:, None]).sum(0) / weights().sum()
    apart = (points() - mean) * weights()[:, None] / weights().mean()

    # A ratio estimate, whose bias is of the order of one over the batch size.
    assert fmean(o.trace for o in found) == pytest.approx(float(apart.var(0).sum()), rel=0.15)


def test_a_batch_cut_in_micro_batches_is_read_from_these() -> None:
    noise = NoiseScale(run := started(linear(), 12, MOVING, micro_batch=4))
    run.advance(5)

    assert [(one.step, one.parts, one.examples) for one in noise.readings] == [
        (step, 3, 12) for step in range(5)
    ]
    assert noise.extra == 0


def test_what_is_computed_beside_is_counted() -> None:
    noise = NoiseScale(run := started(linear(), 12, MOVING))
    run.advance(5)

    assert noise.extra == sum(one.examples for one in noise.readings) == 60


def test_readings_stand_for_all_steps_and_grow_sparse() -> None:
    noise = NoiseScale(run := started(linear(), 8, MOVING, micro_batch=4))
    run.advance(8 * DENSE)

    assert sum(one.steps for one in noise.readings) == 8 * DENSE
    assert len(noise.readings) == 4 * DENSE
    assert stride(8 * DENSE) == 8


class Drawing(nn.Module):
    """Draws from all that a model may draw from, and counts in a buffer how often."""

    def __init__(self, numpy: bool) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.numpy = numpy

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        noise = float(np.random.random()) if self.numpy else 0.0
        return x + 0.1 * torch.randn_like(x) + 0.01 * noise + 0.001 * self.calls


def drawing(numpy: bool) -> Callable[[], nn.Module]:
    def model() -> nn.Module:
        layers = (nn.Linear(WIDTH, 8), Drawing(numpy), nn.Dropout(0.3), Dropout(0.2))
        return nn.Sequential(*layers, nn.Linear(8, 3)).double()

    return model


def noisy_adam(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    class Noisy(torch.optim.Adam):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            super().step()
            with torch.no_grad():
                for parameter in parameters:
                    parameter += 1e-3 * torch.randn_like(parameter)

    return Noisy(parameters, learning_rate)


@pytest.mark.parametrize("micro_batch", [None, 4], ids=["beside", "in micro-batches"])
@pytest.mark.parametrize("numpy", [False, True])
def test_training_stays_the_same_to_the_bit(numpy: bool, micro_batch: int | None) -> None:
    workload = linear(
        model=drawing(numpy),
        loss=cross_entropy,
        algorithm=TorchOptimizer("noisy", noisy_adam),
        search_space={"learning_rate": Log(1e-3, 1.0)},
    )
    plain, read = (
        started(workload, 8, {"learning_rate": 0.01}, micro_batch=micro_batch) for _ in range(2)
    )
    plain.advance(40)
    noise = NoiseScale(read)
    read.advance(40)

    assert len(noise.readings) == 40
    assert all(map(torch.equal, plain.model.state_dict().values(), read.weights().values()))
    assert plain.loss_sum.equal(read.loss_sum)


def test_ghost_batches_are_never_cut_within() -> None:
    def ghosts() -> nn.Module:
        layers = (nn.Unflatten(1, (WIDTH, 1, 1)), GhostBatchNorm2d(WIDTH, 4), nn.Flatten())
        return nn.Sequential(*layers, nn.Linear(WIDTH, 3)).double()

    workload = linear(model=ghosts, loss=cross_entropy)
    plain, read = (started(workload, 12, MOVING) for _ in range(2))
    plain.advance(3)
    noise = NoiseScale(read)
    read.advance(3)

    assert [one.parts for one in noise.readings] == [3, 3, 3]
    assert all(map(torch.equal, plain.model.state_dict().values(), read.weights().values()))


def test_what_normalizes_whole_batches_is_refused() -> None:
    normalized = linear(
        model=lambda: nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 3)).double(),
        loss=cross_entropy,
    )

    with pytest.raises(UsageError, match="between parts of a batch, and batch normalization"):
        NoiseScale(started(normalized, 8, MOVING))


def test_a_batch_of_one_example_is_refused() -> None:
    with pytest.raises(UsageError, match="no two parts to compare; say --batch-size 2 or more"):
        NoiseScale(started(linear(), 1, MOVING))
