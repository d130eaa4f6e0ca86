"""A heat: trials that race find the winner that running each to its end would have found."""

from dataclasses import dataclass, replace
from threading import Event

import pytest
import torch
from torch import Tensor, nn

from batchfront.outcomes import CurvePoint, LearningCurve, TrialResult
from batchfront.training.early_dropping import Halving
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Split, Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import quasi_random_points
from batchfront.workload.stopping_rules import StoppingRules
from batchfront.workload.workload import Workload
from batchfront_studies.digits import momentum
from tests.toy import clouds, splits

CPU = torch.device("cpu")
NEVER = Event()


@dataclass(frozen=True)
class Slot:
    number: int


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits()


def heat(
    workload: Workload, data: Splits, batch_size: int, numbers: range, **race: int
) -> Heat[Slot, ModelRun]:
    points = quasi_random_points(workload.space(batch_size), numbers.stop, 1)
    runs = [
        (Slot(n), ModelRun(workload, data, batch_size, points[n], 100 + n, CPU)) for n in numbers
    ]
    return Heat(RaceRules(workload.goal, workload.stopping, **race), runs)


def raced(running: Heat[Slot, ModelRun], rounds: int = 10_000) -> dict[int, TrialResult]:
    """How the trials of a heat end, in the order in which they do."""
    endings: dict[int, TrialResult] = {}
    for _ in range(rounds):
        if not running.live:
            break
        endings |= {slot.number: ending for slot, ending in running.round(NEVER)}
    return endings


def separately(
    workload: Workload, data: Splits, batch_size: int, numbers: range
) -> dict[int, TrialResult]:
    """The paper's protocol: every trial to its goal or to the end of the budget, on its own."""
    patient = replace(workload, stopping=StoppingRules(patience=10**9))
    endings: dict[int, TrialResult] = {}
    for n in numbers:
        endings |= raced(heat(patient, data, batch_size, range(n, n + 1)))
    return endings


def winner(endings: dict[int, TrialResult]) -> tuple[int, int]:
    """Steps and number of the best trial; the lowest number among equals."""
    return min((e.steps_to_target, n) for n, e in endings.items() if e.steps_to_target is not None)


def fixed(*errors: float) -> Workload:
    """A workload whose trials' error rates after steps 1, 2, ... are `errors`."""

    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, 2))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.steps += 1
                return x @ self.weight
            share = errors[min(max(int(self.steps), 1), len(errors)) - 1]
            return nn.functional.one_hot((x[:, 0] < share).long(), 2).float()

    def model(*, dropout: float) -> nn.Module:
        return Scripted()

    return replace(clouds(), model=model, goal=Goal(ERROR_RATE, 0.5), step_budget=200)


_NUMBERED = Split(torch.arange(100)[:, None] / 100, torch.zeros(100, dtype=torch.int64))
NUMBERED = Splits(_NUMBERED, _NUMBERED)
"""Of class 0 all of them; each input is its example's place from 0 to 1."""


@pytest.mark.parametrize("batch_size", [4, 16])
def test_racing_finds_the_winner_of_a_fixed_budget(data: Splits, batch_size: int) -> None:
    for numbers in (range(12), range(5, 9)):
        expected = separately(clouds(), data, batch_size, numbers)
        found = raced(heat(clouds(), data, batch_size, numbers))
        assert found.keys() == set(numbers)
        assert winner(found) == winner(expected)
        best = winner(expected)[0]
        for n, ending in found.items():
            assert ending.steps <= best
            if ending.outcome == "reached":
                assert ending.steps_to_target == expected[n].steps_to_target == best
                assert ending.steps_lower == expected[n].steps_lower
                assert ending.metric == expected[n].metric
                assert ending.test_metric == expected[n].test_metric
            else:
                assert (expected[n].steps_to_target or 10**9) > best


def test_racing_finds_the_winner_of_a_fixed_budget_on_digits() -> None:
    workload = replace(momentum().with_goal(0.06), step_budget=120)
    data = workload.data()
    found = raced(heat(workload, data, 256, range(8)))
    expected = separately(workload, data, 256, range(8))
    assert winner(found) == winner(expected)
    assert sum(e.outcome == "capped" for e in found.values()) >= 3
    assert sum(e.steps for e in found.values()) < sum(e.steps for e in expected.values())


def test_whoever_draws_level_with_the_winner_has_reached_the_goal_too(data: Splits) -> None:
    workload = clouds()
    values = quasi_random_points(workload.space(16), 10, 1)[9]
    twins = [(Slot(n), ModelRun(workload, data, 16, values, 109, CPU)) for n in (9, 3)]
    worse = heat(workload, data, 16, range(1)).live
    endings = raced(Heat(RaceRules(workload.goal, workload.stopping), [*worse, *twins]))
    assert [endings[n].outcome for n in (0, 3, 9)] == ["capped", "reached", "reached"]
    assert endings[3].steps_to_target == endings[9].steps_to_target
    assert winner(endings)[1] == 3


def test_the_others_are_capped_at_the_winners_step_with_the_reason(data: Splits) -> None:
    endings = raced(heat(clouds(), data, 4, range(12)))
    best, _ = winner(endings)
    capped = [e for e in endings.values() if e.outcome == "capped"]
    assert capped
    assert {e.steps for e in capped} == {best}
    assert {e.reason for e in capped} == {f"another trial reached the goal in {best} steps"}


def test_a_cap_from_another_heat_ends_trials_that_have_come_as_far(data: Splits) -> None:
    running = heat(clouds(), data, 4, range(12))
    best, number = winner(separately(clouds(), data, 4, range(12)))
    running.lower_cap(best - 1)
    running.lower_cap(None)
    running.lower_cap(best + 5)
    endings = raced(running)
    assert {e.outcome for e in endings.values()} == {"capped"}
    assert {e.steps for e in endings.values()} == {best - 1}
    equal = heat(clouds(), data, 4, range(12))
    equal.lower_cap(best)
    assert raced(equal)[number].outcome == "reached"


def test_a_trial_that_has_come_further_than_the_cap_is_not_trained_any_more(data: Splits) -> None:
    running = heat(clouds(), data, 4, range(1))
    running.round(NEVER)
    running.round(NEVER)
    running.lower_cap(1)
    ((_, ending),) = running.round(NEVER)
    assert (ending.outcome, ending.steps) == ("capped", 2)


def test_a_trial_that_spends_its_budget_is_exhausted() -> None:
    workload = replace(fixed(0.9), stopping=StoppingRules(stale_after=1e9))
    ((_, ending),) = raced(heat(workload, NUMBERED, 4, range(1))).items()
    last = workload.grid.steps(200)[-1]
    assert (ending.outcome, ending.steps) == ("exhausted", last)
    assert ending.steps_to_target is None
    assert ending.reason == f"step budget of {last} spent"


def test_a_trial_without_progress_is_stalled() -> None:
    def same(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return outputs.sum() * 0 + 1

    going_nowhere = replace(fixed(0.9), loss=same)
    ending = raced(heat(going_nowhere, NUMBERED, 4, range(1)))[0]
    assert (ending.outcome, ending.steps) == ("stalled", 128)
    assert ending.reason == "no lower training loss or better error rate since step 1"
    learning = fixed(0.9)  # whose training loss does come down
    assert raced(heat(learning, NUMBERED, 4, range(1)))[0].outcome == "exhausted"
    patient = replace(fixed(*[0.9] * 140, 0.1), loss=same, stopping=StoppingRules(stale_after=1e9))
    assert raced(heat(patient, NUMBERED, 4, range(1)))[0].outcome == "reached"


def test_steps_lower_is_the_look_before_at_which_the_goal_stood_open() -> None:
    at_once = raced(heat(fixed(0.1), NUMBERED, 4, range(1)))[0]
    assert (at_once.steps_to_target, at_once.steps_lower) == (1, 0)
    errors = [0.9 if step < 134 else 0.3 for step in range(1, 200)]
    grid = EvaluationGrid(first=3, spacing=0.1)
    later = raced(heat(replace(fixed(*errors), grid=grid), NUMBERED, 4, range(1)))[0]
    steps = grid.steps(200)
    index = next(i for i, step in enumerate(steps) if step >= 134)
    assert (later.steps_to_target, later.steps_lower) == (steps[index], steps[index - 1])
    assert later.metric_step == steps[index]


def test_the_first_look_below_the_goal_counts_even_if_the_next_is_above_it() -> None:
    errors = [0.9, 0.9, 0.9, 0.4, 0.9, 0.3]
    assert raced(heat(fixed(*errors), NUMBERED, 4, range(1)))[0].steps_to_target == 4


def test_a_loss_that_is_not_a_number_ends_its_trial_as_diverged(data: Splits) -> None:
    running = heat(clouds(), data, 4, range(3))
    running.round(NEVER)
    next(running.live[1][1].model.parameters()).data.fill_(float("nan"))
    ((slot, ending),) = running.round(NEVER)
    assert (slot.number, ending.outcome, ending.steps) == (1, "diverged", 2)
    assert [slot.number for slot, _ in running.live] == [0, 2]


def test_a_learning_rate_beyond_all_bounds_diverges(data: Splits) -> None:
    workload = clouds()
    values = {**quasi_random_points(workload.space(4), 1, 1)[0], "learning_rate": 1e12}
    run = ModelRun(workload, data, 4, values, 0, CPU)
    running = Heat(RaceRules(workload.goal, workload.stopping), [(Slot(0), run)])
    assert raced(running)[0].outcome == "diverged"


def test_a_trial_that_raises_fails_alone_with_its_traceback_and_the_others_go_on(
    data: Splits,
) -> None:
    class Cracked(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise ZeroDivisionError("a crack\nand more of it")
            return super().forward(x)

    running = heat(clouds(), data, 4, range(12))
    expected = winner(raced(heat(clouds(), data, 4, range(12))))
    cracked = ModelRun(
        replace(clouds(), model=lambda: Cracked(2, 3)),
        data,
        4,
        {"learning_rate": 0.1, "momentum": 0.0, "decay_steps": 9, "decay_factor": 1.0},
        0,
        CPU,
    )
    running.live.insert(4, (Slot(99), cracked))
    endings = raced(running)
    failed = endings.pop(99)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("ZeroDivisionError: a crack\nTraceback")
    assert "in forward" in failed.reason
    assert winner(endings) == expected


def test_a_stop_leaves_every_trial_where_it_goes_on_to_the_same_result(data: Splits) -> None:
    expected = raced(heat(clouds(), data, 4, range(6)))
    running, stop = heat(clouds(), data, 4, range(6)), Event()
    endings = raced(running, rounds=4)
    stop.set()
    steps = [run.step for _, run in running.live]
    assert running.round(stop) == []
    assert [run.step for _, run in running.live] == steps
    endings |= raced(running)
    assert {n: (e.outcome, e.steps, e.evaluations) for n, e in endings.items()} == {
        n: (e.outcome, e.steps, e.evaluations) for n, e in expected.items()
    }


def test_trials_that_are_behind_catch_up_before_the_others_go_on(data: Splits) -> None:
    running = heat(clouds(), data, 4, range(3))
    running.live[1][1].advance(5)
    running.live[1][1].evaluate(full=True)
    seen = []
    for _ in range(7):
        running.round(NEVER)
        seen.append([run.step for _, run in running.live])
    assert seen == [[k, 5, k] for k in range(1, 6)] + [[6, 6, 6], [7, 7, 7]]


def test_the_looks_of_a_trial_are_those_of_the_grids_rungs(data: Splits) -> None:
    endings = raced(heat(clouds(), data, 16, range(1)))
    steps = [look.step for look in endings[0].evaluations]
    grid = EvaluationGrid().steps(endings[0].steps)
    expected = [s for p, s in zip((0, *grid), grid, strict=False) if EvaluationGrid().is_full(s, p)]
    assert steps == expected


def halving(workload: Workload, data: Splits, numbers: range) -> Heat[Slot, ModelRun]:
    rule = Halving(workload.goal, first=4, kept=1)
    running = heat(workload, data, 4, numbers)
    return Heat(replace(running.rules, dropping=[rule]), running.live)


def test_by_a_rule_trials_are_dropped_at_their_full_looks(data: Splits) -> None:
    running, asked = halving(clouds(), data, range(8)), []
    dropped: dict[int, TrialResult] = {}

    def known(step: int, looked: object) -> dict[int, LearningCurve]:
        asked.append(step)
        return {}

    while running.live and len(dropped) < 4:
        running.round(NEVER)
        dropped |= {slot.number: ending for slot, ending in running.compare(known)}
    assert asked == [1, 2, 3, 4]
    assert {ending.outcome for ending in dropped.values()} == {"dropped"}
    assert {ending.steps for ending in dropped.values()} == {4}
    assert sorted(e.reason for e in dropped.values())[0] == "halved at step 4: number 5 of 8"
    left = [run.evaluations[-1].metric for _, run in running.live]
    assert max(left) <= min(e.metric for e in dropped.values() if e.metric is not None)
    assert running.compare(known) == []  # at each look a trial is compared once


def test_those_known_from_other_heats_count_too(data: Splits) -> None:
    running = halving(clouds(), data, range(2))
    while running.live and min(run.step for _, run in running.live) < 4:
        running.round(NEVER)
        better = {number: [CurvePoint(4, 0.0)] for number in (5, 6, 7)}
        ended = running.compare(lambda step, _, better=better: better if step == 4 else {})
    assert {ending.outcome for _, ending in ended} == {"dropped"}
    assert not running.live


def test_one_that_has_passed_the_goal_and_goes_on_is_not_dropped(data: Splits) -> None:
    workload = clouds().with_goal(0.5)
    alone = heat(workload, data, 4, range(1))
    rule = Halving(workload.goal, first=1, kept=1)
    running = Heat(replace(alone.rules, continuing=1, dropping=[rule]), alone.live)
    better: dict[int, LearningCurve] = {number: [CurvePoint(64, 0.0)] for number in (5, 6, 7)}
    while running.live and running.live[0][1].step < 64:
        running.round(NEVER)
        here = running.live[0][1]
        known = better if here.goal_crossing is not None else {}
        assert running.compare(lambda *_, known=known: known) == []
    assert running.live
