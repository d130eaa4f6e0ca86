"""Gradients that are written out are those that autograd finds."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.training.vectorized.forward import Layered
from batchfront.training.vectorized.gradients import ByAutograd, Written, is_written
from batchfront.training.vectorized.losses import Losses
from batchfront.workload.data import Batch
from batchfront.workload.layers import Dropout
from batchfront.workload.losses import cross_entropy, token_cross_entropy
from batchfront.workload.metrics import NO_TARGET
from batchfront.workload.microbatch import MicroBatch
from tests.batchfront.training.vectorized.trials import CPU, cnn, mlp

TRIALS = 3


def every_kind() -> nn.Module:
    return nn.Sequential(
        nn.Identity(),
        nn.Flatten(),
        nn.Linear(16, 12, bias=False),
        nn.Tanh(),
        Dropout(0.3),
        nn.Sequential(nn.Linear(12, 12), nn.Dropout(0.0), nn.ReLU()),
        nn.Linear(12, 9),
        nn.Sigmoid(),
        nn.Linear(9, 4),
    ).double()


def of_rows() -> nn.Module:
    """A class of every token."""
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).double()


def stacked(model: Callable[[], nn.Module]) -> tuple[Layered, dict[str, Tensor]]:
    """Models that differ, and their weights."""
    models = [model() for _ in range(TRIALS)]
    named = [dict(one.named_parameters()) for one in models]
    weights = {n: torch.stack([own[n].detach() for own in named]) for n in named[0]}
    return Layered(models), {name: w.requires_grad_() for name, w in weights.items()}


def assert_same(
    model: Callable[[], nn.Module], losses: Losses, inputs: Tensor, targets: Tensor
) -> None:
    forward, weights = stacked(model)
    assert is_written(forward, weights)
    expected = ByAutograd(
        lambda batch, parts: losses(forward(weights, batch.inputs, parts), batch.targets),
        list(weights.values()),
    )
    micro_batches = [[MicroBatch(0, 5, 5, seed) for seed in range(TRIALS)] for _ in range(2)]
    one, gradients = Written(forward, weights, losses)(Batch(inputs, targets), micro_batches[0])
    other, wanted = expected(Batch(inputs, targets), micro_batches[1])
    torch.testing.assert_close(one, other.detach(), rtol=1e-12, atol=1e-12)
    for found, true in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-10, atol=1e-12)


def points() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(TRIALS, 5, 4, 4, dtype=torch.float64)
    return inputs, torch.randint(4, (TRIALS, 5))


def test_of_every_kind_of_layer() -> None:
    assert_same(every_kind, Losses(cross_entropy, [{}] * TRIALS, CPU), *points())


@pytest.mark.parametrize("smoothing", [(0.0, 0.0, 0.0), (0.1, 0.0, 0.4)], ids=str)
def test_of_a_cross_entropy_in_which_targets_are_missing(smoothing: Sequence[float]) -> None:
    values = [{"label_smoothing": share} for share in smoothing]
    inputs = torch.randn(TRIALS, 5, 7, 8, dtype=torch.float64)
    targets = torch.randint(4, (TRIALS, 5, 7))
    targets[:, 1, 3:] = targets[0, 2] = NO_TARGET
    assert_same(of_rows, Losses(token_cross_entropy, values, CPU), inputs, targets)


def test_of_any_other_loss() -> None:
    def cubed(outputs: Tensor, targets: Tensor, *, power: float) -> Tensor:
        return (outputs - nn.functional.one_hot(targets, 4)).abs().pow(power).mean()

    values: list[dict[str, Any]] = [{"power": power} for power in (2.0, 3.0, 2.5)]
    assert_same(every_kind, Losses(cubed, values, CPU), *points())


def test_what_is_not_written_out_is_left_to_autograd() -> None:
    assert not is_written(*stacked(cnn))
    forward, weights = stacked(mlp)
    weights["1.bias"] = weights["1.bias"].detach()  # not trained
    assert not is_written(forward, weights)
    tied = nn.Linear(4, 4)
    assert not is_written(*stacked(lambda: nn.Sequential(tied, nn.ReLU(), tied)))
