"""Nested tensors, losses that call the model, and clipped gradients: a trial of a vectorized heat
follows the same trial computed by itself, or is computed so."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront.training.engines import Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.clipping import Clipping
from batchfront.training.vectorized.eligibility import why_not
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Examples, Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import Metric
from batchfront.workload.weight_average import WeightAverage
from batchfront.workload.workload import Workload
from tests import nested
from tests.batchfront.training.vectorized.trials import (
    CPU,
    NEVER,
    cnn,
    draws,
    follow,
    mlp,
    runs,
    splits,
    weights,
    workload,
)


@pytest.mark.parametrize("made", nested.ALL, ids=lambda made: made.__name__)
def test_with_any_structure_of_tensors(made: Callable[[], Workload]) -> None:
    of = made()
    follow(of, of.data(), draws(4), steps=60)


@pytest.mark.parametrize("processes", [0, 1])
def test_with_examples_of_a_data_set_whatever_is_kept_of_them(processes: int) -> None:
    def of(split: Split) -> Examples:
        rows = list(zip(split.inputs, split.targets, strict=True))
        return Examples.of(rows, augment=lambda x: x + 0.1 * torch.rand(()), processes=processes)

    memory = splits(16)
    made = Splits(of(memory.train), of(memory.validation))  # type: ignore[arg-type]
    of_these = workload(mlp, SGD())
    assert why_not(of_these, 8, made, {"learning_rate": 0.1}, [CPU]) is None
    follow(of_these, made, [{"learning_rate": 0.02 * 3**k} for k in range(3)], steps=12)


def adamw(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, learning_rate / 10)


def several(model: nn.Module, *, learning_rate: float) -> dict[str, torch.optim.Optimizer]:
    first, *others = model.parameters()
    return {
        "first": torch.optim.SGD([first], lr=learning_rate / 2, momentum=0.9),
        "others": torch.optim.AdamW(others, lr=learning_rate / 10),
    }


def by_name(
    named_parameters: list[tuple[str, Tensor]], *, learning_rate: float, head_rate: float
) -> torch.optim.Optimizer:
    head = [p for name, p in named_parameters if name.startswith("3")]
    body = [p for name, p in named_parameters if not name.startswith("3")]
    groups = [{"params": body, "weight_decay": 0.01}, {"params": head, "lr": head_rate}]
    return torch.optim.SGD(groups, lr=learning_rate)


@pytest.mark.parametrize(
    "algorithm",
    [
        SGD(),
        Momentum(),
        NesterovMomentum(),
        TorchOptimizer("adamw", adamw),
        TorchOptimizer("several", several),
        TorchOptimizer("by_name", by_name),
    ],
    ids=lambda a: a.name,
)
def test_with_gradients_clipped_to_each_trials_own_norm(data: Splits, algorithm: Algorithm) -> None:
    clipped = workload(mlp, algorithm, clip_norm=0.3)
    values = draws(5, head_rate=(0.01, 0.1))
    follow(clipped, data, values, steps=60)
    found = follow(clipped, data, draws(5, clip_norm=(0.05, 100.0), head_rate=(0.01,)), steps=60)
    without = runs(workload(mlp, algorithm), data, draws(5, head_rate=(0.01,)))
    Sequential().advance(without, 60, NEVER)
    assert not torch.equal(weights(found[0]), weights(without[0]))


def test_with_gradients_of_convolutions_clipped() -> None:
    calm = draws(4, learning_rate=(0.02, 0.05, 0.03), clip_norm=(0.1, 1.0))
    follow(workload(cnn), splits(1, 4, 4), calm, steps=60)


def test_clipped_to_the_bit_whatever_it_is_stacked_with(data: Splits) -> None:
    of, values = workload(clip_norm=0.3), draws(9, clip_norm=(0.1, 0.5))
    together = runs(of, data, values)
    Vectorized().advance(together, 30, NEVER)
    for count in (1, 2, 5):
        fewer = runs(of, data, values[:count])
        Vectorized().advance(fewer, 30, NEVER)
        assert all(map(torch.equal, map(weights, fewer), map(weights, together)))


@pytest.mark.parametrize("filled", [0.0, 1e-30, 1.0, 1e30, math.inf, math.nan])
def test_clips_as_torch_does_whatever_the_gradient_and_its_neighbours(filled: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (4,), (2, 3, 2, 2), ()]
    whole = [torch.randn(4, *shape, generator=generator) for shape in shapes]
    for gradient in whole:
        gradient[1] = filled
        gradient[3] = filled
    norms = [0.5, 0.5, None, None]
    found = Clipping(norms, whole[0])([whole[0], None, *whole[1:]])
    assert found[1] is None
    for row, norm in enumerate(norms):
        alone = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
        for parameter, gradient in zip(alone, whole, strict=True):
            parameter.grad = gradient[row].clone()
        if norm is not None:
            nn.utils.clip_grad_norm_(alone, norm)
        for parameter, clipped in zip(alone, [found[0], *found[2:]], strict=True):
            assert clipped is not None
            torch.testing.assert_close(clipped[row], parameter.grad, equal_nan=True)


def test_a_trial_that_diverges_leaves_those_clipped_beside_it_alone(data: Splits) -> None:
    values = draws(3, learning_rate=(0.05, 1e200, 0.05), momentum=(0.0,))
    alone, together = (runs(workload(mlp, SGD(), clip_norm=0.5), data, values) for _ in range(2))
    Sequential().advance(alone, 30, NEVER)
    Vectorized().advance(together, 30, NEVER)
    assert not alone[1].is_finite()
    for one, other in zip(alone, together, strict=True):
        assert other.engines == {"vectorized"}
        assert one.is_finite() == other.is_finite()
        torch.testing.assert_close(
            weights(other), weights(one), rtol=1e-9, atol=1e-9, equal_nan=True
        )


def averages(run: ModelRun) -> Tensor:
    assert run.average is not None
    return torch.cat([p.detach().flatten() for p in run.average.weights])


class Frozen(nn.Module):
    """With weights that aren't trained, and a buffer."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.net[1].weight.requires_grad_(False)  # type: ignore[index]
        self.register_buffer("scale", torch.tensor(1.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale * self.net(x)
        return y


@pytest.mark.parametrize("model", [mlp, Frozen], ids=["layers", "frozen"])
@pytest.mark.parametrize(
    "algorithm", [Momentum(), TorchOptimizer("adamw", adamw)], ids=["momentum", "adamw"]
)
@pytest.mark.parametrize("warmup", [False, True], ids=["plain", "warm-up"])
def test_with_averages_of_each_trials_own_decay(
    data: Splits, model: Callable[[], nn.Module], algorithm: Algorithm, warmup: bool
) -> None:
    of = workload(model, algorithm, average=WeightAverage(0.9, warmup), clip_norm=1.0)
    found = follow(of, data, draws(4, average_decay=(0.0, 0.9, 0.99)), steps=60)
    again = runs(of, data, draws(4, average_decay=(0.0, 0.9, 0.99)))
    Sequential().advance(again, 60, NEVER)
    for one, other in zip(again, found, strict=True):
        torch.testing.assert_close(averages(other), averages(one), rtol=1e-9, atol=1e-9)
    for one, other in zip(again, found, strict=True):  # and goes on by itself, and from a state
        one.restore(deepcopy(other.state()))
        for run in (one, other):
            run.advance(70)
        assert torch.equal(averages(one), averages(other))


def test_the_average_of_a_trial_that_diverges_is_what_it_is_alone(data: Splits) -> None:
    values = draws(3, learning_rate=(0.05, 1e200, 0.05), momentum=(0.0,))
    of = workload(mlp, SGD(), average=WeightAverage(0.9))
    for steps in (1, 2, 30):
        alone, together = (runs(of, data, values) for _ in range(2))
        Sequential().advance(alone, steps, NEVER)
        Vectorized().advance(together, steps, NEVER)
        assert together[0].engines == {"vectorized"}
        for one, other in zip(alone, together, strict=True):
            found, true = averages(other), averages(one)
            torch.testing.assert_close(found, true, rtol=1e-9, atol=1e-9, equal_nan=True)


def reason(of: Workload, values: dict[str, Any] | None = None) -> str | None:
    return why_not(of, 8, of.data(), {**nested.VALUES, **(values or {})}, [CPU])


class Normalizing(nn.Module):
    """Keeps a mean of its inputs in a buffer."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = nested.net()
        self.register_buffer("mean", torch.zeros(8, dtype=torch.float64))

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Any]:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(pixels.mean(0), 0.1)
        logits = self.net(pixels - self.mean)
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


class Untold:
    """A structure that nobody knows of."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class OfUntold(nested.OfDict):
    def forward(self, inputs: dict[str, Tensor]) -> Any:
        return Untold(super().forward(inputs))


def _noisy(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    pixels = batch["pixels"] + 0.1 * torch.randn_like(batch["pixels"])
    return model(pixels, batch["labels"])["loss"]  # type: ignore[no-any-return]


def _evaluating(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    loss: Tensor = model(**batch)["loss"]
    model.eval()
    return loss


def _asking(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    loss: Tensor = model(**batch)["loss"]
    return loss if loss.item() > 0.1 else 2 * loss


CALLS = 0


def _counting(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    global CALLS
    CALLS += 1
    loss: Tensor = model(**batch)["loss"]
    return loss * min(1.0, CALLS / 100)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"loss": _noisy}, "draws|random"),
        ({"loss": _evaluating}, "modes"),
        ({"loss": _asking}, "item"),
        ({"loss": _counting}, "CALLS"),
        ({"model": Normalizing}, "its training changes"),
    ],
    ids=["draws", "changes modes", "looks at values", "counts calls", "writes buffers"],
)
def test_losses_that_call_the_model_in_a_way_of_their_own(
    changed: dict[str, Any], said: str
) -> None:
    why = reason(replace(nested.own_loss(), **changed))
    assert why is not None
    assert any(word in why for word in said.split("|"))


def test_what_a_model_returns_that_nobody_can_look_into() -> None:
    def wrong(outputs: Untold, targets: Tensor) -> Tensor:
        return (outputs.logits.argmax(1) != targets).double()

    of = replace(
        nested.of_dict(),
        model=OfUntold,
        loss=lambda outputs, targets: F.cross_entropy(outputs.logits, targets),
        goal=Goal(Metric("wrong", wrong, "lower", 0, 1), 0.05),
    )
    assert "Untold" in (reason(of) or "")


def test_trials_whose_loss_takes_other_values_are_stacked_apart() -> None:
    def loss(model: nn.Module, batch: dict[str, Tensor], *, scale: float) -> Tensor:
        found: Tensor = model(**batch)["loss"]
        return scale * found

    of = replace(nested.own_loss(), loss=loss)
    values = draws(4, scale=(0.5, 2.0), momentum=(0.9,))
    alone, together = (
        [ModelRun(of, of.data(), 8, own, k, CPU) for k, own in enumerate(values)] for _ in "12"
    )
    Sequential().advance(alone, 20, NEVER)
    Vectorized().advance(together, 20, NEVER)
    assert all(run.engines == {"vectorized"} for run in together)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights(other), weights(one), rtol=1e-9, atol=1e-9)


def test_inputs_that_a_model_changes_are_not_what_its_targets_are() -> None:
    """Where a dict stands for both, a model's changes of it reach the loss: alone, they do."""

    class Changing(nested.OfDict):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            inputs["labels"] = 1 - inputs["labels"].clamp(max=1)
            return super().forward(inputs)

    def wrong(outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return (outputs.argmax(1) != targets["labels"]).double()

    of = replace(
        nested.own_loss(),
        model=Changing,
        loss=lambda outputs, targets: F.cross_entropy(outputs, targets["labels"]),
        goal=Goal(Metric("wrong", wrong, "lower", 0, 1), 0.05),
    )
    assert reason(of) is not None


def test_half_precision_targets_and_places_that_hold_nothing() -> None:
    x, y = nested.points()
    given = {"pixels": x, "nothing": None, "labels": F.one_hot(y, 3).half()}

    def rows(part: slice) -> Split:
        return Split({k: None if v is None else v[part] for k, v in given.items()})

    def wrong(outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return (outputs.argmax(1) != targets["labels"].argmax(1)).double()

    of = replace(
        nested.of_dict(),
        data=lambda: Splits(rows(slice(200)), rows(slice(200, 300))),
        loss=lambda outputs, targets: F.cross_entropy(outputs, targets["labels"].double()),
        goal=Goal(Metric("wrong", wrong, "lower", 0, 1), 0.05),
    )
    follow(of, of.data(), draws(3), steps=40)
