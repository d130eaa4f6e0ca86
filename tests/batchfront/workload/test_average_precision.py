"""Average precision of all labels of all examples together."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score

from batchfront.workload import metrics as module
from batchfront.workload.metrics import AVERAGE_PRECISION, average_precision


def by_scikit_learn(scores: torch.Tensor, targets: torch.Tensor) -> float:
    found = average_precision_score(targets.numpy(), scores.double().numpy(), average="micro")
    return float(found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_it_is_scikit_learns_over_all_labels_ties_included(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(200, 30, generator=generator) < 0.07
    scores = (torch.randn(200, 30, generator=generator) + targets).to(dtype)
    tied = (scores * 4).round() / 4
    for given in (scores, tied):
        assert average_precision(given, targets) == pytest.approx(
            by_scikit_learn(given, targets), abs=1e-12
        )


def test_it_does_not_depend_on_how_many_scores_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, targets = torch.randn(40, 7), torch.rand(40, 7) < 0.2
    whole = average_precision(scores, targets)
    monkeypatch.setattr(module, "_CHUNK", 11)
    assert average_precision(scores, targets) == whole


def test_it_ranks_all_labels_together_so_that_a_class_counts_as_its_examples() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.05]])
    targets = torch.tensor([[True, False], [True, False], [True, True]])
    # Three at precision 1, and one that comes last of all six, where four of six are true.
    assert average_precision(scores, targets) == pytest.approx((3 + 4 / 6) / 4)


def test_infinite_scores_are_ranked_and_a_nan_makes_the_whole_nan() -> None:
    targets = torch.tensor([[True, False, True, False]])
    assert average_precision(torch.tensor([[math.inf, 0.0, 1.0, -math.inf]]), targets) == 1.0
    assert math.isnan(average_precision(torch.tensor([[math.nan, 0.0, 1.0, 2.0]]), targets))


def test_where_nothing_is_true_it_is_zero() -> None:
    assert average_precision(torch.randn(3, 2), torch.zeros(3, 2, dtype=torch.bool)) == 0.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="same shape"):
        average_precision(torch.randn(3, 2), torch.zeros(3))


def test_the_metric_is_a_score_between_0_and_1() -> None:
    assert (AVERAGE_PRECISION.better, AVERAGE_PRECISION.low, AVERAGE_PRECISION.high) == (
        "higher",
        0.0,
        1.0,
    )
