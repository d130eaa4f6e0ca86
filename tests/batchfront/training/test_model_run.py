"""A trial's result is its own: the same alone, interrupted, restored, and in another process."""

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Splits
from batchfront.workload.goal import Goal
from batchfront.workload.lr_schedule import Constant, LinearDecay, Schedule, WarmupCosine
from batchfront.workload.metrics import CROSS_ENTROPY
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload
from tests.toy import clouds, splits

CPU = torch.device("cpu")
STEPS = 60
VALUES: Metaparameters = {
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "decay_steps": 40,
    "decay_factor": 0.1,
    "warmup_steps": 5,
    "total_steps": 50,
}


def _adamw(
    parameters: list[Tensor], *, learning_rate: float, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)


ALGORITHMS = [SGD(), Momentum(), NesterovMomentum(), TorchOptimizer("adamw", _adamw)]
SCHEDULES = [Constant(), LinearDecay(), WarmupCosine()]

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits()


def workload(algorithm: Algorithm, schedule: Schedule) -> Workload:
    return replace(clouds(), algorithm=algorithm, schedule=schedule)


def fresh(made_of: Workload, data: Splits, seed: int = 3, batch_size: int = 7) -> ModelRun:
    return ModelRun(made_of, data, batch_size, VALUES, seed, CPU)


def look(run: ModelRun) -> GoalCheck:
    """Every third look is a full one, as in a heat some are."""
    return run.evaluate(full=run.step % 3 == 0)


def undisturbed(run: ModelRun) -> list[GoalCheck]:
    found = []
    for step in range(run.step + 1, STEPS + 1):
        run.advance(step)
        found.append(look(run))
    return found


def assert_same(one: ModelRun, other: ModelRun) -> None:
    """Equal in every bit that the rest of the training, or the report, could depend on."""
    before, after = one.model.state_dict(), other.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert one.evaluations == other.evaluations
    assert one.step == other.step
    assert torch.equal(one.evaluator.order, other.evaluator.order)
    assert one.cost.evaluated_examples == other.cost.evaluated_examples


@every_schedule
@every_algorithm
def test_interrupted_at_any_step_and_restored_from_a_file_it_ends_in_the_same_bits(
    algorithm: Algorithm, schedule: Schedule, data: Splits, tmp_path: Path
) -> None:
    made_of = workload(algorithm, schedule)
    expected = fresh(made_of, data)
    wanted = undisturbed(expected)
    chance = Random(algorithm.name)
    run, found = fresh(made_of, data), []
    for step in range(1, STEPS + 1):
        if chance.random() < 0.2:
            torch.save(run.state(), tmp_path / "state.pt")
            run = fresh(made_of, data)
            run.restore(torch.load(tmp_path / "state.pt", weights_only=True))
        run.advance(step)
        found.append(look(run))
    assert found == wanted
    assert_same(run, expected)


@every_algorithm
def test_stopped_between_two_looks_it_goes_on_from_that_very_step(
    algorithm: Algorithm, data: Splits
) -> None:
    made_of = workload(algorithm, LinearDecay())
    expected, run, stop = fresh(made_of, data), fresh(made_of, data), Event()
    expected.advance(40)

    calls = 0

    def stopping(outputs: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 12:
            stop.set()
        return made_of.loss(outputs, targets, label_smoothing=label_smoothing)

    run.gradient.workload = replace(made_of, loss=stopping)
    assert not run.advance(40, stop)
    assert run.step == 12
    resumed = fresh(made_of, data)
    resumed.restore(run.state())
    assert resumed.advance(40, Event())
    assert resumed.evaluate(full=True) == expected.evaluate(full=True)
    assert_same(resumed, expected)


@every_algorithm
def test_beside_others_it_ends_in_the_same_bits_as_alone(
    algorithm: Algorithm, data: Splits
) -> None:
    made_of = workload(algorithm, LinearDecay())
    alone = [fresh(made_of, data, seed) for seed in range(3)]
    wanted = [undisturbed(run) for run in alone]
    together = [fresh(made_of, data, seed) for seed in range(3)]
    found: list[list[GoalCheck]] = [[], [], []]
    for step in range(1, STEPS + 1):
        for index, run in enumerate(together):
            run.advance(step)
            found[index].append(look(run))
    assert found == wanted
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_another_process_trains_it_to_the_same_bits(data: Splits, tmp_path: Path) -> None:
    run = fresh(clouds(), data)
    undisturbed(run)
    code = (
        "import torch; torch.set_num_threads(1); torch.rand(9)\n"
        "from tests.batchfront.training.test_model_run import *\n"
        f"run = fresh(clouds(), splits()); undisturbed(run)\n"
        f"torch.save(run.state(), {str(tmp_path / 'there.pt')!r})"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
    there = fresh(clouds(), data)
    there.restore(torch.load(tmp_path / "there.pt", weights_only=True))
    assert_same(run, there)


def test_what_the_process_drew_before_does_not_matter(data: Splits) -> None:
    one = fresh(clouds(), data)
    torch.manual_seed(99)
    torch.rand(3)
    other = fresh(clouds(), data)
    undisturbed(one)
    for step in range(1, STEPS + 1):
        torch.rand(5)
        other.advance(step)
        look(other)
    assert_same(one, other)


def test_another_seed_gives_other_weights_another_order_and_other_dropout(data: Splits) -> None:
    one, other = fresh(clouds(), data, 1), fresh(clouds(), data, 2)
    assert not torch.equal(next(one.model.parameters()), next(other.model.parameters()))
    assert not torch.equal(one.order.batch(0), other.order.batch(0))
    dropped = []
    for run in (one, other):
        run.model.load_state_dict(one.model.state_dict())
        run.order = one.order
        run.advance(1)
        dropped.append(run.is_finite() and run.model.state_dict()["4.weight"].clone())
    assert not torch.equal(*dropped)


def test_dropout_differs_from_step_to_step(data: Splits) -> None:
    masks: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = nn.functional.dropout(torch.ones(64), 0.5, self.training)
            masks.append(y)
            return x

    made_of = replace(clouds(), model=lambda: nn.Sequential(Watched(), nn.Linear(2, 3)))
    fresh(made_of, data).advance(2)
    _, first, second = masks  # before them, the untrained loss
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.ones(64))


def test_looking_changes_nothing_in_the_training(data: Splits) -> None:
    looked, unseen = fresh(clouds(), data), fresh(clouds(), data)
    undisturbed(looked)
    unseen.advance(STEPS)
    before, after = looked.model.state_dict(), unseen.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


class Noisy(nn.Module):
    """Draws from all generators of the process: when made, in training and in evaluation."""

    def __init__(self, *, first: int = 0, normalized: bool = False) -> None:
        super().__init__()
        self.first, self.calls = first, 0
        self.linear = nn.Linear(2, 3)
        with torch.no_grad():
            self.linear.weight += 0.1 * torch.from_numpy(np.random.randn(3, 2)).float()
            self.linear.bias += 0.1 * random.gauss(0.0, 1.0)
        self.norm = nn.BatchNorm1d(2) if normalized else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        y: Tensor = self.linear(self.norm(x))
        if self.training and self.calls <= self.first:
            return y
        noise = torch.from_numpy(np.random.randn(*y.shape)).float() + torch.randn(y.shape)
        return y + 0.3 * noise + 0.3 * random.random()


NOISY = {
    "from the start": Noisy,
    "from the ninth step on": partial(Noisy, first=8),
    "with buffers": partial(Noisy, normalized=True),
}


@pytest.mark.parametrize("model", NOISY.values(), ids=NOISY.keys())
def test_a_model_that_draws_is_the_same_trial_beside_others_and_after_whatever_was_drawn(
    model: Callable[[], nn.Module], data: Splits
) -> None:
    made_of = replace(clouds(), model=model)
    alone = [fresh(made_of, data, seed) for seed in range(3)]
    wanted = [undisturbed(run) for run in alone]
    np.random.seed(5)
    together = [fresh(made_of, data, seed) for seed in range(3)]
    found: list[list[GoalCheck]] = [[], [], []]
    for step in range(1, STEPS + 1):
        for index, run in enumerate(together):
            random.gauss(0.0, 1.0)
            np.random.randn()
            run.advance(step)
            found[index].append(look(run))
    assert found == wanted
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
        assert one.untrained_loss == other.untrained_loss
        assert one.test_metric() == other.test_metric()
    assert len({run.untrained_loss for run in alone}) == 3
    assert len({run.evaluations[-1].loss for run in alone}) == 3


@pytest.mark.parametrize(
    "model", [Noisy, partial(Noisy, normalized=True)], ids=["plain", "buffers"]
)
def test_a_model_that_draws_goes_on_after_an_interruption_as_if_there_had_been_none(
    model: Callable[[], nn.Module], data: Splits
) -> None:
    made_of = replace(clouds(), model=model)
    expected, run = fresh(made_of, data), fresh(made_of, data)
    wanted, found = undisturbed(expected), []
    for step in range(1, STEPS + 1):
        if step in (2, 17, 18, 40):
            state = run.state()
            np.random.rand(step)
            run = fresh(made_of, data)
            run.restore(state)
        run.advance(step)
        found.append(look(run))
    assert found == wanted
    assert_same(run, expected)


def test_a_look_draws_what_belongs_to_its_step(data: Splits) -> None:
    run = fresh(replace(clouds(), model=Noisy, goal=Goal(CROSS_ENTROPY, 0.1)), data)
    found = []
    for step in (1, 1, 2, 1):
        run.step = step
        run.evaluator.order = torch.arange(len(data.validation))
        found.append((run.evaluate(full=True).value, run.test_metric()))
    assert found[0] == found[1] == found[3]
    assert all(one != other for one, other in zip(found[0], found[2], strict=True))


def test_an_optimizer_that_draws_draws_its_own_numbers(data: Splits) -> None:
    class Shaking(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step(closure)
            for group in self.param_groups:
                for parameter in group["params"]:
                    noise = float(np.random.randn()) + random.random() + torch.rand(()).item()
                    parameter.data.add_(1e-3 * noise)

    def factory(parameters: Any, *, learning_rate: float) -> torch.optim.Optimizer:
        return Shaking(parameters, lr=learning_rate)

    made_of = workload(TorchOptimizer("shaking", factory), Constant())
    expected, run = fresh(made_of, data), fresh(made_of, data)
    undisturbed(expected)
    for step in range(1, STEPS + 1):
        np.random.randn()
        if step == 20:
            state = run.state()
            run = fresh(made_of, data)
            run.restore(state)
        run.advance(step)
        look(run)
    assert_same(run, expected)


def test_batch_normalization_is_trained_in_training_and_restored_with_the_rest(
    data: Splits,
) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))

    made_of = replace(clouds(), model=model)
    expected, run = fresh(made_of, data), fresh(made_of, data)
    undisturbed(expected)
    for step in range(1, 31):
        run.advance(step)
        look(run)
    resumed = fresh(made_of, data)
    resumed.restore(run.state())
    undisturbed(resumed)
    assert resumed.model.state_dict()["0.num_batches_tracked"] == STEPS
    assert_same(resumed, expected)


def test_a_full_look_keeps_the_mean_training_loss_since_the_one_before(data: Splits) -> None:
    losses: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        found = nn.functional.cross_entropy(outputs, targets)
        losses.append(found.item())
        return found

    run = fresh(replace(clouds(), loss=loss), data)
    assert run.untrained_loss == losses.pop()
    for until in (3, 10):
        run.advance(until)
        run.evaluate(full=False)
        run.evaluate(full=True)
    first, second = run.evaluations
    assert (first.step, second.step) == (3, 10)
    assert first.loss == pytest.approx(sum(losses[:3]) / 3)
    assert second.loss == pytest.approx(sum(losses[3:]) / 7)


def test_a_training_loss_that_is_not_a_number_is_noticed(data: Splits) -> None:
    run = fresh(clouds(), data)
    run.advance(3)
    assert run.is_finite()
    next(run.model.parameters()).data.fill_(float("nan"))
    run.advance(4)
    assert not run.is_finite()


def test_the_test_metric_is_that_of_the_test_split_or_none_without_one(data: Splits) -> None:
    run = fresh(clouds(), data)
    wrong = run.model.eval()(data.test.inputs).argmax(dim=1) != data.test.targets  # type: ignore[union-attr]
    assert run.test_metric() == pytest.approx(wrong.float().mean().item())
    assert fresh(clouds(), Splits(data.train, data.validation)).test_metric() is None
