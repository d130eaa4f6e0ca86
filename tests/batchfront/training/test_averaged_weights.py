"""A trial that is evaluated by the average of its weights, against a loop as people write it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from batchfront.errors import WorkloadError
from batchfront.training.evaluation import full_metric
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.lost_state import lost_state
from batchfront.workload.data import Split, Splits
from batchfront.workload.data_order import DataOrder
from batchfront.workload.execution import Execution
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.losses import cross_entropy
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import SeedStream
from batchfront.workload.weight_average import WeightAverage
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized import trials

SEED, BATCH_SIZE, STEPS = 5, 8, 40
CPU = torch.device("cpu")
AVERAGE = WeightAverage(0.9)


def normalized() -> nn.Module:
    """Of 4x4 pixels, with running means of two kinds."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2),
        GhostBatchNorm2d(6, ghost_size=4),
        nn.Flatten(),
        nn.Linear(54, 4),
    ).double()


def averaged(average: WeightAverage = AVERAGE, **other: Any) -> Workload:
    def sgd(parameters: list[nn.Parameter], *, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=learning_rate)

    return trials.workload(normalized, sgd, average=average, **other)  # type: ignore[arg-type]


def start(workload: Workload, **values: Any) -> ModelRun:
    data = trials.splits(1, 4, 4)
    given: Metaparameters = {"learning_rate": 0.05, **values}
    return ModelRun(workload, data, BATCH_SIZE, given, SEED, CPU)


def by_hand(decay: float, steps: int) -> tuple[nn.Module, nn.Module]:
    """The model, and its average, after so many steps."""
    data = trials.splits(1, 4, 4).train
    torch.manual_seed(SeedStream.INITIAL_WEIGHTS.seed(SEED))
    model = normalized()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    order = DataOrder(len(data), BATCH_SIZE, SeedStream.ORDER.seed(SEED), CPU)
    for indices in order.batches(0, steps):
        inputs, targets = data.batch(indices)
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        average.update_parameters(model)
    return model, average.module


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_the_average_and_the_weights_are_those_of_a_loop_by_hand(steps: int) -> None:
    run = start(averaged())
    run.advance(steps)
    model, average = by_hand(0.9, steps)
    assert_equal(run.model, model)
    assert_equal(run.evaluated, average)


def test_evaluations_are_of_the_average() -> None:
    workload = averaged()
    run = start(workload)
    run.advance(STEPS)
    _, average = by_hand(0.9, STEPS)
    metric = workload.goal.computed
    assert run.evaluate(full=True).value == full_metric(average, run.splits.validation, metric)
    assert run.splits.test is not None
    assert run.test_metric() == full_metric(average, run.splits.test, metric)


def test_evaluating_in_between_changes_nothing() -> None:
    run = start(averaged())
    for step in range(1, STEPS + 1):
        run.advance(step)
        run.evaluate(full=step % 2 == 0)
    model, average = by_hand(0.9, STEPS)
    assert_equal(run.model, model)
    assert_equal(run.evaluated, average)


def test_the_decay_may_be_searched() -> None:
    run = start(averaged(), average_decay=0.5)
    run.advance(STEPS)
    assert_equal(run.evaluated, by_hand(0.5, STEPS)[1])


def test_an_untrained_average_is_the_untrained_model() -> None:
    run = start(averaged())
    assert_equal(run.evaluated, run.model)


def test_a_trial_without_an_average_evaluates_its_model() -> None:
    run = start(replace(averaged(), average=None))
    assert run.evaluated is run.model
    assert "average" not in run.state()


def test_it_goes_on_from_a_file_bit_for_bit(tmp_path: Path) -> None:
    first, second = start(averaged()), start(averaged())
    first.advance(STEPS // 3)
    first.evaluate(full=False)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_equal(second.evaluated, by_hand(0.9, STEPS // 3)[1])
    second.advance(STEPS)
    model, average = by_hand(0.9, STEPS)
    assert_equal(second.model, model)
    assert_equal(second.evaluated, average)


def test_warming_up_forgets_the_first_weights_sooner() -> None:
    """As diffusers' EMAModel: min(decay, (1 + t) / (10 + t)) after t + 1 steps, and 0 at first."""
    run = start(averaged(WeightAverage(0.6, warmup=True)))
    expected: dict[str, Tensor] = {}
    for step in range(STEPS):
        run.advance(step + 1)
        decay = min(0.6, (1 + step) / (10 + step)) if step else 0.0
        for name, weight in run.model.named_parameters():
            before = expected.get(name, weight.detach())
            expected[name] = decay * before + (1 - decay) * weight.detach()
    assert [AVERAGE.share(t, {}) for t in (0, 1, 500)] == [1.0, 1 - 0.9, 1 - 0.9]
    for name, weight in run.evaluated.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-12, atol=1e-12)


def test_weights_that_two_layers_share_are_averaged_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.second(self.first(x))
            return found

    workload = trials.workload(lambda: Tied().double(), average=AVERAGE)
    values = {"learning_rate": 0.01, "momentum": 0.5}
    run = ModelRun(workload, trials.splits(16), 8, values, SEED, CPU)
    run.advance(10)
    assert isinstance(run.evaluated, Tied)
    assert run.evaluated.second.weight is run.evaluated.first.weight
    assert not torch.equal(run.evaluated.first.weight, run.model.get_parameter("first.weight"))


def test_it_is_computed_as_its_model_is() -> None:
    single = replace(averaged(), model=lambda: normalized().float())
    lower = replace(single, execution=Execution(precision="bfloat16", channels_last=True))
    pixels = Split(torch.randn(8, 1, 4, 4), torch.arange(8) % 4)
    found: list[Tensor] = []
    for workload in (single, lower):
        values = {"learning_rate": 0.05}
        run = ModelRun(workload, Splits(pixels, pixels), BATCH_SIZE, values, SEED, CPU)
        computed = run._evaluated()
        computed.eval()
        with torch.no_grad():
            found.append(computed(pixels.inputs))
    assert found[1].dtype == torch.float32
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, rtol=0.1, atol=0.1)


def test_its_state_is_kept_as_far_as_preflight_can_tell() -> None:
    workload, data = averaged(), trials.splits(1, 4, 4)
    assert lost_state(workload, data, {"learning_rate": 0.05}, 8, large=False) is None


def test_what_evaluations_change_in_the_averaged_copy_is_told() -> None:
    class Counting(nn.Linear):
        evaluations = 0

        def forward(self, x: Tensor) -> Tensor:
            self.evaluations += not self.training
            return super().forward(x)

    workload = trials.workload(lambda: Counting(16, 4).double(), average=AVERAGE)
    values = {"learning_rate": 0.01, "momentum": 0.5}
    lost = lost_state(workload, trials.splits(16), values, 8, large=False)
    assert lost is not None
    assert "evaluations" in lost


@pytest.mark.parametrize("decay", [1.0, -0.1, True, "0.9", float("nan")])
def test_a_decay_that_is_none_is_refused(decay: Any) -> None:
    with pytest.raises(WorkloadError, match=r"decay must be a number from 0 up to"):
        WeightAverage(decay)
    with pytest.raises(WorkloadError, match=r"average_decay must be a number from 0"):
        AVERAGE.share(3, {"average_decay": decay})


def test_a_model_that_cannot_be_copied_is_told() -> None:
    class Open(nn.Linear):
        def __init__(self) -> None:
            super().__init__(16, 4)
            self.lines = (line for line in "ab")

    workload = trials.workload(lambda: Open().double(), average=AVERAGE)
    values = {"learning_rate": 0.01, "momentum": 0.5}
    with pytest.raises(WorkloadError, match=r"copy of the model, and copy.deepcopy can't make one"):
        ModelRun(workload, trials.splits(16), 8, values, SEED, CPU)
