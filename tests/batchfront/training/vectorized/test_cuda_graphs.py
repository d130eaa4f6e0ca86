"""Steps that are replayed as graphs do what they do by themselves, or are not replayed.

There is no GPU in these tests. In place of what captures a step stands a function that runs it as
often, and whose replay is to call it again: so all is tested but the capture itself.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from batchfront.training.vectorized import cuda_graphs as graphs
from batchfront.training.vectorized import stack
from batchfront.training.vectorized.cuda_graphs import Graphed, may_be_graphed
from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Part, Split, Splits
from batchfront.workload.lr_schedule import LinearDecay
from tests.batchfront.training.vectorized.test_same_results import adamw
from tests.batchfront.training.vectorized.trials import (
    CPU,
    cnn,
    draws,
    follow,
    mlp,
    splits,
    workload,
)


class Replays:
    """Stands for `captured`, and counts."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        for _ in range(3):
            step()

        def replay() -> None:
            self.replayed += 1
            step()

        return replay


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Replays:
    """As if there were a device with graphs."""
    found = Replays()
    monkeypatch.setattr(graphs, "captured", found)
    monkeypatch.setattr(stack, "may_be_graphed", lambda *_: True)
    monkeypatch.setattr(stack, "AFTER", 10)
    return found


@pytest.mark.parametrize("algorithm", [SGD(), Momentum(), NesterovMomentum()], ids=lambda a: a.name)
def test_trials_that_are_replayed_are_those_that_are_not(
    data: Splits, replays: Replays, algorithm: Algorithm
) -> None:
    values = draws(4, weight_decay=(1e-3, 0.0), label_smoothing=(0.1, 0.0))
    follow(workload(mlp, algorithm), data, values)
    assert replays.captured == 1
    assert replays.replayed == 200 - 10


def test_rates_that_decay_are_those_of_each_step(data: Splits, replays: Replays) -> None:
    values = draws(4, decay_steps=(50, 150), decay_factor=(0.01, 0.3))
    follow(workload(schedule=LinearDecay()), data, values)
    assert replays.replayed


def test_convolutions_are_replayed_too(replays: Replays) -> None:
    follow(workload(cnn), splits(1, 4, 4), draws(3, learning_rate=(0.02, 0.05)), steps=60)
    assert replays.replayed


@pytest.mark.parametrize(
    ("algorithm", "values"),
    [(Momentum(), draws(3, dropout=(0.2,))), (TorchOptimizer("adamw", adamw), draws(3))],
    ids=["dropout", "adamw"],
)
def test_what_draws_numbers_or_has_an_optimizer_of_its_own_is_not_captured(
    data: Splits, replays: Replays, algorithm: Algorithm, values: list[dict[str, float]]
) -> None:
    follow(workload(mlp, algorithm), data, values, steps=40)
    assert not replays.captured


def test_only_what_is_gathered_on_a_gpu_is_replayed() -> None:
    split = Split(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    gpu = torch.device("cuda", 0)
    assert may_be_graphed(gpu, split)
    assert may_be_graphed(gpu, Part(split, torch.arange(2)))
    assert not may_be_graphed(CPU, split)


def refuses(_step: Callable[[], None]) -> Callable[[], None]:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


def breaks(step: Callable[[], None]) -> Callable[[], None]:
    step()
    return refuses(step)


def does_nothing(_step: Callable[[], None]) -> Callable[[], None]:
    return lambda: None


def does_twice(step: Callable[[], None]) -> Callable[[], None]:
    return lambda: (step(), step())[0]


@pytest.mark.parametrize(
    ("capture", "why"),
    [
        (refuses, "CUDA error: operation not permitted when stream is capturing"),
        (breaks, "CUDA error: operation not permitted when stream is capturing"),
        (does_nothing, "its replay comes to other numbers"),
        (does_twice, "its replay comes to other numbers"),
    ],
)
def test_a_step_that_is_not_replayed_as_it_is_goes_on_without(
    capture: graphs.Capture, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    weights = torch.tensor([1.0, -2.0, float("nan")])

    def step() -> None:
        weights.mul_(3.0)

    graphed = Graphed(step, [weights], capture)
    for _ in range(3):
        graphed()
    assert_is(weights, 27.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"steps are not replayed as a CUDA graph: {why}"
    ]


def assert_is(weights: Tensor, factor: float) -> None:
    expected = factor * torch.tensor([1.0, -2.0, float("nan")])
    torch.testing.assert_close(weights, expected, equal_nan=True)


def test_what_a_step_raises_is_raised_and_changes_nothing() -> None:
    weights = torch.ones(2)

    def step() -> None:
        raise ZeroDivisionError("a crack")

    with pytest.raises(ZeroDivisionError):
        Graphed(step, [weights], Replays())()
    assert torch.equal(weights, torch.ones(2))
