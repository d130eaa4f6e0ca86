"""Trials that go on past the goal: they keep what they passed, and show what came after."""

import io
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from batchfront.outcomes import TrialResult
from batchfront.training.heat import Heat
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Splits
from batchfront.workload.stopping_rules import StoppingRules
from tests.batchfront.training.test_heat import (
    NEVER,
    NUMBERED,
    Slot,
    fixed,
    heat,
    raced,
    separately,
    winner,
)
from tests.toy import clouds, splits

TRIALS = range(12)
GOAL = "validation error rate < 0.1"


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits()


def going_on(data: Splits, **race: int) -> Heat[Slot, ModelRun]:
    return heat(clouds(), data, 4, TRIALS, **{"continuing": 1, **race})


def known(ending: TrialResult) -> tuple[object, ...]:
    """All of it but the seconds."""
    return (*vars(replace(ending, cost=None)).values(), ending.cost.evaluated_examples)  # type: ignore[arg-type]


def test_the_first_to_pass_goes_on_to_the_budget_and_the_others_race_as_before(
    data: Splits,
) -> None:
    usual = raced(heat(clouds(), data, 4, TRIALS))
    found = raced(going_on(data))
    steps, first = winner(usual)
    last = clouds().grid.steps(150)[-1]
    ending = found[first]
    assert (ending.outcome, ending.steps, ending.steps_to_target) == ("reached", last, steps)
    for name in ("steps_lower", "metric", "metric_step", "test_metric"):
        assert getattr(ending, name) == getattr(usual[first], name)
    assert ending.reason == f"{GOAL} at step {steps}, and then: step budget of {last} spent"
    assert {n: known(e) for n, e in found.items() if n != first} == {
        n: known(e) for n, e in usual.items() if n != first
    }


def test_its_looks_are_those_of_the_rungs_and_of_the_last_step(data: Splits) -> None:
    found = raced(going_on(data))
    steps = clouds().grid.steps(150)
    ((first, ending),) = [(n, e) for n, e in found.items() if e.steps == steps[-1]]
    rungs = [s for p, s in zip((0, *steps), steps, strict=False) if clouds().grid.is_full(s, p)]
    assert steps[-1] not in rungs
    assert [look.step for look in ending.evaluations] == [*rungs, steps[-1]]
    assert (ending.steps_to_target, first) == winner(found)
    run = heat(clouds(), data, 4, TRIALS).live[first][1]
    for look in ending.evaluations:
        run.advance(look.step)
        assert run.evaluate(full=True).value == look.metric


def test_as_many_go_on_as_asked_for_the_first_that_pass(data: Splits) -> None:
    places = sorted(
        (e.steps_to_target, n)
        for n, e in separately(clouds(), data, 4, TRIALS).items()
        if e.steps_to_target
    )
    found = raced(going_on(data, finishers=4, continuing=2))
    on = [n for n, ending in found.items() if ending.steps_to_target not in (None, ending.steps)]
    assert sorted(on) == sorted(n for _, n in places[:2])
    assert [found[n].steps for _, n in places[2:4]] == [steps for steps, _ in places[2:4]]


def test_those_that_passed_in_other_heats_count(data: Splits) -> None:
    running = going_on(data)
    running.count_passed(1)
    running.count_passed(0)
    found = raced(running)
    steps, first = winner(found)
    assert found[first].steps == steps


@pytest.mark.parametrize("at", [1, 20, 60, 120])
@pytest.mark.parametrize("kept", [True, False])
def test_a_restart_at_any_step_comes_out_the_same(data: Splits, at: int, kept: bool) -> None:
    """From its state, through a file; or from the first step, known to be one that goes on."""
    expected = raced(going_on(data))
    steps, first = winner(expected)
    running = going_on(data)
    ((slot, run),) = [pair for pair in running.live if pair[0].number == first]
    while run.step < at:
        running.round(NEVER)
    file = io.BytesIO()
    torch.save(run.state(), file)
    file.seek(0)
    again = heat(clouds(), data, 4, range(first, first + 1), continuing=0)
    ((_, fresh),) = again.live
    if kept:
        fresh.restore(torch.load(file, weights_only=True))
        assert fresh.goal_crossing == run.goal_crossing
    if run.goal_crossing is not None:
        again.let_go_on(slot)
        again.lower_cap(steps)  # its own, from the database
    else:
        again = Heat(replace(again.rules, continuing=1), again.live)
    assert known(raced(again)[first]) == known(expected[first])


def test_no_rule_but_divergence_ends_it_before_its_budget() -> None:
    def same(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return outputs.sum() * 0 + 1

    going_nowhere = replace(fixed(0.9, 0.9, 0.4, 0.9), loss=same)
    patient = replace(going_nowhere, stopping=StoppingRules(stale_after=1e9))
    for workload in (going_nowhere, patient):
        ending = raced(heat(workload, NUMBERED, 4, range(1), continuing=1))[0]
        assert (ending.outcome, ending.steps_to_target) == ("reached", 3)
        assert ending.steps == workload.grid.steps(200)[-1]
        assert (ending.metric, ending.evaluations[-1].metric) == (
            pytest.approx(0.4),
            pytest.approx(0.9),
        )


def test_one_that_diverges_after_the_goal_has_reached_it(data: Splits) -> None:
    running = going_on(data)
    found: dict[int, TrialResult] = {}
    while len(running.live) > 1:
        found |= {slot.number: ending for slot, ending in running.round(NEVER)}
    ((slot, run),) = running.live
    assert run.goal_crossing is not None
    next(run.model.parameters()).data.fill_(float("nan"))
    ((_, ending),) = running.round(NEVER)
    assert (ending.outcome, ending.steps) == ("reached", run.step)
    assert ending.steps_to_target == run.goal_crossing.step < run.step
    assert ending.reason.endswith(f", and then: training loss not finite by step {run.step}")
    assert winner(found | {slot.number: ending}) == winner(raced(heat(clouds(), data, 4, TRIALS)))


def test_one_that_passes_at_its_last_step_has_nowhere_to_go() -> None:
    workload = fixed(*[0.9] * 190, 0.4)
    last = workload.grid.steps(200)[-1]
    workload = fixed(*[0.9] * (last - 1), 0.4)
    ending = raced(heat(workload, NUMBERED, 4, range(1), continuing=1))[0]
    assert (ending.outcome, ending.steps, ending.steps_to_target) == ("reached", last, last)
