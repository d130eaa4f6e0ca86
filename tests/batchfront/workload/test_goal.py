"""What it takes to pass a goal."""

import random
from dataclasses import replace

import pytest

from batchfront.errors import UsageError
from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE, Metric


def test_a_goal_is_passed_only_strictly() -> None:
    assert Goal(ERROR_RATE, 0.25).passed(0.2499)
    assert not Goal(ERROR_RATE, 0.25).passed(0.25)
    assert Goal(ACCURACY, 0.75).passed(0.7501)
    assert not Goal(ACCURACY, 0.75).passed(0.75)


def test_a_value_that_is_not_a_number_never_passes() -> None:
    assert not Goal(ERROR_RATE, 0.25).passed(float("nan"))
    assert not Goal(ACCURACY, 0.25).passed(float("nan"))
    assert Goal(CROSS_ENTROPY, 0.25).out_of_reach(float("nan"), 3, 10)


def test_a_value_that_is_infinitely_good_is_no_value() -> None:
    likelihood = Metric("likelihood", CROSS_ENTROPY.per_example, "higher")
    assert not Goal(likelihood, 5.0).passed(float("inf"))
    assert not Goal(replace(likelihood, better="lower"), 5.0).passed(float("-inf"))
    assert Goal(likelihood, 5.0).passed(5.1)


@pytest.mark.parametrize("metric", [ERROR_RATE, ACCURACY], ids=lambda m: m.name)
@pytest.mark.parametrize("size", [1, 7, 300])
def test_out_of_reach_is_said_as_soon_as_it_is_certain_and_never_before(
    metric: Metric, size: int
) -> None:
    generator = random.Random(size)
    best = metric.low if metric.better == "lower" else metric.high
    for value in (1 - best, 0.03, 1 / 3, 0.5, 0.97):
        goal = Goal(metric, value)
        numbers = [float(generator.random() < value) for _ in range(size)]
        for seen in range(size + 1):
            total = sum(numbers[:seen])
            luckiest = (total + best * (size - seen)) / size
            assert goal.out_of_reach(total, seen, size) == (not goal.passed(luckiest))
        assert goal.out_of_reach(sum(numbers), size, size) != goal.passed(sum(numbers) / size)


def test_an_unbounded_score_is_never_out_of_reach_before_the_end() -> None:
    score = replace(CROSS_ENTROPY, better="higher")
    assert not Goal(score, 5.0).out_of_reach(0.0, 9, 10)
    assert Goal(score, 5.0).out_of_reach(50.0, 10, 10)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_goal_outside_its_metric_is_refused_with_the_bounds(value: float) -> None:
    with pytest.raises(UsageError, match="error rate lies between 0 and 1"):
        Goal(ERROR_RATE, value)


def test_a_goal_reads_as_what_it_asks() -> None:
    assert str(Goal(ERROR_RATE, 0.03)) == "validation error rate < 0.03"
    assert str(Goal(ACCURACY, 0.9)) == "validation accuracy > 0.9"


@pytest.mark.parametrize("goal", [(ERROR_RATE, 0.0), (ACCURACY, 1.0)])
def test_a_goal_that_nothing_can_be_strictly_better_than_is_refused(
    goal: tuple[Metric, float],
) -> None:
    with pytest.raises(UsageError, match="strictly better"):
        Goal(*goal)


def test_a_metric_may_be_given_by_its_name() -> None:
    named = Goal("val_loss", 1.8, better="lower")
    assert named == Goal(ReportedMetric("val_loss", "lower"), 1.8)
    assert str(named) == "val_loss < 1.8"
    assert replace(named, value=1.5) == Goal("val_loss", 1.5, better="lower")
    assert named.passed(1.7)
    assert not Goal("accuracy", 0.9, better="higher").passed(0.9)


def test_a_name_needs_a_direction_and_a_metric_has_its_own() -> None:
    with pytest.raises(UsageError, match=r'goal val_loss 1.8: say better="lower" or better="hi'):
        Goal("val_loss", 1.8)
    with pytest.raises(UsageError, match="which error rate is better, the metric says"):
        Goal(ERROR_RATE, 0.1, better="lower")
    with pytest.raises(UsageError, match=r"better is 'less' .*write better=.lower. or"):
        Goal("val_loss", 1.8, better="less")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "two\nlines"])
def test_a_metrics_name_is_one_that_every_database_keeps(name: str) -> None:
    with pytest.raises(UsageError, match="must be one line of 1 to 64 characters"):
        Goal(name, 1.8, better="lower")
    assert Goal("x" * 64, 1.8, better="lower").metric.name == "x" * 64
