"""Whatever keeps to the protocol of a run races: here, things that count."""

import subprocess
import sys
from dataclasses import replace
from threading import Event

import torch

from batchfront.outcomes import TrialResult
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.training.run import Run
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.stopping_rules import StoppingRules
from tests.batchfront.training.test_heat import Slot
from tests.counting import BUDGET, Counter, Every, Program
from tests.toy import clouds, splits

GOAL = Goal(ERROR_RATE, 0.5)
RULES = RaceRules(GOAL, StoppingRules())


def raced(*runs: Run, rules: RaceRules = RULES) -> list[TrialResult]:
    """Their results, in the order given."""
    heat = Heat(rules, [(Slot(number), run) for number, run in enumerate(runs)])
    results: dict[int, TrialResult] = {}
    while heat.live:
        results |= {slot.number: result for slot, result in heat.round(Event())}
    return [results[number] for number in range(len(runs))]


def test_the_fastest_wins_and_caps_the_others_at_its_step() -> None:
    first, second, third = raced(
        Counter(GOAL, 0.004), Counter(GOAL, 0.01), Counter(GOAL, 0.009, untrained_loss=None)
    )
    assert (second.outcome, second.steps_to_target, second.steps_lower) == ("reached", 51, 50)
    assert [(r.outcome, r.steps) for r in (first, third)] == [("capped", 51)] * 2
    assert second.metric == 1 - 0.01 * 51
    assert (second.engine, second.micro_batch, second.test_metric) == ("counting", None, None)
    assert second.cost.evaluated_examples == len(
        [step for step in range(1, 52) if step in Counter(GOAL, 0.0).evaluation_steps]
    )


def test_one_that_does_not_learn_is_stalled_and_one_without_a_finite_loss_diverged() -> None:
    stalled, diverged, slow = raced(
        Counter(GOAL, 0.0), Counter(GOAL, 0.01, breaks_at=20), Counter(GOAL, 0.0001)
    )
    assert (stalled.outcome, stalled.steps) == ("stalled", 128)
    assert (diverged.outcome, diverged.steps) == ("diverged", 20)
    last = EvaluationGrid().steps(BUDGET)[-1]
    assert (slow.outcome, slow.steps) == ("exhausted", last)


def test_one_that_raises_fails_alone() -> None:
    class Broken(Counter):
        def advance(self, to_step: int, stop: Event | None = None) -> bool:
            raise ArithmeticError("lost count")

    failed, reached = raced(Broken(GOAL, 0.1), Counter(GOAL, 0.1))
    assert failed.outcome == "failed"
    assert failed.reason.startswith("ArithmeticError: lost count")
    assert reached.outcome == "reached"


def test_one_that_evaluates_itself_reaches_the_goal_to_within_its_own_interval() -> None:
    """Where others stand still, it may be past them: it waits until they have caught up."""
    every_ten, every_forty = Every(10, BUDGET), Every(40, BUDGET)
    sparse, exact, slow = raced(
        Program(GOAL, 0.012, evaluation_steps=every_forty),
        Program(GOAL, 0.01, evaluation_steps=every_ten),
        Counter(GOAL, 0.001),
        rules=replace(RULES, finishers=2),
    )
    assert (sparse.steps_to_target, sparse.steps_lower) == (80, 40)
    assert (exact.steps_to_target, exact.steps_lower) == (60, 50)
    assert slow.outcome == "capped"
    assert 80 <= slow.steps < 82


def test_one_that_evaluates_itself_is_exhausted_when_its_budget_has_no_room_for_another() -> None:
    (result,) = raced(Program(GOAL, 0.001, evaluation_steps=Every(40, 100)))
    assert (result.outcome, result.steps) == ("exhausted", 80)


def test_it_takes_no_torch() -> None:
    program = (
        "import sys\n"
        "import batchfront.training.heat, batchfront.training.run, batchfront.training.engines\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_is_one_of_them() -> None:
    values = {"learning_rate": 0.05, "momentum": 0.9, "dropout": 0.0, "label_smoothing": 0.0}
    values |= {"decay_steps": 150, "decay_factor": 0.1}
    # That `ModelRun` is a `Run`, mypy sees here.
    run = ModelRun(clouds(), splits(), 16, values, 1, torch.device("cpu"))
    result, _ = raced(run, Counter(GOAL, 0.001))
    assert result.outcome == "reached"
