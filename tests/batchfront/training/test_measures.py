"""What is measured beside the goal is of the same outputs, and changes nothing of it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.training.engines import Engine, Failed, Sequential
from batchfront.training.evaluation import Evaluator, full_metric
from batchfront.training.memory import MicroBatchSize
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    Metric,
    SplitMetric,
)
from batchfront.workload.weight_average import WeightAverage
from tests.batchfront.training.test_evaluation import Fixed, numbered, weighted
from tests.batchfront.training.vectorized.trials import (
    CPU,
    NEVER,
    draws,
    runs,
    splits,
    workload,
)


def _in_order(outputs: Tensor, targets: Tensor) -> float:
    """Another number for each order of the examples, with which their targets have to agree."""
    places = torch.arange(len(outputs), dtype=torch.float64) + 1
    return float((outputs.sum(1).double() * places * (targets + 1)).sum())


ORDERED = SplitMetric("ordered", _in_order, "higher")
SHARE = SplitMetric("share", lambda y, c: float((y.argmax(1) == c).double().mean()), "higher")
MEASURES = (CROSS_ENTROPY, weighted(ACCURACY), ORDERED, SHARE)
GOALS = [Goal(ERROR_RATE, 0.1), Goal(weighted(ERROR_RATE), 0.1), Goal(SHARE, 0.9)]


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: str(goal))
@pytest.mark.parametrize("limit", [None, 7])
def test_measures_are_those_of_the_whole_split_and_leave_the_goal_as_it_is(
    goal: Goal, limit: int | None
) -> None:
    split, measures = numbered(300), tuple(m for m in MEASURES if m is not goal.metric)
    plain = Evaluator(split, goal, MicroBatchSize(limit))
    measuring = Evaluator(split, goal, MicroBatchSize(limit), measures)
    model = Fixed(300, seed=2)
    for k in range(16):
        model.learn(0.3 + k / 20)
        full = k % 2 == 0
        expected, found = (one.evaluate(model, full=full) for one in (plain, measuring))
        assert replace(found, measures={}) == expected
        assert torch.equal(measuring.order, plain.order)
        assert bool(found.measures) == (full or found.passed)
        for measure in measures if found.measures else ():
            whole = full_metric(model, split, measure)
            assert found.measures[measure.name] == pytest.approx(whole, rel=1e-12)
    assert found.passed


def test_a_measure_that_is_not_finite_is_told_as_it_is() -> None:
    unknown = Metric("unknown", lambda outputs, _: outputs.sum(1) * math.nan, "lower")
    endless = SplitMetric("endless", lambda outputs, targets: math.inf, "lower")
    found = Evaluator(numbered(40), GOALS[0], measures=(unknown, endless)).evaluate(
        Fixed(40, seed=1), full=True
    )
    assert math.isnan(found.measures["unknown"])
    assert found.measures["endless"] == math.inf
    assert found.value is not None


class Sampling(nn.Module):
    """A model whose outputs are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y + torch.randn_like(y)


NOISE = SplitMetric("noise", lambda outputs, _: float(torch.randn(())), "higher")
NOISY = Metric("noisy", lambda outputs, _: torch.rand(len(outputs)), "higher")


def test_what_a_measure_draws_is_the_trials_own_and_its_model_draws_as_without() -> None:
    found = []
    for measures in ((), (NOISY, NOISE), (NOISY, NOISE)):
        run = runs(workload(Sampling, measures=measures), splits(16), draws(1))[0]
        for step in (3, 6):
            run.advance(step)
            torch.rand(step)  # whatever others draw in between
            found.append(run.evaluate(full=True))
    values = [one.value for one in found]
    assert values[:2] == values[2:4] == values[4:]
    assert found[2].measures == found[4].measures != found[3].measures == found[5].measures


def _fails_late(outputs: Tensor, targets: Tensor) -> float:
    if outputs.abs().max() > 3:
        raise IndexError("no such class")
    return 0.0


@pytest.mark.parametrize("engine", [Sequential(), Vectorized()], ids=["one by one", "as one"])
def test_a_measure_that_raises_fails_its_trial_by_its_name(engine: Engine[ModelRun]) -> None:
    late = SplitMetric("late", _fails_late, "lower")
    values = draws(3, learning_rate=(1e-5, 0.9, 1e-5))
    found = runs(workload(measures=(late,)), splits(16), values)
    expected = runs(workload(), splits(16), values)
    engine.advance(found, 80, NEVER)
    Sequential().advance(expected, 80, NEVER)
    checks = engine.evaluate(found, full=True)
    (failed,) = (one for one in checks if isinstance(one, Failed))
    assert failed is checks[1]
    assert failed.reason.startswith("WorkloadError: measure 'late': IndexError: no such class")
    for run, own, check in zip(found, expected, checks, strict=True):
        if isinstance(check, GoalCheck):
            assert check.value == pytest.approx(own.evaluate(full=True).value)
            assert run.evaluations[-1].measures == {"late": 0.0}


def test_both_engines_measure_the_same() -> None:
    data, measures = splits(16), (CROSS_ENTROPY, ORDERED)
    of = workload(measures=measures)
    alone, together = runs(of, data, draws(5)), runs(of, data, draws(5))
    engine, crossed = Vectorized(), 0
    for step, full in ((1, True), (20, False), (40, False), (80, True), (160, False), (200, True)):
        Sequential().advance(alone, step, NEVER)
        engine.advance(together, step, NEVER)
        seen = zip(
            Sequential().evaluate(alone, full=full),
            engine.evaluate(together, full=full),
            strict=True,
        )
        for one, other in seen:
            assert isinstance(one, GoalCheck)
            assert isinstance(other, GoalCheck)
            assert one.passed == other.passed
            assert one.measures.keys() == other.measures.keys()
            assert other.measures == pytest.approx(one.measures, rel=1e-9)
            crossed += bool(one.passed and not full and one.measures)
    assert engine.stacks
    assert crossed
    for one, other in zip(alone, together, strict=True):
        assert [e.measures.keys() for e in one.evaluations] == [{"cross-entropy", "ordered"}] * 3
        assert [e.step for e in one.evaluations] == [e.step for e in other.evaluations]


def _state(run: ModelRun) -> dict[str, Any]:
    kept = run.state()
    return {name: kept[name] for name in ("step", "evaluation_order", "loss_sum", "loss_steps")}


def test_a_trial_has_the_same_training_and_costs_with_measures_and_without() -> None:
    data = splits(16)
    plain, measuring = (
        runs(workload(measures=m), data, draws(1))[0] for m in ((), (CROSS_ENTROPY, ORDERED))
    )
    for step in range(1, 60):
        for run in (plain, measuring):
            run.advance(step)
            run.evaluate(full=step % 4 == 0)
    assert measuring.cost.evaluated_examples == plain.cost.evaluated_examples
    assert [one[:3] for one in measuring.evaluations] == [one[:3] for one in plain.evaluations]
    for name, value in _state(plain).items():
        other = _state(measuring)[name]
        assert torch.equal(other, value) if isinstance(value, Tensor) else other == value
    one, other = plain.model.state_dict(), measuring.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_measures_are_of_the_average_of_the_weights_where_that_is_evaluated() -> None:
    of = workload(measures=(CROSS_ENTROPY,), average=WeightAverage(0.9))
    run = runs(of, splits(16), draws(1))[0]
    run.advance(30)
    found = run.evaluate(full=True).measures["cross-entropy"]
    average, own = (
        full_metric(model, run.splits.validation, CROSS_ENTROPY)
        for model in (run.evaluated, run.model)
    )
    assert found == pytest.approx(average, rel=1e-12)
    assert found != pytest.approx(own, rel=1e-3)


def _without_measures(looks: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [look[:3] for look in looks]


def test_a_checkpoint_from_before_there_were_measures_goes_on_with_them() -> None:
    data = splits(16)
    before = runs(workload(), data, draws(1))[0]
    before.advance(8)
    before.evaluate(full=True)
    state = before.state()
    state["looks"] = _without_measures(state["looks"])
    state["passage"] = (4, 3, 0.1, None)
    after = ModelRun(workload(measures=(CROSS_ENTROPY,)), data, 8, draws(1)[0], 100, CPU)
    after.restore(state)
    after.advance(16)
    after.evaluate(full=True)
    assert [one.measures.keys() for one in after.evaluations] == [set(), {"cross-entropy"}]
    assert after.goal_crossing is not None
    assert after.goal_crossing.measures == {}
    again = ModelRun(workload(measures=(CROSS_ENTROPY,)), data, 8, draws(1)[0], 100, CPU)
    again.restore(after.state())
    assert again.evaluations == after.evaluations
