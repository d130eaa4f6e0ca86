"""What a metaparameter does to the steps, by batch size."""

from typing import Any

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.analysis.censoring import Needed
from batchfront.frontier.analysis.effect import Effect, ValueEffect, effect, searched
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ended, loaded, reached
from tests.batchfront.report.rows import add_study

NAME = "a/b/momentum"
SPACE = {
    "smoothing": {"kind": "Choice", "values": [0.0, 0.1, 0.2]},
    "decay": {"kind": "Log", "low": 1e-6, "high": 1e-3},
    "fixed": 1,
}


def analyzed(storage: Storage, name: str) -> Effect:
    read = loaded(storage, NAME)
    return effect(*read, name)


def smooth(value: float, decay: float = 3e-6) -> dict[str, Any]:
    return {"smoothing": value, "decay": decay, "fixed": 1}


@pytest.fixture
def run(storage: Storage) -> Storage:
    """Two finishers at batch size 8; one that had no winner at 16."""
    trials = [
        reached(50, params=smooth(0.1), metric=0.02),
        reached(75, params=smooth(0.0), metric=0.025),
        ended("capped", 75, params=smooth(0.0, 1e-3), metric=0.04),
        ended("capped", 75, params=smooth(0.2, 5e-4), metric=0.05),
        ended("diverged", 3, params=smooth(0.2), metric=0.9),
        {"params": smooth(0.2)},
    ]
    add_study(storage, NAME, 8, trials, space=SPACE)
    trials = [ended("exhausted", 90, params=smooth(0.1)), ended("diverged", 4, params=smooth(0.0))]
    add_study(storage, NAME, 16, trials, space=SPACE)
    return storage


def test_each_choice_has_its_best_steps_as_a_multiple_of_the_best(run: Storage) -> None:
    point = analyzed(run, "smoothing").points[0]
    assert (point.batch_size, point.best) == (8, 0.1)
    assert point.values == (
        ValueEffect(0.0, 0.0, 0.0, 2, 1, Needed(75, 75), 0.025, 1.5),
        ValueEffect(0.1, 0.1, 0.1, 1, 1, Needed(50, 50), 0.02, 1.0),
        ValueEffect(0.2, 0.2, 0.2, 2, 0, Needed(75, None), 0.05, 1.5),
    )


def test_without_a_winner_there_are_bounds_and_no_multiples(run: Storage) -> None:
    point = analyzed(run, "smoothing").points[1]
    assert point.best is None
    none, some, unused = point.values
    assert (none.needed, none.trials) == (None, 1)
    assert (some.needed, some.ratio) == (Needed(90, None), None)
    assert (unused.needed, unused.trials, unused.metric) == (None, 0, None)


def test_a_range_is_cut_into_thirds(run: Storage) -> None:
    point = analyzed(run, "decay").points[0]
    assert point.best == "low"  # 3e-6 is in the first of three decades
    low, middle, high = point.values
    assert [value.value for value in point.values] == ["low", "middle", "high"]
    assert (low.low, low.high) == (pytest.approx(1e-6), pytest.approx(1e-5))
    assert (low.trials, middle.trials, high.trials) == (3, 0, 2)
    assert high.needed == Needed(75, None)


def test_the_best_metric_is_the_highest_where_more_is_better(storage: Storage) -> None:
    trials = [ended("exhausted", 9, params=smooth(0.1), metric=value) for value in (0.5, 0.7)]
    goal = {"metric": "accuracy", "better": "higher", "value": 0.9}
    add_study(storage, NAME, 8, trials, space=SPACE, goal=goal)
    assert analyzed(storage, "smoothing").points[0].values[1].metric == 0.7


def test_batch_sizes_that_do_not_search_it_are_left_out(run: Storage) -> None:
    add_study(run, NAME, 32, [reached(9)], space={})
    assert [point.batch_size for point in analyzed(run, "smoothing").points] == [8, 16]


def test_what_is_not_searched_is_refused_with_what_is(run: Storage) -> None:
    frontier = loaded(run, NAME).frontier
    assert searched(frontier) == ("smoothing", "decay")
    assert searched(frontier, choices=True) == ("smoothing",)
    with pytest.raises(UsageError, match="does not search 'fixed'; it searches smoothing, decay"):
        analyzed(run, "fixed")
