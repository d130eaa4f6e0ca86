"""Metrics as means over examples, or over their tokens."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from batchfront.errors import UsageError, WorkloadError
from batchfront.workload.losses import cross_entropy, token_cross_entropy
from batchfront.workload.metrics import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    MEAN_SQUARED_ERROR,
    NO_TARGET,
    TOKEN_CROSS_ENTROPY,
    Metric,
    SplitMetric,
    costs_of,
    token_count,
    value_of,
    weights_of,
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


OUTPUTS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
TARGETS = torch.tensor([1, 1, 1])


def _wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(1) != targets


def metric_that_gives(form: Callable[[Tensor], Any], **bounds: float) -> Metric:
    return Metric("wrong", lambda o, t: form(_wrong(o, t)), "lower", **bounds)


@pytest.mark.parametrize(
    "form",
    [
        lambda wrong: wrong,
        lambda wrong: wrong.int(),
        lambda wrong: wrong.to(torch.uint8),
        lambda wrong: wrong.half(),
        lambda wrong: wrong.bfloat16(),
        lambda wrong: wrong.double(),
        lambda wrong: wrong[:, None].float(),
        lambda wrong: wrong.numpy(),
        lambda wrong: wrong.numpy().astype(np.float64),
        lambda wrong: wrong.tolist(),
        lambda wrong: list(wrong.float()),
    ],
    ids=[
        "bool",
        "int32",
        "uint8",
        "float16",
        "bfloat16",
        "float64",
        "column",
        "numpy",
        "float64-numpy",
        "list",
        "scalars",
    ],
)
def test_costs_of_any_kind_of_number_are_numbers(form: Callable[[Tensor], Any]) -> None:
    costs = costs_of(metric_that_gives(form, low=0.0, high=1.0), OUTPUTS, TARGETS)
    assert costs.is_floating_point()
    assert costs.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (lambda wrong: wrong.float().mean(), r"found shape \(\) \(torch.float32\)"),
        (lambda wrong: wrong[None], r"found shape \(1, 3\)"),
        (lambda wrong: wrong[:, None] != wrong, r"found shape \(3, 3\)"),
        (lambda wrong: wrong[:2], r"found shape \(2,\)"),
        (lambda wrong: wrong.to(torch.complex64), "found shape .* \\(torch.complex64\\)"),
        (lambda wrong: None, "found NoneType"),
        (lambda wrong: {"wrong": wrong}, "found dict"),
        (lambda wrong: [[1.0], [2.0, 3.0]], "found list"),
    ],
    ids=["mean", "row", "broadcast", "few", "complex", "nothing", "dict", "ragged"],
)
def test_costs_that_are_no_number_for_each_example_are_refused_with_what_was_found(
    form: Callable[[Tensor], Any], found: str
) -> None:
    with pytest.raises(WorkloadError, match=rf"one number per example, shape \(3,\); {found}"):
        costs_of(metric_that_gives(form), OUTPUTS, TARGETS)


def test_of_a_single_example_a_scalar_is_its_number() -> None:
    metric = metric_that_gives(lambda wrong: wrong.float().squeeze())
    assert costs_of(metric, OUTPUTS[1:2], TARGETS[:1]).tolist() == [1.0]


def test_bounds_that_nobody_has_stated_claim_nothing() -> None:
    for metric in (metric_that_gives(lambda wrong: wrong), SplitMetric("x", _largest, "higher")):
        assert (metric.low, metric.high) == (-math.inf, math.inf)


def _largest(outputs: Tensor, targets: Tensor) -> float:
    return outputs.max().item()


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"low": 1.5}, "'first' has given 0, below its low=1.5: give it low= the lowest number"),
        ({"high": 1.5}, "'first' has given 2, above its high=1.5: give it high= the highest"),
        ({"low": 1.5, "high": 1.75}, "or low=-math.inf if there is none"),
    ],
)
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_number_outside_its_metrics_bounds_is_an_error_that_says_what_to_write(
    bounds: dict[str, float], says: str, better: Any
) -> None:
    metric = Metric("first", lambda o, _: o[:, 0], better, **bounds)
    with pytest.raises(WorkloadError, match=says):
        costs_of(metric, OUTPUTS, TARGETS)
    inside = Metric("first", lambda o, _: o[:, 0], better, low=0.0, high=2.0)
    assert costs_of(inside, OUTPUTS, TARGETS).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("bounds", [{"low": 3.5}, {"high": 2.5}])
def test_a_whole_splits_number_outside_its_bounds_is_one_too(bounds: dict[str, float]) -> None:
    with pytest.raises(WorkloadError, match="metric 'largest' has given 3,"):
        value_of(SplitMetric("largest", _largest, "higher", **bounds), OUTPUTS, TARGETS)
    for form in (torch.tensor, np.float32, int):
        split = SplitMetric("largest", lambda o, t, as_=form: as_(_largest(o, t)), "higher")
        assert value_of(split, OUTPUTS, TARGETS) == 3.0
    with pytest.raises(WorkloadError, match=r"one number for the whole split; found shape \(3,\)"):
        value_of(SplitMetric("rows", lambda o, _: o.max(1).values, "higher"), OUTPUTS, TARGETS)  # type: ignore[arg-type,return-value]


def test_what_is_not_finite_is_left_to_the_goal_and_rounding_is_taken_off() -> None:
    numbers = [math.nan, math.inf, -3e-6]
    metric = Metric("given", lambda _o, _t: torch.tensor(numbers), "lower", low=0.0)
    found = costs_of(metric, OUTPUTS, TARGETS).tolist()
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, 0.0]


def test_bounds_are_of_a_weight_of_1_and_an_example_of_weight_0_counts_nothing() -> None:
    def of(costs: list[float], weights: list[float]) -> list[float]:
        metric = Metric("given", lambda _o, _t: torch.tensor(costs), "lower", low=0.0, high=1.0)
        found: list[float] = costs_of(metric, OUTPUTS, TARGETS, torch.tensor(weights)).tolist()
        return found

    assert of([0.0, 4.0, math.nan], [1.0, 5.0, 0.0]) == [0.0, 4.0, 0.0]
    with pytest.raises(WorkloadError, match="has given 2, above its high=1"):
        of([0.0, 10.0, 0.0], [1.0, 5.0, 0.0])


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0, -0.5, 2.0], r"is -0.5 for an example; it must be 0 or more"),
        ([1.0, math.nan, 2.0], "is nan for an example"),
        ([1.0, 2.0], r"one number per example, shape \(3,\)"),
    ],
)
def test_weights_are_numbers_from_0_on(weights: list[float], says: str) -> None:
    metric = Metric("given", _wrong, "lower", weight=lambda _: torch.tensor(weights))
    with pytest.raises(WorkloadError, match=f"the weight of metric 'given' .*{says}|{says}"):
        weights_of(metric, TARGETS)


def test_a_metric_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"better is 'min' .*write better=.lower. or better=.higher."
    ):
        Metric("wrong", _wrong, "min")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="low=1 must be below high=0"):
        SplitMetric("largest", _largest, "lower", low=1.0, high=0.0)
