"""The curve in words."""

from dataclasses import replace

import pytest

from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.report.text import notes, reading
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study


def frontier(storage: Storage, steps: dict[int, int | None]) -> Frontier:
    """A frontier with these steps; None is a study whose trials all stalled."""
    params = {"learning_rate": 0.1, "momentum": 0.9}
    for batch, best in steps.items():
        outcome = "stalled" if best is None else "reached"
        taken = best or 9
        trial = {"params": params, "outcome": outcome, "steps": taken, "steps_lower": taken - 1}
        add_study(storage, "a/b/c", batch, [trial])
    return load_frontier(storage, "a/b/c")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (
            {2: 1841, 64: 54, 512: 44, 1024: 67},
            "From batch size 2 to 64 the steps fall 34-fold, from 1,841 to 54, where perfect "
            "scaling would be 32-fold. Beyond 64, up to 1,024, the steps fall by at most another "
            "19\u00a0%, to 44 at 512.",
        ),
        (
            {2: 100, 4: 50, 8: 50},
            "From batch size 2 to 4 the steps fall 2-fold, from 100 to 50, where perfect scaling "
            "would be 2-fold. No larger batch size, up to 8, takes fewer steps.",
        ),
        (
            {2: 100, 4: 55},
            "From batch size 2 to 4 the steps fall 1.8-fold, from 100 to 55, where perfect "
            "scaling would be 2-fold. 4 is the largest batch size that reached the goal.",
        ),
        (
            {2: 100, 4: 70},
            "No larger batch comes within 20\u00a0% of perfect scaling: batch size 4 already needs "
            "40\u00a0% more examples than 2. Beyond 2, up to 4, the steps fall by at most another "
            "30\u00a0%, to 70 at 4.",
        ),
        (
            {16: 2562, 64: 951, 1024: 160},
            "No larger batch comes within 20\u00a0% of perfect scaling: batch size 64 already "
            "needs 48\u00a0% more examples than 16. Beyond 16 the steps fall 16-fold, to 160 at "
            "1,024, where perfect scaling would be 64-fold.",
        ),
        (
            {2: 342_199, 1024: 30},
            "From batch size 2 to 1,024 the steps fall 11,407-fold, from 342,199 to 30, where "
            "perfect scaling would be 512-fold. 1,024 is the largest batch size that reached the "
            "goal.",
        ),
        ({2: None, 4: 1}, "One batch size has reached the goal: 4, in 1 step (4 examples)."),
        ({2: None}, ""),
    ],
)
def test_the_reading_says_what_the_points_show(
    storage: Storage, steps: dict[int, int | None], text: str
) -> None:
    assert reading(frontier(storage, steps)) == text


def test_a_whole_frontier_needs_no_notes(storage: Storage) -> None:
    assert notes(frontier(storage, {2: 100, 4: 50})) == []


def test_a_mixture_of_engines_is_a_matter_of_rounding(storage: Storage) -> None:
    found = frontier(storage, {2: 100, 4: 50})
    engines = ("sequential", "vectorized")
    points = [
        replace(point, versions={"engine": [engine]})
        for point, engine in zip(found.points, engines, strict=True)
    ]
    (note,) = notes(replace(found, points=points))
    assert "computed one after another, others as one model: rounding may have moved" in note
