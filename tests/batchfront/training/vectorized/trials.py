"""Trials of small workloads, for both engines alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.training.engines import Engine, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.algorithm import SGD, Algorithm, Momentum
from batchfront.workload.data import Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy, token_cross_entropy
from batchfront.workload.metrics import ERROR_RATE, NO_TARGET, TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload
from batchfront_studies.models.fully_connected import fully_connected
from batchfront_studies.models.transformer import Size, Transformer

NEVER = Event()
CPU = torch.device("cpu")


def mlp(*, dropout: float = 0.0) -> nn.Module:
    """16-12-4 units in float64."""
    return fully_connected(16, (12,), 4, dropout).double()


def cnn() -> nn.Module:
    """Two convolutions, of 4x4 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 6, 2, bias=False), nn.Tanh(), nn.Flatten()),
        nn.Linear(6, 4),
    ).double()


def transformer() -> nn.Module:
    """A layer, of 16 units."""
    return Transformer(Size(1, 16, 2, 32), tokens=20, longest=8).double()


def splits(*shape: int) -> Splits:
    """96 / 80 / 40 noisy points of four classes, in float64."""
    generator = torch.Generator().manual_seed(7)
    centers = torch.randn(4, *shape, generator=generator, dtype=torch.float64)

    def split(size: int) -> Split:
        targets = torch.arange(size) % 4
        noise = torch.randn(size, *shape, generator=generator, dtype=torch.float64)
        return Split(centers[targets] + noise, targets)

    return Splits(split(96), split(80), split(40))


def sentences() -> Splits:
    """64 / 32 rows of up to 8 tokens, of which each follows from the one before."""
    generator = torch.Generator().manual_seed(3)

    def split(size: int) -> Split:
        first = torch.randint(20, (size, 1), generator=generator)
        tokens = (first * 3 ** torch.arange(9)) % 20
        lengths = torch.randint(3, 9, (size, 1), generator=generator)
        there = torch.arange(8) < lengths
        return Split(tokens[:, :-1], tokens[:, 1:].masked_fill(~there, NO_TARGET))

    return Splits(split(64), split(32))


def workload(
    model: Callable[..., nn.Module] = mlp, algorithm: Algorithm | None = None, **other: Any
) -> Workload:
    """A workload of points; its search space stands for nothing, as trials are given values."""
    given = {"goal": Goal(ERROR_RATE, 0.15), **other}
    return Workload(
        name="points/any/any",
        data=splits,
        model=model,
        loss=given.pop("loss", cross_entropy),
        algorithm=Momentum() if algorithm is None else algorithm,
        search_space={},
        step_budget=given.pop("step_budget", 400),
        batch_sizes=(8,),
        **given,
    )


def language() -> Workload:
    """The same of sentences."""
    goal = Goal(TOKEN_CROSS_ENTROPY, 1.5)
    sgd = workload(transformer, SGD(), goal=goal, loss=token_cross_entropy)
    return replace(sgd, weight=token_count)


def draws(count: int, **values: Sequence[Any]) -> list[Metaparameters]:
    """Of each metaparameter the values in turn; learning rates and momenta that differ."""
    usual = {"learning_rate": (0.02, 0.05, 0.1), "momentum": (0.0, 0.5, 0.9, 0.7)}
    return [{n: v[k % len(v)] for n, v in {**usual, **values}.items()} for k in range(count)]


def runs(
    of: Workload, data: Splits, values: Sequence[Metaparameters], batch_size: int = 8
) -> list[ModelRun]:
    """Fresh trials, the k-th of seed 100 + k."""
    return [ModelRun(of, data, batch_size, own, 100 + k, CPU) for k, own in enumerate(values)]


def weights(run: ModelRun) -> Tensor:
    """All of them in a row."""
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def follow(
    of: Workload,
    data: Splits,
    values: Sequence[Metaparameters],
    steps: int = 200,
    tolerance: float = 1e-9,
) -> list[ModelRun]:
    """Trials of a vectorized heat, which have been found to follow the same trials one by one for
    so many steps, with a few looks."""
    alone, together = runs(of, data, values), runs(of, data, values)
    engine: Engine[ModelRun] = Vectorized()
    for to_step in (1, 2, steps // 2, steps):
        for full in (False, True):
            Sequential().advance(alone, to_step, NEVER)
            assert engine.advance(together, to_step, NEVER) == [True] * len(together)
            expected = Sequential().evaluate(alone, full=full)
            seen = engine.evaluate(together, full=full)
            for one, other in zip(expected, seen, strict=True):
                assert isinstance(one, GoalCheck)
                assert isinstance(other, GoalCheck)
                assert (other.passed, other.examples) == (one.passed, one.examples)
                assert (other.value is None) == (one.value is None)
                assert (other.value or 0.0) == pytest.approx(one.value or 0.0, rel=tolerance)
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one.evaluator.order, other.evaluator.order)
    assert all(map(is_stacked, together))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights(other), weights(one), rtol=tolerance, atol=tolerance)
        assert other.step == one.step == steps
    return together


def is_stacked(run: ModelRun) -> bool:
    """Whether a run's weights are rows of a stack of several."""
    first = next(run.model.parameters())
    return first.untyped_storage().nbytes() > first.nbytes
