"""Whether the goal is passed is always answered exactly, however few examples are looked at."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.evaluation import Evaluator, full_metric
from batchfront.workload.data import Split
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    MEAN_SQUARED_ERROR,
    NO_TARGET,
    TOKEN_CROSS_ENTROPY,
    Metric,
    SplitMetric,
)

CLASSES = 4


class Fixed(nn.Module):
    """A model that is right about a fixed share of the examples, which drift as it learns."""

    def __init__(self, size: int, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.hardness = torch.rand(size, generator=self.generator)
        self.skill = 0.5

    def learn(self, skill: float) -> None:
        self.skill = skill
        self.hardness += 0.05 * torch.randn(len(self.hardness), generator=self.generator)

    def forward(self, x: Tensor) -> Tensor:
        wrong = self.hardness[x[:, 0].long()] > self.skill
        target = (x[:, 0].long() + wrong) % CLASSES
        return 3.0 * nn.functional.one_hot(target, CLASSES)


def numbered(size: int) -> Split:
    """Each example's input is its number, from which its class follows."""
    numbers = torch.arange(size)
    return Split(numbers[:, None].float(), numbers % CLASSES)


def values_of(metric: Metric) -> list[float]:
    if metric.high > 1:
        return [0.3, 1.0, 2.0]
    easiest = 1.0 if metric.better == "lower" else 0.0
    return [0.02, 0.1, 0.35, 0.5, 0.9, 0.98, easiest]


def _weigh(targets: Tensor) -> Tensor:
    return (1 + 10.0 * targets).double()


def weighted(metric: Metric) -> Metric:
    """The same metric, in which the classes count 1, 11, 21 and 31 times."""

    def per_example(outputs: Tensor, targets: Tensor) -> Tensor:
        return metric.per_example(outputs, targets) * _weigh(targets)

    return replace(metric, name=f"weighted {metric.name}", per_example=per_example, weight=_weigh)


METRICS = [
    ERROR_RATE,
    ACCURACY,
    CROSS_ENTROPY,
    *map(weighted, (ERROR_RATE, ACCURACY, CROSS_ENTROPY)),
]


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
@pytest.mark.parametrize("size", [1, 31, 33, 700])
def test_passed_always_agrees_with_the_plain_evaluation_of_every_example(
    metric: Metric, size: int
) -> None:
    split = numbered(size)
    passed = 0
    for value in values_of(metric):
        evaluator = Evaluator(split, Goal(metric, value))
        model = Fixed(size, seed=size)
        for skill in [k / 12 for k in range(13)] * 2:
            model.learn(skill)
            plain = full_metric(model, split, metric)
            found = evaluator.evaluate(model, full=False)
            assert found.passed == evaluator.goal.passed(plain)
            assert found.value is None or found.value == pytest.approx(plain)
            assert found.value is not None or not found.passed
            assert sorted(evaluator.order.tolist()) == list(range(size))
            full = evaluator.evaluate(model, full=True)
            assert (full.passed, full.examples) == (found.passed, size)
            assert full.value == pytest.approx(plain)
            passed += found.passed
    assert 0 < passed < 26 * len(values_of(metric))


def test_the_goal_is_decided_exactly_where_the_last_error_makes_the_difference() -> None:
    split = numbered(200)
    for errors in range(20):
        model = Fixed(200, seed=0)
        model.hardness = (torch.arange(200) < errors).float()
        evaluator = Evaluator(split, Goal(ERROR_RATE, 10 / 200))
        assert evaluator.evaluate(model, full=False).passed == (errors < 10)


@pytest.mark.parametrize("metric", [ERROR_RATE, ACCURACY], ids=lambda m: m.name)
def test_a_hopeless_model_costs_a_small_share_of_the_examples_from_the_second_look_on(
    metric: Metric,
) -> None:
    goal = Goal(metric, 0.05 if metric.better == "lower" else 0.95)
    model, evaluator = Fixed(2000, seed=1), Evaluator(numbered(2000), goal)
    examples = []
    for skill in (0.6, 0.65, 0.7, 0.75):
        model.learn(skill)
        found = evaluator.evaluate(model, full=False)
        assert found.value is None
        examples.append(found.examples)
    assert examples[0] <= 512
    assert examples[3] <= 128


def test_hard_examples_come_first_after_a_walk_that_went_on() -> None:
    model, evaluator = Fixed(400, seed=2), Evaluator(numbered(400), Goal(ERROR_RATE, 0.02))
    model.skill = 0.9
    evaluator.evaluate(model, full=True)
    wrong = set((model.hardness > 0.9).nonzero()[:, 0].tolist())
    assert wrong == set(evaluator.order[: len(wrong)].tolist())


@pytest.mark.parametrize("metric", [*METRICS, MEAN_SQUARED_ERROR], ids=lambda m: m.name)
@pytest.mark.parametrize("full", [True, False])
def test_a_model_whose_outputs_are_not_numbers_never_passes(metric: Metric, full: bool) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), CLASSES), float("nan"))

    easiest = replace(metric, low=metric.low - 1) if metric.better == "lower" else metric
    goal = Goal(easiest, min(metric.high, 100.0) if metric.better == "lower" else metric.low)
    split = Split(torch.zeros(100, 1), torch.zeros(100, dtype=torch.int64))
    if metric is MEAN_SQUARED_ERROR:
        split = Split(torch.zeros(100, 1), torch.zeros(100, CLASSES))
    evaluator = Evaluator(split, goal)
    for _ in range(3):
        assert not evaluator.evaluate(Broken(), full=full).passed
        assert sorted(evaluator.order.tolist()) == list(range(100))


def test_the_model_is_looked_at_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, CLASSES), nn.Dropout(0.9)).train()
    evaluator = Evaluator(numbered(64), Goal(CROSS_ENTROPY, 1.0))
    first = evaluator.evaluate(model, full=True)
    assert evaluator.evaluate(model.train(), full=True).value == pytest.approx(first.value)


def test_a_weighted_metric_is_a_mean_over_what_the_examples_weigh() -> None:
    model, split = Fixed(700, seed=3), numbered(700)
    wrong = model.hardness > model.skill
    weights = _weigh(split.targets)
    expected = float(weights[wrong].sum() / weights.sum())
    assert full_metric(model, split, weighted(ERROR_RATE)) == pytest.approx(expected)
    assert expected != pytest.approx(float(wrong.float().mean()), rel=1e-3)


def test_many_weights_of_low_precision_are_added_up_exactly() -> None:
    weights = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    metric = Metric("share", lambda _, y: y, "higher", high=1.0, weight=lambda y: y)
    split, goal = Split(torch.zeros(len(weights), 1), weights), Goal(metric, 0.9)
    found = Evaluator(split, goal).evaluate(nn.Identity(), full=True)
    assert found.value == pytest.approx(1.0, abs=1e-12)


def test_a_metric_of_a_whole_split_is_given_all_outputs_and_targets_in_order() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def accuracy(outputs: Tensor, targets: Tensor) -> float:
        seen.append((outputs, targets))
        return float((outputs.argmax(dim=1) == targets).float().mean())

    metric = SplitMetric("accuracy of all", accuracy, "higher", high=1.0)
    model, split = Fixed(1500, seed=4), numbered(1500)
    expected = full_metric(model, split, ACCURACY)
    for value, passed in ((expected - 0.01, True), (expected + 0.01, False)):
        for full in (True, False):
            found = Evaluator(split, Goal(metric, value)).evaluate(model, full=full)
            assert found.value == pytest.approx(expected)
            assert (found.passed, found.examples) == (passed, 1500)
    assert all(torch.equal(targets, split.targets) for _, targets in seen)
    assert all(outputs.shape == (1500, CLASSES) for outputs, _ in seen)


def likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Below 0 where predictions are good, as a density's logarithm is."""
    return CROSS_ENTROPY.per_example(outputs, targets) - 2.0


@pytest.mark.parametrize("weight", [None, _weigh], ids=["plain", "weighted"])
def test_without_bounds_no_look_ends_early(weight: Callable[[Tensor], Tensor] | None) -> None:
    metric = Metric("nll", likelihood, "lower", weight=weight)
    model, split = Fixed(700, seed=5), numbered(700)
    plain = full_metric(model, split, metric)
    for value, passed in ((plain + 0.01, True), (plain - 0.01, False)):
        evaluator = Evaluator(split, Goal(metric, value))
        for _ in range(3):
            found = evaluator.evaluate(model, full=False)
            assert (found.passed, found.examples) == (passed, 700)
            assert found.value == pytest.approx(plain)


@pytest.mark.parametrize("full", [True, False])
def test_a_cost_outside_its_bounds_ends_a_look_and_not_the_trial_early(*, full: bool) -> None:
    metric = Metric("nll", likelihood, "lower", low=0.0)
    evaluator = Evaluator(numbered(64), Goal(metric, 0.5))
    with pytest.raises(WorkloadError, match=r"'nll' has given -1\.\d+, below its low=0: give it"):
        evaluator.evaluate(Fixed(64, seed=6), full=full)


def test_unlabelled_examples_count_nothing_wherever_a_chunk_begins() -> None:
    """A third of them, in runs longer than a chunk: a mean per example of them is 0 / 0."""
    split = numbered(600)
    labelled = (torch.arange(600) // 64) % 3 != 1

    def mean(outputs: Tensor, targets: Tensor) -> Tensor:
        count = there(targets)
        return CROSS_ENTROPY.per_example(outputs, targets.clamp_min(0)) * count / count

    def there(targets: Tensor) -> Tensor:
        return (targets != NO_TARGET).double()

    metric = Metric("cost", mean, "lower", low=0.0, weight=there)
    partly = Split(split.inputs, split.targets.masked_fill(~labelled, NO_TARGET))
    model = Fixed(600, seed=7)
    few = Split(split.inputs[labelled], split.targets[labelled])
    expected = full_metric(model, few, CROSS_ENTROPY)
    assert full_metric(model, partly, metric) == pytest.approx(expected)
    for value in (expected - 0.01, expected + 0.01, 0.05):
        evaluator = Evaluator(partly, Goal(metric, value))
        for full in (False, True, False):
            found = evaluator.evaluate(model, full=full)
            assert found.passed == (expected < value)
            assert found.value is None or found.value == pytest.approx(expected)


def test_a_validation_split_without_any_target_is_refused() -> None:
    sentences = Split(torch.zeros(9, 4), torch.full((9, 4), NO_TARGET))
    with pytest.raises(WorkloadError, match="no example of the validation split has anything to"):
        Evaluator(sentences, Goal(TOKEN_CROSS_ENTROPY, 1.0))
