"""Steps that are laid out ahead come to the bits of those that aren't."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized import stack
from batchfront.training.vectorized.stack import Stack
from batchfront.training.vectorized.static_gradients import _may_lie_in_columns
from batchfront.workload.data import Part, Split, Splits
from batchfront.workload.losses import cross_entropy
from batchfront.workload.metrics import NO_TARGET
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized.trials import NEVER, draws, mlp, runs, weights, workload

STEPS = 150  # more than are looked up at once


def images(classes: int, dtype: torch.dtype = torch.float32) -> Splits:
    """96 / 80 noisy images of 4x4 pixels."""
    generator = torch.Generator().manual_seed(7)
    centers = torch.randn(classes, 4, 4, generator=generator)

    def split(size: int) -> Split:
        targets = torch.arange(size) % classes
        noise = torch.randn(size, 4, 4, generator=generator)
        return Split((centers[targets] + noise).to(dtype), targets)

    return Splits(split(96), split(80))


def network(classes: int, *, bias: bool = True) -> Callable[[], nn.Module]:
    def model() -> nn.Module:
        layers = [nn.Flatten(), nn.Linear(16, 12, bias), nn.ReLU(), nn.Dropout(0.0)]
        middle = nn.Sequential(nn.Linear(12, 12), nn.Identity(), nn.Linear(12, 9, bias), nn.ReLU())
        return nn.Sequential(*layers, middle, nn.Linear(9, classes))

    return model


def even() -> nn.Module:
    """Of widths by which every trial's weights lie alike in memory."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def slow(count: int) -> list[Metaparameters]:
    return draws(count, learning_rate=(0.005, 0.01, 0.02))


def trained(of: Workload, data: Splits, values: list[Metaparameters], size: int) -> list[ModelRun]:
    """Trials of a stack, one of which leaves it on the way."""
    found = runs(of, data, values, size)
    together = Stack(found)
    together.advance([70] * len(found), NEVER)
    found[0].advance(STEPS)
    Stack(found[1:]).advance([STEPS] * (len(found) - 1), NEVER)
    return found


def is_laid_out(of: Workload, data: Splits, **values: Any) -> bool:
    return Stack(runs(of, data, draws(2, **values)))._static is not None


@pytest.mark.parametrize(
    ("classes", "batch_size", "trials"), [(10, 8, 5), (10, 16, 3), (4, 7, 3), (26, 8, 2)]
)
def test_they_come_to_the_same_bits(
    classes: int, batch_size: int, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data, values = workload(network(classes)), images(classes), slow(trials)
    assert is_laid_out(of, data)
    found = trained(of, data, values, batch_size)
    monkeypatch.setattr(stack, "is_static", lambda *given: False)
    wanted = trained(of, data, values, batch_size)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(weights(one), weights(other))
        assert torch.equal(one.loss_sum, other.loss_sum)
        own, others = one.state()["optimizer"], other.state()["optimizer"]
        assert all(map(torch.equal, own["velocities"], others["velocities"]))


def test_a_trial_comes_to_the_same_bits_in_any_company() -> None:
    of, data, values = workload(even), images(10), slow(16)
    everyone = runs(of, data, values)
    Stack(everyone).advance([STEPS] * 16, NEVER)
    for few in (everyone[:1], everyone[3:5], everyone[8:]):
        again = [runs(of, data, values)[everyone.index(run)] for run in few]
        Stack(again).advance([STEPS] * len(few), NEVER)
        for one, other in zip(few, again, strict=True):
            assert torch.equal(weights(one), weights(other))


def test_examples_may_be_parts_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given, of, values = images(4), workload(network(4)), slow(2)
    some = torch.randperm(96, generator=torch.Generator().manual_seed(1))[:60]
    part = Part(Part(given.train, some), torch.arange(40).flip(0))
    data = Splits(part, given.validation)
    assert is_laid_out(of, data)
    found = trained(of, data, values, 8)
    monkeypatch.setattr(stack, "is_static", lambda *given: False)
    for one, other in zip(found, trained(of, data, values, 8), strict=True):
        assert torch.equal(weights(one), weights(other))


def tanh() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))


def twice() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 4))


def early() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(16, 4))


def rectified() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU())


@pytest.mark.parametrize("model", [tanh, twice, early, rectified], ids=lambda made: made.__name__)
def test_other_layers_are_computed_as_before(model: Callable[[], nn.Module]) -> None:
    assert not is_laid_out(workload(model), images(4))


def test_other_losses_and_targets_are_computed_as_before() -> None:
    def halved(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, targets) / 2

    data, of = images(4), workload(network(4))
    assert not is_laid_out(workload(network(4), loss=halved), data)
    assert not is_laid_out(of, data, label_smoothing=(0.1, 0.0))
    targets = data.train.targets.clone()  # type: ignore[attr-defined]
    targets[3] = NO_TARGET
    missing = Split(data.train.inputs, targets)  # type: ignore[attr-defined]
    assert not is_laid_out(of, Splits(missing, data.validation))
    assert is_laid_out(workload(mlp), images(4, torch.float64))


def test_columns_are_taken_where_they_come_to_the_same_bits() -> None:
    rows = torch.randn(16 * 99, 10, generator=torch.Generator().manual_seed(3)) * 9
    lying = torch._log_softmax(rows.t().contiguous(), 0, False).t()
    same = torch.equal(lying, torch._log_softmax(rows, 1, False))
    assert _may_lie_in_columns(10, torch.float32) == same
