"""The best goal metric within a budget, and whether the trials that were run settle it."""

from typing import Any

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.analysis.budget import BestWithin, Budget, budgets, default_budgets
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import curve, ended, loaded, reached
from tests.batchfront.report.rows import add_study

NAME = "a/b/momentum"
ACCURACY = {"metric": "accuracy", "better": "higher", "value": 0.9}


def within(storage: Storage, amount: float, unit: Any = "steps") -> tuple[BestWithin, ...]:
    frontier, trials, curves = loaded(storage, NAME)
    (result,) = budgets(frontier, trials, curves, [Budget(amount, unit)]).results
    return result.points


@pytest.fixture
def raced(storage: Storage) -> Storage:
    """A race that trial 1 wins in 8 steps, at batch size 50 of 1,000 examples; goal 0.03."""
    trials = [
        ended("capped", 8, curve=curve((1, 0.8), (2, 0.3), (4, 0.4), (8, None))),
        reached(8, curve=curve((1, 0.9), (2, 0.5), (4, 0.2), (8, 0.02))),
        ended("diverged", 3, curve=curve((1, 0.7), (2, 9.0))),
    ]
    add_study(storage, NAME, 50, trials)
    return storage


def test_the_best_value_is_of_all_looks_within_the_budget(raced: Storage) -> None:
    assert within(raced, 1) == (BestWithin(50, 1, 0.7, 2, 1, False, 3, True),)
    assert within(raced, 3) == (BestWithin(50, 3, 0.3, 0, 2, False, 3, True),)
    assert within(raced, 7) == (BestWithin(50, 7, 0.2, 1, 4, False, 3, True),)
    assert within(raced, 8) == (BestWithin(50, 8, 0.02, 1, 8, True, 3, True),)


def test_beyond_where_trials_stopped_the_value_is_not_complete(raced: Storage) -> None:
    why = "stopped before: 1 reached, 1 capped"
    assert within(raced, 9) == (BestWithin(50, 9, 0.02, 1, 8, True, 1, False, why),)


def test_trials_that_went_on_past_the_goal_complete_it(storage: Storage) -> None:
    looks = curve((8, 0.02), (64, 0.01))
    went_on = reached(64, steps_to_target=8, curve=looks)
    add_study(storage, NAME, 50, [went_on, ended("exhausted", 64, curve=curve((64, 0.1)))])
    assert within(storage, 64) == (BestWithin(50, 64, 0.01, 0, 64, True, 2, True),)
    (point,) = within(storage, 65)
    assert not point.complete


def test_a_budget_of_epochs_or_examples_is_steps_of_each_batch_size(raced: Storage) -> None:
    add_study(raced, NAME, 400, [reached(3, curve=curve((1, 0.5), (3, 0.01)))])
    assert [(p.batch_size, p.steps) for p in within(raced, 0.4, "epochs")] == [(50, 8), (400, 1)]
    assert [(p.batch_size, p.steps) for p in within(raced, 399, "examples")] == [(50, 7)]


def test_more_can_be_better(storage: Storage) -> None:
    trials = [reached(4, curve=curve((1, 0.5), (2, 0.8), (4, 0.95), metric="accuracy"))]
    trials += [ended("capped", 4, curve=curve((1, 0.6), (2, 0.7), metric="accuracy"))]
    add_study(storage, NAME, 8, trials, goal=ACCURACY)
    assert [p.value for p in within(storage, 1)] == [0.6]
    assert [p.value for p in within(storage, 3)] == [0.8]
    assert [(p.value, p.past_goal) for p in within(storage, 4)] == [(0.95, True)]


def test_of_equals_the_lowest_number_and_the_earliest_look_come_first(storage: Storage) -> None:
    trials = [
        ended("exhausted", 9, curve=curve((1, 0.5), (2, 0.2), (3, 0.2))),
        ended("exhausted", 9, curve=curve((1, 0.2))),
    ]
    add_study(storage, NAME, 8, trials)
    (point,) = within(storage, 9)
    assert (point.trial, point.step, point.past_goal) == (0, 2, False)


def test_before_the_first_look_there_is_no_value(storage: Storage) -> None:
    add_study(storage, NAME, 8, [ended("exhausted", 9, curve=curve((4, 0.5), (9, 0.4)))])
    assert within(storage, 3) == (BestWithin(8, 3, None, None, None, False, 1, True),)


def test_without_measurements_there_is_a_reason(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(9)])
    frontier, trials, curves = loaded(storage, NAME)
    found = budgets(frontier, trials, curves)
    assert (found.results, found.reason) == (
        (),
        "no measurements of validation error rate are kept",
    )


def test_default_budgets_span_what_was_run(storage: Storage) -> None:
    # 1,000 examples: 16 epochs of 10, 6.4 of 400.
    add_study(storage, NAME, 10, [reached(1600, curve=curve((1, 0.5), (1600, 0.01)))])
    add_study(storage, NAME, 400, [reached(16, curve=curve((1, 0.5), (16, 0.01)))])
    frontier, trials, curves = loaded(storage, NAME)
    chosen = default_budgets(frontier, curves)
    steps = [budget.amount for budget in chosen if budget.unit == "steps"]
    assert steps == [16, 51, 160, 510, 1600]
    epochs = [budget.amount for budget in chosen if budget.unit == "epochs"]
    assert epochs == [6.4, 8.0, 10.0, 13.0, 16.0]
    assert [result.budget for result in budgets(frontier, trials, curves).results] == [*chosen]


def test_a_study_that_does_not_know_its_data_has_budgets_of_examples(storage: Storage) -> None:
    add_study(storage, NAME, 10, [reached(16, curve=curve((16, 0.01)))], train_examples=0)
    frontier, _, curves = loaded(storage, NAME)
    assert default_budgets(frontier, curves) == (Budget(16, "steps"), Budget(160, "examples"))
    with pytest.raises(UsageError, match=r"--epochs: study a/b/momentum/b10 does not know"):
        within(storage, 2, "epochs")


def test_a_goal_without_a_metric_has_none_to_measure(storage: Storage) -> None:
    goal = {"metric": "", "better": "lower", "value": None, "text": "as published"}
    add_study(storage, NAME, 8, [reached(9)], goal=goal)
    assert budgets(*loaded(storage, NAME)).reason == "no measurements of the goal metric are kept"
