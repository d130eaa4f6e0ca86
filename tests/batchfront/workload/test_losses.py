"""Losses: means over a batch, with label smoothing."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batchfront.workload.losses import cross_entropy, sigmoid_cross_entropy, token_cross_entropy
from batchfront.workload.metrics import NO_TARGET


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_sigmoid_cross_entropy_is_summed_over_labels_and_averaged_over_examples(
    dtype: torch.dtype,
) -> None:
    outputs, targets = torch.randn(5, 3), torch.rand(5, 3) < 0.5
    probabilities = outputs.sigmoid()
    costs = -torch.where(targets, probabilities, 1 - probabilities).log()
    found = sigmoid_cross_entropy(outputs, targets.to(dtype))
    torch.testing.assert_close(found, costs.sum() / 5)


def test_label_smoothing_moves_each_label_towards_one_half() -> None:
    outputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3) < 0.5
    smooth = torch.where(targets, 0.95, 0.05).double()
    expected = F.binary_cross_entropy_with_logits(outputs, smooth, reduction="sum") / 5
    found = sigmoid_cross_entropy(outputs, targets, label_smoothing=0.1)
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float64


def test_outputs_of_16_bits_are_summed_in_32() -> None:
    outputs = torch.zeros(1, 5000, dtype=torch.bfloat16)
    found = sigmoid_cross_entropy(outputs, torch.zeros(1, 5000, dtype=torch.bool))
    assert float(found) == pytest.approx(5000 * 0.6931, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("loss", "shape"), [(cross_entropy, (4,)), (token_cross_entropy, (4, 6))])
def test_of_no_target_at_all_a_cross_entropy_is_0_and_asks_for_nothing(
    loss: Any, shape: tuple[int, ...], smoothing: float
) -> None:
    outputs = torch.randn(*shape, 3, requires_grad=True)
    found = loss(outputs, torch.full(shape, NO_TARGET), label_smoothing=smoothing)
    found.backward()
    assert found.item() == 0.0
    assert outputs.grad is not None
    assert not outputs.grad.any()
    some = torch.full(shape, NO_TARGET)
    some[1] = 2
    assert torch.isnan(loss(outputs.detach() * torch.nan, some, label_smoothing=smoothing))
    wanted = F.cross_entropy(outputs.flatten(0, -2), some.flatten(), label_smoothing=smoothing)
    assert torch.equal(loss(outputs, some, label_smoothing=smoothing), wanted)
