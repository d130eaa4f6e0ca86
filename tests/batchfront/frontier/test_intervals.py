"""Steps to target are known as closely as evaluations lie, and no closer."""

from dataclasses import replace

import pytest

from batchfront.frontier.frontier import Finisher, Frontier, Point
from batchfront.frontier.intervals import apart, earliest, interval, widest
from tests.batchfront.frontier.uncertainty.searches import point


def passed(batch_size: int, lower: int | None, steps: int, **study: object) -> Point:
    """A point whose goal was passed in (lower, steps]."""
    found = point(batch_size, [steps], {"reached": 1}, **study)
    assert found.best is not None
    best = replace(found.best, steps_lower=lower)
    return replace(found, best=best, finishers=(Finisher(0, steps, lower),))


@pytest.mark.parametrize(
    ("lower", "steps", "text"), [(90, 100, "91–100"), (49, 50, "50"), (0, 1, "1"), (0, 4, "1–4")]
)
def test_what_lies_between_two_evaluations_is_an_interval(
    lower: int, steps: int, text: str
) -> None:
    found = passed(2, lower, steps)
    assert interval(found) == text
    assert earliest(found) == lower + 1


def test_of_steps_measured_elsewhere_nobody_may_know_when_the_goal_was_missed() -> None:
    assert interval(passed(2, None, 100, purpose="points")) == "–"


def test_evaluations_that_lie_far_apart_are_told_with_where() -> None:
    points = (passed(8, 900, 1000), passed(16, 400, 500), passed(32, 299, 300))
    assert widest(points) == 500 / 401
    assert apart(Frontier("a/b/c", points)) == (
        "Evaluations lie up to 20 % of the steps apart where the goal was passed (at batch size "
        "16): steps are known only to within that."
    )


def test_of_a_grid_and_of_what_has_not_reached_the_goal_there_is_nothing_to_tell() -> None:
    assert apart(Frontier("a/b/c", (passed(8, 990, 1000), point(16)))) is None
    assert apart(Frontier("a/b/c", (point(16),))) is None
