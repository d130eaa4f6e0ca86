"""What trials have shown, whoever shared the race."""

from collections.abc import Callable
from typing import Any

import pytest

from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.budget import Budget, budgets
from batchfront.frontier.analysis.effect import effect
from batchfront.frontier.analysis.other_goals import goals
from batchfront.frontier.analysis.scaling_rules import rules
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.queries import Curves, Trials
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import curve, loaded
from tests.batchfront.report.rows import GOAL, add_study

NAME = "a/b/momentum"
Loaded = tuple[Frontier, Trials, Curves]


def error(steps: int) -> float:
    """The goal metric of each trial after so many steps."""
    return float(4 * GOAL["value"] / (1 + steps / 20))


def search(storage: Storage, late: int = 0) -> Loaded:
    """A race that was over at step 50, and half of whose trials went on for so many steps more: one
    of them has reached the goal meanwhile, by far."""
    for size in (8, 64):
        rates = [0.05, 0.1, 0.2, 0.4]
        steps = [50, 50 + late, 50, 50 + late]
        ends = ["reached", "reached" if late else "capped", "capped", "capped"]
        trials = [
            {
                "params": {"learning_rate": rate, "momentum": 0.9},
                "steps": own,
                "outcome": end,
                "metric": error(own),
                "curve": curve(*((n, error(n)) for n in range(10, own + 1, 5))),
            }
            for rate, own, end in zip(rates, steps, ends, strict=True)
        ]
        add_study(storage, NAME, size, trials, finishers=1)
    return loaded(storage, NAME)


def test_those_that_went_on_were_capped_where_the_race_was_over(storage: Storage) -> None:
    frontier, trials, curves = search(storage, late=30)
    raced, cut = as_raced(frontier, trials, curves)
    for point in frontier.points:
        mine = raced[point.study.id]
        assert [trial.steps for trial in mine] == [50] * 4
        assert [trial.outcome for trial in mine] == ["reached"] + ["capped"] * 3
        assert [trial.steps_to_target for trial in mine] == [50, None, None, None]
        assert max(curves[point.study.id].steps) == 80
        for steps, values in cut[point.study.id].by_trial().values():
            assert steps.tolist() == list(range(10, 51, 5))
            assert len(values) == len(steps)


def test_where_nobody_went_on_nothing_is_different(storage: Storage) -> None:
    frontier, trials, curves = search(storage)
    assert as_raced(frontier, trials, curves) == (trials, curves)


@pytest.mark.parametrize(
    "analysis",
    [
        lambda frontier, trials, curves: goals(frontier, trials, curves, [0.2, 0.1]),
        lambda frontier, trials, curves: budgets(
            frontier, trials, curves, [Budget(60, "steps"), Budget(30, "steps")]
        ),
        lambda frontier, trials, curves: rules(frontier, trials, {}),
        lambda frontier, trials, curves: effect(frontier, trials, curves, "learning_rate"),
    ],
    ids=["goals", "budget", "rules", "effect"],
)
def test_no_analysis_says_anything_else(
    storage: Storage, second_storage: Storage, analysis: Callable[..., Any]
) -> None:
    assert analysis(*search(storage)) == analysis(*search(second_storage, late=30))
