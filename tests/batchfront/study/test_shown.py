"""What trials would have shown to one worker alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batchfront.store.url import Storage
from batchfront.study.shown import Shown, as_raced
from batchfront.study.study import Study
from tests.searches import NAME, planned, stored


def one(number: int, steps: int, outcome: str = "capped", round_: int | None = None) -> Shown:
    """A slot that ended so; one that reached the goal stopped there."""
    to_target = steps if outcome == "reached" else None
    return Shown(number, round_, {}, outcome, steps, to_target, 0.5)


def told(shown: list[Shown]) -> list[tuple[str | None, int, int | None]]:
    return [(each.outcome, each.steps, each.steps_to_target) for each in shown]


@pytest.fixture
def study(storage: Storage) -> Callable[..., Study]:
    """Plans a study of eight trials, and returns it."""

    def make(**asked: Any) -> Study:
        planned(storage, trials=8, batch_sizes=(4,), **asked)
        return stored(storage, f"{NAME}/b4")

    return make


@pytest.mark.parametrize("outcome", ["capped", "reached", "diverged", "stalled", "failed"])
def test_what_went_on_past_the_winner_was_capped_there(
    study: Callable[..., Study], outcome: str
) -> None:
    shown = [one(0, 60, "reached"), one(1, 61, outcome), one(2, 60), one(3, 60, "diverged")]
    late = ("capped", 60, None)
    raced = as_raced(study(), shown)
    assert told(raced) == [("reached", 60, 60), late, late, ("diverged", 60, None)]
    assert raced[1].metric is None
    assert raced[2] is shown[2]


def test_as_many_reach_the_goal_as_a_race_has_finishers(study: Callable[..., Study]) -> None:
    shown = [one(n, 60 + n, "reached") for n in range(4)]
    three = study(finishers=3)
    assert [each.outcome for each in as_raced(three, shown)] == ["reached"] * 3 + ["capped"]
    assert as_raced(three, shown[:2]) == shown[:2]


def test_two_that_reached_it_in_the_same_step_both_did(study: Callable[..., Study]) -> None:
    shown = [one(0, 60, "reached"), one(1, 60, "reached")]
    assert as_raced(study(), shown) == shown


def test_one_that_goes_on_past_the_goal_counts_by_when_it_passed(
    study: Callable[..., Study],
) -> None:
    goes_on = [replace(one(n, 150, "exhausted"), steps_to_target=n) for n in (0, 1)]
    raced = as_raced(study(after_goal="continue"), goes_on)
    assert told(raced) == [("exhausted", 150, 0), ("capped", 0, None)]


@pytest.mark.parametrize(
    ("asked", "rounds"),
    [
        ({"together": 2}, (None, None, None, None)),
        ({"sampler": "tpe", "together": 2}, (None, None, None, None)),
        ({"sampler": "joint", "together": 2}, (0, 0, 1, 1)),
    ],
)
def test_a_race_is_capped_by_those_before_it_and_not_by_later_ones(
    study: Callable[..., Study], asked: dict[str, Any], rounds: tuple[int | None, ...]
) -> None:
    ends = [(80, "reached"), (90, "capped"), (70, "reached"), (80, "diverged")]
    shown = [one(n, *end, r) for n, (end, r) in enumerate(zip(ends, rounds, strict=True))]
    raced = as_raced(study(**asked), shown)
    assert [each.steps for each in raced] == [80, 80, 70, 70]
    assert [each.outcome for each in raced] == ["reached", "capped", "reached", "capped"]


def test_drawn_one_by_one_each_is_capped_by_those_before_it(study: Callable[..., Study]) -> None:
    shown = [one(0, 80, "reached"), one(1, 70, "reached"), one(2, 75, "reached")]
    raced = as_raced(study(sampler="tpe", together=1), shown)
    assert told(raced) == [("reached", 80, 80), ("reached", 70, 70), ("capped", 70, None)]


def test_those_that_came_with_a_wider_search_space_are_a_race_of_their_own(
    study: Callable[..., Study],
) -> None:
    wider = replace(study(), extensions=({"first": 2, "outside": 2, "space": {}},))
    shown = [one(0, 80, "reached"), one(1, 85), one(2, 70, "reached"), one(3, 75)]
    assert [each.steps for each in as_raced(wider, shown)] == [80, 80, 70, 70]


def test_what_ran_elsewhere_is_as_it_was(study: Callable[..., Study]) -> None:
    shown = [one(0, 60, "reached"), one(1, 90, "reached")]
    assert as_raced(replace(study(), sampler="imported"), shown) == shown


def test_without_finishers_nothing_is_capped(study: Callable[..., Study]) -> None:
    shown = [one(n, 60 + n, "reached") for n in range(4)]
    assert as_raced(replace(study(), finishers=0), shown) == shown
