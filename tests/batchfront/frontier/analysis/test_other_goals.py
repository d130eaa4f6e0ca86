"""Steps to other goals from the same measurements."""

from typing import Any

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.analysis.other_goals import GoalPoint, default_goals, goals
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import curve, ended, loaded, reached
from tests.batchfront.report.rows import GOAL, add_study

NAME = "a/b/momentum"
OWN = GOAL["value"]


def points(storage: Storage, goal: float) -> tuple[GoalPoint, ...]:
    (found,) = goals(*loaded(storage, NAME), [goal]).frontiers
    return found.points


@pytest.fixture
def raced(storage: Storage) -> Storage:
    """A race to 0.03 that trial 1 wins in 10 steps, at batch size 50."""
    trials = [
        ended("capped", 10, curve=curve((1, 0.8), (2, 0.3), (4, 0.4), (8, 0.3))),
        reached(10, curve=curve((1, 0.9), (2, 0.5), (4, 0.2), (8, 0.2), (10, 0.02))),
        ended("diverged", 3, curve=curve((1, 0.7), (2, None))),
    ]
    add_study(storage, NAME, 50, trials)
    return storage


def test_its_own_goal_has_the_steps_of_the_frontier(raced: Storage) -> None:
    assert points(raced, OWN) == (GoalPoint(50, 10, 9, 500, 1, True),)


def test_an_easier_goal_was_passed_between_two_looks_by_whoever_came_first(raced: Storage) -> None:
    assert points(raced, 0.35) == (GoalPoint(50, 2, 1, 100, 0, True),)
    assert points(raced, 0.25) == (GoalPoint(50, 4, 2, 200, 1, True),)
    assert points(raced, 0.04) == (GoalPoint(50, 10, 8, 500, 1, True),)


def test_past_means_strictly_past_and_equals_go_to_the_lowest_number(raced: Storage) -> None:
    assert points(raced, 0.2) == (GoalPoint(50, 10, 8, 500, 1, True),)
    assert points(raced, 0.95) == (GoalPoint(50, 1, 0, 50, 0, True),)


def test_a_harder_goal_needs_trials_that_went_on(raced: Storage) -> None:
    # The winner's own look was past 0.025 too; nobody had passed it before.
    assert points(raced, 0.025) == (GoalPoint(50, 10, 9, 500, 1, True),)
    why = "none passed it, but stopped early: 1 reached, 1 capped"
    assert points(raced, 0.01) == (GoalPoint(50, None, 10, None, None, False, why),)


def test_trials_that_went_on_settle_a_harder_goal(storage: Storage) -> None:
    trials = [
        reached(
            64, steps_lower=7, steps_to_target=8, curve=curve((8, 0.02), (32, 0.01), (64, 0.0))
        ),
        ended("exhausted", 64, curve=curve((8, 0.3), (64, 0.2))),
    ]
    add_study(storage, NAME, 50, trials)
    assert points(storage, 0.015) == (GoalPoint(50, 32, 8, 1600, 0, True),)
    assert points(storage, -1.0) == (GoalPoint(50, None, 64, None, None, False, NONE),)


NONE = "none passed it, but stopped early: 1 reached"


def test_a_trial_that_stopped_before_might_have_been_first(storage: Storage) -> None:
    trials = [
        reached(64, steps_lower=39, steps_to_target=40, curve=curve((40, 0.02), (64, 0.01))),
        ended("capped", 40, curve=curve((32, 0.04))),
    ]
    add_study(storage, NAME, 50, trials)
    assert points(storage, 0.015) == (
        GoalPoint(50, 64, 40, 3200, 0, False, "stopped before: 1 capped"),
    )


def test_open_trials_leave_every_goal_open(storage: Storage) -> None:
    add_study(storage, NAME, 50, [reached(8, curve=curve((8, 0.02))), {}])
    assert points(storage, OWN) == (GoalPoint(50, 8, 7, 400, 0, False, "1 open"),)
    assert not points(storage, 0.5)[0].complete


def test_a_trial_that_goes_on_has_settled_its_own_goal(storage: Storage) -> None:
    goes_on = {"steps": 20, "steps_to_target": 8, "steps_lower": 7}
    other = ended("capped", 8, curve=curve((8, 0.1)))
    add_study(storage, NAME, 50, [goes_on, other])
    assert points(storage, OWN) == (GoalPoint(50, 8, 7, 400, 0, True),)


def test_a_goal_that_the_whole_budget_did_not_reach_is_settled(storage: Storage) -> None:
    trials = [
        ended("exhausted", 90, curve=curve((64, 0.2), (90, 0.1))),
        ended("diverged", 3, curve=curve((2, 0.5))),
    ]
    add_study(storage, NAME, 50, trials)
    assert points(storage, 0.15) == (GoalPoint(50, 90, 64, 4500, 0, True),)
    assert points(storage, 0.05) == (GoalPoint(50, None, 90, None, None, True, "none passed it"),)


def test_more_can_be_better(storage: Storage) -> None:
    looks = curve((1, 0.5), (2, 0.8), (4, 0.95), metric="accuracy")
    goal = {"metric": "accuracy", "better": "higher", "value": 0.9}
    add_study(storage, NAME, 8, [reached(4, curve=looks)], goal=goal)
    assert points(storage, 0.7) == (GoalPoint(8, 2, 1, 16, 0, True),)
    assert points(storage, 0.8) == (GoalPoint(8, 4, 2, 32, 0, True),)
    found = goals(*loaded(storage, NAME), [0.9, 0.7, 0.7])
    assert (found.metric, found.better) == ("validation accuracy", "higher")
    asked = [(one.value, one.text) for one in found.frontiers]
    assert asked == [(0.7, "> 0.7"), (0.9, "> 0.9")]  # the easiest first


def test_the_default_goals_lie_between_the_start_and_its_own(raced: Storage) -> None:
    frontier, trials, curves = loaded(raced, NAME)
    start = 0.8  # the median of the first looks
    halves = [OWN * (start / OWN) ** part for part in (1 / 8, 1 / 4, 1 / 2)]
    chosen = default_goals(frontier, curves)
    assert chosen == (OWN, *(pytest.approx(goal, rel=0.05) for goal in halves))
    found = goals(frontier, trials, curves).frontiers
    assert [one.value for one in found] == sorted(chosen, reverse=True)
    assert [one.own for one in found] == [False, False, False, True]
    assert all(one.points[0].complete for one in found)


def test_where_trials_went_on_a_harder_goal_is_among_the_defaults(storage: Storage) -> None:
    for batch_size, last in ((8, 0.01), (16, 0.0)):
        looks = curve((1, 0.9), (8, 0.02), (64, last))
        add_study(storage, NAME, batch_size, [reached(64, steps_to_target=8, curve=looks)])
    frontier, trials, curves = loaded(storage, NAME)
    harder = min(default_goals(frontier, curves))
    assert harder == pytest.approx((OWN * 0.01) ** 0.5, rel=0.01)
    assert [p.steps for p in goals(frontier, trials, curves).frontiers[-1].points] == [64, 64]


@pytest.mark.parametrize("goal", [float("nan"), float("inf")])
def test_a_goal_must_be_a_number(raced: Storage, goal: float) -> None:
    with pytest.raises(UsageError, match=r"--goal (nan|inf): must be a finite number"):
        points(raced, goal)


def test_without_measurements_there_is_a_reason(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(9)])
    found: Any = goals(*loaded(storage, NAME))
    assert (found.frontiers, found.reason) == (
        (),
        "no measurements of validation error rate are kept",
    )
