"""The curve for every goal: what is exact, what is censored, and what is said of either."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.analysis.along_training import (
    GoalCurve,
    along_training,
    curves_by_goal,
    require_one_metric,
)
from batchfront.frontier.analysis.along_training_text import along_table, brief, goal_answers
from batchfront.frontier.analysis.other_goals import GoalPoint
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import number
from batchfront.frontier.frontier import load_frontier, load_frontiers
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import curve, ended, loaded, reached
from tests.batchfront.report.rows import GOAL, add_study

NAME = "a/b/momentum"
OWN = GOAL["value"]
SIZES = (4, 8, 16, 32, 64, 128, 256)
SLOWER = (1.3, 1.0, 1.7, 2.5)
"""How many times the fastest trial's steps each trial of a study takes; the second one is it."""


def needed(batch_size: int) -> int:
    """Steps of the fastest trial to the goal searched for."""
    return round(200 * (1 + 40 / batch_size))


def measured(needs: float, until: int, every: float = 1.08) -> Sequence[Any]:
    """A trial's error at steps so far apart and at its last one: it is below the goal once it has
    had more steps than it needs, below twice that after half of them."""
    steps = sorted({*(round(every**n) for n in range(180) if every**n <= until), until})
    return curve(*((step, OWN * needs / (step + 0.5)) for step in steps))


def raced(needs: float, cap: float, every: float = 1.08) -> dict[str, Any]:
    """A trial of a race that ends at `cap`."""
    if needs <= cap:
        return reached(round(needs), curve=measured(needs, round(needs), every))
    return ended("capped", round(cap), curve=measured(needs, round(cap), every))


def search(storage: Storage, name: str = NAME, *, cap: float = 1.0, **columns: Any) -> None:
    """A search of all batch sizes, each race over after so many times the fastest trial's steps."""
    for size in SIZES:
        steps = needed(size)
        add_study(storage, name, size, [raced(k * steps, cap * steps) for k in SLOWER], **columns)


def at(storage: Storage, goal: float, name: str = NAME) -> GoalCurve:
    (found,) = along_training(*loaded(storage, name), [goal])
    return found


def steps(found: GoalCurve) -> dict[int, float | None]:
    return {point.batch_size: point.steps for point in found.points}


def test_an_easier_goal_is_as_complete_by_trials_that_were_capped_as_by_those_that_ran_on(
    storage: Storage,
) -> None:
    search(storage)
    search(storage, "a/b/whole", cap=10.0)
    for goal in (0.04, 0.1, 0.5):
        short, whole = at(storage, goal), at(storage, goal, "a/b/whole")
        assert all(point.complete for point in short.points)
        assert [(p.steps, p.steps_lower) for p in short.points] == [
            (p.steps, p.steps_lower) for p in whole.points
        ]


@pytest.mark.parametrize("goal", [0.06, 0.12])
def test_the_curve_of_an_easier_goal_is_that_of_its_own_steps(
    storage: Storage, goal: float
) -> None:
    search(storage)
    found = at(storage, goal)
    # In half of the steps each trial is at twice the error: the same curve, lower.
    assert found.curve.half_efficiency.value == pytest.approx(40, rel=0.2)
    assert found.curve.s_min.value == pytest.approx(200 * OWN / goal, rel=0.1)
    assert goal_answers(found)[0].startswith("Scaling is near-perfect up to batch size")


def test_the_curve_of_its_own_goal_is_the_one_that_it_always_is(storage: Storage) -> None:
    search(storage)
    own = at(storage, OWN)
    assert own.goal.own
    assert own.curve == fit_curve(load_frontier(storage, NAME))


def test_near_perfect_is_measured_from_where_it_is_asked_for(storage: Storage) -> None:
    search(storage)
    (found,) = curves_by_goal(storage, NAME, [0.06], perfect_from=16)
    assert found.curve.perfect_from == 16


def test_the_first_step_at_which_a_goal_may_have_been_passed_is_that_of_all_trials(
    storage: Storage,
) -> None:
    seen_first = reached(20, curve=curve((1, 0.9), (6, 0.5), (8, 0.09), (20, 0.02)))
    perhaps_first = reached(30, curve=curve((1, 0.9), (3, 0.5), (9, 0.09), (30, 0.02)))
    add_study(storage, NAME, 8, [seen_first, perhaps_first])
    assert at(storage, 0.1).points == (GoalPoint(8, 8, 3, 64, 0, True),)


def test_a_harder_goal_is_left_open_where_trials_stopped_at_their_own(storage: Storage) -> None:
    search(storage)
    found = at(storage, 0.01)
    assert found.complete == ()
    assert found.censored == found.points
    # Nothing is exact, but that nobody passed it before the goal that is easier was passed.
    assert [point.steps_lower for point in found.points] == [needed(size) for size in SIZES]
    assert found.curve.refusal == (
        "the steps to this goal are known at 0 batch sizes, and 4 are needed"
    )
    text = " ".join(goal_answers(found))
    assert "Nobody can tell the steps at batch sizes 4, 8, 16, 32, 64, 128 and 256" in text
    assert "Trials stop at the goal that was searched for, which is easier; `batchfront run" in text
    assert "--after-goal continue" in text


def test_a_harder_goal_is_a_bound_where_some_went_on_and_others_had_stopped(
    storage: Storage,
) -> None:
    for size in SIZES:
        fast = needed(size)
        on = reached(
            4 * fast, steps_to_target=fast, steps_lower=fast - 1, curve=measured(fast, 4 * fast)
        )
        add_study(storage, NAME, size, [on, raced(1.2 * fast, fast)])
    found = at(storage, OWN / 2)
    assert all(p.steps and p.steps > needed(p.batch_size) for p in found.points)
    assert not any(point.complete for point in found.points)
    assert not found.by_expected_steps
    assert "might have passed this goal at batch sizes 4, 8," in " ".join(goal_answers(found))


def test_a_harder_goal_is_complete_where_all_trials_went_on(storage: Storage) -> None:
    for size in SIZES:
        fast = needed(size)
        trials = [
            reached(
                6 * fast,
                steps_to_target=round(k * fast),
                steps_lower=round(k * fast) - 1,
                curve=measured(k * fast, 6 * fast),
            )
            for k in SLOWER
        ]
        add_study(storage, NAME, size, trials)
    found = at(storage, OWN / 2)
    assert all(point.complete for point in found.points)
    assert found.curve.half_efficiency.value == pytest.approx(40, rel=0.2)


def test_no_curve_goes_through_a_batch_size_that_is_not_complete(storage: Storage) -> None:
    search(storage)
    slow = ended("dropped", 2, curve=curve((1, 0.9)))
    fast = needed(512)
    add_study(storage, NAME, 512, [raced(fast, fast), slow])
    found = at(storage, 0.06)
    assert [point.batch_size for point in found.censored] == [512]
    assert 512 not in {one.batch_size for one in found.curve.observations}
    text = " ".join(goal_answers(found))
    assert "Trials that stopped before might have passed this goal at batch size 512" in text
    assert "The curve leaves it out." in text


def test_its_own_goal_is_not_complete_where_a_trial_was_dropped_before(storage: Storage) -> None:
    dropped = ended("dropped", 5, curve=curve((1, 0.9)))
    add_study(storage, NAME, 8, [reached(20, curve=curve((20, 0.02))), dropped])
    assert at(storage, OWN).points == (GoalPoint(8, 20, 19, 160, 0, False, "1 dropped"),)


def test_a_bound_that_the_curve_contradicts_is_told(storage: Storage) -> None:
    search(storage)
    odd = ended("dropped", 1, curve=curve((1, 0.9)))
    add_study(storage, NAME, 512, [raced(10, 10), odd])
    text = " ".join(goal_answers(at(storage, 0.06)))
    assert "The curve is wrong at batch size 512: 5 steps were enough, fewer than" in text


def test_batch_sizes_at_which_no_trial_passed_it_end_the_answers(storage: Storage) -> None:
    search(storage)
    add_study(storage, NAME, 512, [ended("exhausted", 900, curve=curve((1, 0.9), (900, 0.5)))])
    found = at(storage, 0.06)
    assert found.curve.unreached == (512,)
    assert "No trial passed this goal at batch size 512." in goal_answers(found)
    assert (found.curve.useful_until.value or 0) <= 512


def test_many_trials_that_passed_an_easier_goal_are_told_to_the_surrogate(
    storage: Storage, spread: Callable[..., None]
) -> None:
    spread(storage)
    found = at(storage, 0.06)
    assert found.by_expected_steps
    assert [one.batch_size for one in found.curve.observations] == list(SIZES)
    ratios = [p.steps / (needed(p.batch_size) * OWN / 0.06) for p in found.expected.points]
    assert all(0.8 < ratio < 1.5 for ratio in ratios)


def test_what_is_expected_is_no_surer_than_evaluations_leave_it(
    storage: Storage, spread: Callable[..., None]
) -> None:
    spread(storage, every=8.0)
    coarse = at(storage, 0.06)
    for size, point in coarse.expected.by_batch_size.items():
        crossed = next(p for p in coarse.points if p.batch_size == size)
        apart = (crossed.steps or 0) / ((crossed.steps_lower or 0) + 1)
        assert point.high / point.low >= apart**0.9
    assert not coarse.by_expected_steps


def test_who_hears_late_of_a_winner_changes_nothing_that_is_expected_to_an_easier_goal(
    storage: Storage, second_storage: Storage, spread: Callable[..., None]
) -> None:
    spread(storage)
    spread(second_storage, late=1.3)
    assert at(storage, 0.06).expected.points
    assert at(second_storage, 0.06).expected == at(storage, 0.06).expected


@pytest.fixture
def spread() -> Callable[..., None]:
    """Makes a search of eight learning rates, of which all but one reach an easier goal before the
    race to the harder one is over: by steps that rise to either side of the best rate.

    late -- how many times the winner's steps every other trial had when it heard of it
    """

    def make(storage: Storage, every: float = 1.08, late: float = 1.0) -> None:
        rates = [0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2]
        away = [2.2, 1.7, 1.4, 1.15, 1.0, 1.15, 1.4, 1.9]
        for size in SIZES:
            fast = needed(size)
            trials = [
                {
                    **raced(k * fast, fast * (late if n % 2 else 1.0), every),
                    "params": {"learning_rate": rate, "momentum": 0.9},
                }
                for n, (rate, k) in enumerate(zip(rates, away, strict=True))
            ]
            add_study(storage, NAME, size, trials)

    return make


def test_the_table_has_a_row_for_each_goal_the_easiest_first(storage: Storage) -> None:
    search(storage)
    table = along_table(curves_by_goal(storage, NAME, [0.01, OWN, 0.06]))
    rows = list(table.cells())
    assert [row[0] for row in rows] == ["< 0.06", "< 0.03, its own", "< 0.01"]
    assert [row[-1] for row in rows] == ["7 of 7", "7 of 7", "0 of 7"]
    assert rows[2][1:5] == ["–"] * 4
    assert any(note.startswith("No curve for < 0.01: the steps to") for note in table.notes)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(64.0, 41.0, 97.0), "64 (41–97)"),
        (Estimate(64.0, 41.0, None), "64 (41 or more)"),
        (Estimate(None, None, 97.0), "97 or less"),
        (Estimate(None, None, None), None),
    ],
)
def test_an_estimate_in_few_words(estimate: Estimate, text: str | None) -> None:
    assert brief(estimate, number) == text


def test_goals_of_different_metrics_are_not_asked_for_at_once(storage: Storage) -> None:
    add_study(storage, NAME, 8, [])
    add_study(storage, "a/c/x", 8, [], goal={**GOAL, "metric": "accuracy", "better": "higher"})
    with pytest.raises(UsageError, match=r"of different metrics, .*accuracy.*; name one"):
        require_one_metric(load_frontiers(storage))
