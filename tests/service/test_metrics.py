"""Metrics as means over examples."""

import pytest
import torch

from service.losses import cross_entropy
from service.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE, MEAN_SQUARED_ERROR


def test_metrics_give_one_number_per_example() -> None:
    outputs, targets = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])
    assert ERROR_RATE.per_example(outputs, targets).tolist() == [0.0, 1.0]
    assert ACCURACY.per_example(outputs, targets).tolist() == [1.0, 0.0]
    losses = CROSS_ENTROPY.per_example(outputs, targets)
    assert losses.mean() == pytest.approx(float(cross_entropy(outputs, targets)))
    squares = MEAN_SQUARED_ERROR.per_example(outputs, torch.zeros(2, 2))
    assert squares.tolist() == [2.5, 4.5]


def test_a_squared_error_of_unlike_shapes_is_refused_rather_than_broadcast() -> None:
    with pytest.raises(ValueError, match="same shape"):
        MEAN_SQUARED_ERROR.per_example(torch.zeros(3, 1), torch.zeros(3))
