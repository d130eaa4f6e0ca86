"""Where evaluations are left out, a race ends as if none were."""

import math
from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest
import torch
from torch import Tensor, nn

from batchfront.outcomes import TrialCost, TrialResult
from batchfront.training import sparse_evaluation
from batchfront.training.checkpoint_writer import copied
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.training.sparse_evaluation import is_far, is_near
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.data import Splits
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE, Metric
from batchfront.workload.search_space import quasi_random_points
from batchfront.workload.workload import Workload
from tests.batchfront.training.test_heat import CPU, NEVER, NUMBERED, Slot, fixed, raced
from tests.toy import clouds, splits

RACES: dict[str, dict[str, int]] = {
    "the first": {},
    "the first two": {"finishers": 2},
    "all": {"finishers": 0},
    "going on": {"finishers": 2, "continuing": 1},
}

Ends = dict[int, TrialResult]

_VALUES = quasi_random_points(clouds().space(4), 1, 1)[0]


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits()


def runs(workload: Workload, data: Splits, batch_size: int, count: int = 5) -> list[ModelRun]:
    points = quasi_random_points(workload.space(batch_size), count, 3)
    return [ModelRun(workload, data, batch_size, points[n], 40 + n, CPU) for n in range(count)]


def heat(trials: list[ModelRun], *, sparse: bool, **race: int) -> Heat[Slot, ModelRun]:
    workload = trials[0].workload
    rules = RaceRules(workload.goal, workload.stopping, sparse=sparse, **race)
    return Heat(rules, [(Slot(n), run) for n, run in enumerate(trials)])


def without_cost(ends: Ends) -> Ends:
    return {n: replace(end, cost=TrialCost()) for n, end in ends.items()}


def examples(ends: Ends) -> int:
    return sum(end.cost.evaluated_examples for end in ends.values())


@pytest.fixture
def always_far(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whatever may be left out is, and gone back to. Gives the steps that trials go back to."""
    gone_back: list[int] = []
    roll_back = ModelRun.roll_back

    def noted(run: ModelRun) -> None:
        roll_back(run)
        gone_back.append(run.step)

    monkeypatch.setattr(ModelRun, "roll_back", noted)
    monkeypatch.setattr(sparse_evaluation, "is_far", lambda metrics, _: len(metrics) > 1)
    monkeypatch.setattr(sparse_evaluation, "is_near", lambda *_: True)
    return gone_back


def jumping(at: int, *, back: int = 10**9) -> Workload:
    """Far from its goal, which it passes at a step, up to another."""
    errors = [0.95 if step < at or step >= back else 0.3 for step in range(1, 200)]
    return fixed(*errors)


@pytest.mark.parametrize("engine", ["sequential", "vectorized"])
@pytest.mark.parametrize("race", RACES)
def test_a_race_that_goes_back_to_all_that_was_left_out_ends_the_same(
    data: Splits, race: str, engine: str, always_far: list[int]
) -> None:
    workload, ends = clouds().with_goal(0.3), []
    for sparse in (False, True):
        running = heat(runs(workload, data, 16), sparse=sparse, **RACES[race])
        if engine == "vectorized":
            running.engine = Vectorized()
        ends.append(without_cost(raced(running)))
    assert ends[1] == ends[0]
    assert len(always_far) > 5


@pytest.mark.parametrize("batch_size", [4, 64])
def test_a_race_ends_the_same_for_fewer_evaluated_examples(data: Splits, batch_size: int) -> None:
    workload, ends = clouds().with_goal(0.12), []
    for sparse in (False, True):
        ends.append(raced(heat(runs(workload, data, batch_size, 8), sparse=sparse)))
    assert without_cost(ends[1]) == without_cost(ends[0])
    assert examples(ends[1]) < examples(ends[0])


def _jumps(at: int, seed: int = 0) -> ModelRun:
    return ModelRun(jumping(at), NUMBERED, 4, _VALUES, seed, CPU)


class _Everywhere(ModelRun):
    """One that never is far from its goal."""

    def __init__(self, at: int) -> None:
        super().__init__(jumping(at), NUMBERED, 4, _VALUES, 9, CPU)

    def keep(self, until: int) -> None:
        raise MemoryError


@pytest.mark.parametrize("at", [9, 13, 50, 64, 70, 99])
def test_a_trial_that_passes_its_goal_where_it_is_not_evaluated_goes_back(at: int) -> None:
    every, sparse = (raced(heat([_jumps(at)], sparse=sparse))[0] for sparse in (False, True))
    assert sparse.steps_to_target == every.steps_to_target == at
    assert sparse.steps_lower == at - 1
    assert sparse.evaluations == every.evaluations
    assert sparse.cost.evaluated_examples != every.cost.evaluated_examples


def test_the_others_are_capped_where_it_passed_the_goal_though_they_were_further() -> None:
    ends = []
    for sparse in (False, True):
        workload = jumping(70)
        good = ModelRun(workload, NUMBERED, 4, _VALUES, 0, CPU)
        others = [ModelRun(fixed(0.95), NUMBERED, 4, _VALUES, n, CPU) for n in (1, 2)]
        running = heat([others[0], good, others[1]], sparse=sparse)
        ends.append(without_cost(raced(running)))
        assert {run.step for run in others} == ({91} if sparse else {70})
    assert ends[1] == ends[0]
    assert [ends[1][n].outcome for n in range(3)] == ["capped", "reached", "capped"]
    assert ends[1][0].steps == 70


def test_whoever_draws_level_has_reached_the_goal_too() -> None:
    ends = raced(heat([_jumps(70, 0), _jumps(70, 1), _Everywhere(70)], sparse=True))
    assert [ends[n].steps_to_target for n in range(3)] == [70, 70, 70]


def test_one_that_was_not_evaluated_up_to_the_cap_is_evaluated_there() -> None:
    late = [_jumps(at, at) for at in (70, 75, 80)]
    ends = raced(heat([*late, _Everywhere(75)], sparse=True))
    found = [(ends[n].outcome, ends[n].steps) for n in range(4)]
    assert found == [("reached", 70), *[("capped", 70)] * 3]
    ends = raced(heat([_jumps(75, 1), _jumps(80, 2), _Everywhere(72)], sparse=True))
    found = [(ends[n].outcome, ends[n].steps) for n in range(3)]
    assert found == [("capped", 72), ("capped", 72), ("reached", 72)]


def test_a_trial_diverges_at_the_step_at_which_it_would_have() -> None:
    def breaking(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return outputs.sum() * 0 + 1

    class Breaking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, 2))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.steps += 1
                return x @ self.weight / (0.0 if self.steps == 53 else 1.0)
            return nn.functional.one_hot((x[:, 0] < 0.95).long(), 2).float()

    workload = replace(fixed(0.95), model=lambda *, dropout: Breaking(), loss=breaking)
    ends = [
        raced(heat([ModelRun(workload, NUMBERED, 4, _VALUES, 0, CPU)], sparse=sparse))[0]
        for sparse in (False, True)
    ]
    assert [(e.outcome, e.steps, e.reason) for e in ends] == [
        ("diverged", 53, "training loss not finite by step 53")
    ] * 2


@pytest.mark.parametrize("rounds", range(10, 26, 3))
def test_a_race_that_is_interrupted_and_goes_on_in_fresh_runs_ends_the_same(
    data: Splits, rounds: int, always_far: list[int]
) -> None:
    workload = clouds().with_goal(0.25)
    whole = without_cost(raced(heat(runs(workload, data, 16), sparse=False)))
    running = heat(runs(workload, data, 16), sparse=True)
    ends = raced(running, rounds)
    states = {slot.number: copied(run.state()) for slot, run in running.live}
    fresh = runs(workload, data, 16)
    again = heat(fresh, sparse=True)
    again.live = [(slot, run) for slot, run in again.live if slot.number in states]
    for slot, run in again.live:
        run.restore(states[slot.number])
    again.lower_cap(running.cap)
    ends |= raced(again)
    expected = {n: (e.outcome, e.steps_to_target) for n, e in whole.items()}
    assert {n: (e.outcome, e.steps_to_target) for n, e in ends.items()} == expected
    reached = [n for n, end in whole.items() if end.outcome == "reached"]
    assert [without_cost(ends)[n] for n in reached] == [whole[n] for n in reached]


def test_a_checkpoint_between_two_evaluations_goes_back_as_far_as_its_trial_would() -> None:
    stop, first = Event(), _jumps(70)
    running = heat([first], sparse=True)
    while first.step < 64:
        running.round(NEVER)
    first.keep(91)
    first.advance(80, stop)
    second = _jumps(70)
    second.restore(copied(first.state()))
    assert (second.step, second.judged, second.kept_until) == (80, 64, 91)
    end = raced(heat([second], sparse=True))[0]
    assert (end.steps_to_target, end.steps_lower) == (70, 69)


def test_one_that_waits_at_its_goal_is_capped_though_the_race_was_interrupted() -> None:
    trials = [_jumps(70), _Everywhere(91)]
    running = heat(trials, sparse=True)
    while [run.step for run in trials] != [66, 91]:
        running.round(NEVER)
    fresh: list[ModelRun] = [_jumps(70), _Everywhere(91)]
    for run, other in zip(fresh, trials, strict=True):
        run.restore(copied(other.state()))
    ends = raced(heat(fresh, sparse=True))
    assert [ends[n].outcome for n in (0, 1)] == ["reached", "capped"]


def test_an_earlier_versions_checkpoint_is_one_of_a_trial_evaluated_everywhere() -> None:
    run = _jumps(70)
    run.advance(66)
    state = copied(run.state())
    for name in ("judged", "kept", "kept_until"):
        del state[name]
    run.restore(state)
    assert (run.judged, run.kept_until) == (66, None)


def test_where_there_is_no_memory_to_keep_a_state_it_is_evaluated_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(run: ModelRun, until: int) -> None:
        raise MemoryError

    every = raced(heat([_jumps(70)], sparse=False))
    monkeypatch.setattr(ModelRun, "keep", full)
    found = raced(heat([_jumps(70)], sparse=True))
    assert examples(found) == examples(every)
    assert without_cost(found) == without_cost(every)


LOSING = (0.9, 0.89, 0.89, 0.88)
"""Error rates at full evaluations, of a trial that gets hardly anywhere."""


@pytest.mark.parametrize("scaled", [lambda e: e, lambda e: 1 - e, lambda e: 3 * e])
def test_far_is_what_is_missing_to_the_best_number_against_how_fast_it_changes(
    scaled: Callable[[float], float],
) -> None:
    goal = _goal(scaled, 0.05)
    assert is_far([scaled(e) for e in LOSING], goal)
    assert not is_far([scaled(e) for e in LOSING[:2]], goal)  # nothing is known of how it changes
    assert not is_far([scaled(e) for e in (0.9, 0.5, 0.2, 0.12)], goal)
    assert is_far([scaled(e) for e in (0.16, 0.15, 0.145, 0.14)], goal)
    assert not is_far([scaled(e) for e in (0.08, 0.075, 0.072, 0.07)], goal)
    assert not is_far([scaled(e) for e in (*LOSING, math.nan)], goal)


def test_near_is_whatever_is_within_what_it_has_just_changed_by() -> None:
    goal = Goal(ERROR_RATE, 0.05)
    assert is_near([*LOSING, 0.07], goal)
    assert is_near([*LOSING, 0.2], goal)
    assert not is_near([*LOSING, 0.7], goal)
    assert not is_near(LOSING, goal)
    assert is_near([*LOSING, math.nan], goal)


def test_of_a_metric_without_a_best_number_nothing_is_left_out() -> None:
    unbounded = Metric("score", lambda outputs, targets: targets, "lower")
    assert not is_far(LOSING, Goal(unbounded, 0.05))


def _goal(scaled: Callable[[float], float], value: float) -> Goal:
    metric = ACCURACY if scaled(0.0) > scaled(1.0) else CROSS_ENTROPY
    return Goal(metric, scaled(value))
