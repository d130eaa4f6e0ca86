"""Metrics as means over examples, or over their tokens."""

import pytest
import torch

from service.losses import cross_entropy, token_cross_entropy
from service.metrics import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    MEAN_SQUARED_ERROR,
    NO_TARGET,
    TOKEN_CROSS_ENTROPY,
    token_count,
)


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


def test_a_tokens_cross_entropy_is_a_mean_over_tokens_and_not_over_sentences() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(2, 5, 7)
    targets = torch.tensor([[1, 2, 3, 4, 5], [6, NO_TARGET, NO_TARGET, NO_TARGET, NO_TARGET]])
    sums = TOKEN_CROSS_ENTROPY.per_example(outputs, targets)
    assert sums.shape == (2,)
    mean = float(sums.sum() / token_count(targets).sum())
    assert mean == pytest.approx(float(token_cross_entropy(outputs, targets)))
    each = outputs.log_softmax(dim=2)
    by_hand = [-each[0, k, k + 1] for k in range(5)] + [-each[1, 0, 6]]
    assert mean == pytest.approx(float(torch.stack(by_hand).mean()))
    assert mean != pytest.approx(float((sums / token_count(targets)).mean()))
