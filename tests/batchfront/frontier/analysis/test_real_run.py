"""All analyses of a real race, against what its trials and curves say one by one."""

import shutil
from pathlib import Path

import pytest

from batchfront.frontier.analysis.budget import Budget, budgets
from batchfront.frontier.analysis.compare import compare
from batchfront.frontier.analysis.effect import effect
from batchfront.frontier.analysis.feasibility import outcomes
from batchfront.frontier.analysis.other_goals import goals
from batchfront.frontier.analysis.scaling_rules import rules
from batchfront.frontier.queries import load_reruns, load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage, open_storage
from tests.batchfront.frontier.analysis.studies import ERROR, Loaded, loaded
from tests.reading import load_curves
from tests.searches import work
from tests.toy import SPEC, clouds

NAME = "clouds/mlp/momentum"


@pytest.fixture(scope="module")
def raced(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Two batch sizes of the toy workload, eight trials each, raced to their ends."""
    folder = tmp_path_factory.mktemp("raced")
    opened = open_storage(f"sqlite:///{shutil.copy(made_database, folder)}")
    planned = plan(opened, SPEC, clouds(), SearchOptions(trials=8))
    work(opened, name="w1", wanted=planned.filter)
    return opened


@pytest.fixture(scope="module")
def analyzed(raced: Storage) -> Loaded:
    return loaded(raced, NAME)


def looks(storage: Storage, study: int) -> list[tuple[int, int, float]]:
    """Trial, step and error rate of every kept look, one study at a time."""
    return [
        (number, point.step, point.value)
        for number, points in load_curves(storage, study).items()
        for point in points
        if (point.split, point.metric) == ("validation", ERROR) and point.value is not None
    ]


def test_the_best_within_a_budget_is_that_of_all_looks(raced: Storage, analyzed: Loaded) -> None:
    most = max(steps for point in analyzed.frontier.reached if (steps := point.steps))
    chosen = [Budget(steps, "steps") for steps in range(1, most + 1)]
    checked = 0
    for result in budgets(*analyzed, chosen).results:
        for point, found in zip(analyzed.frontier.points, result.points, strict=True):
            seen = looks(raced, point.study.id)
            values = [value for _, step, value in seen if step <= result.budget.amount]
            assert found.value == min(values)
            assert (found.trial, found.step, found.value) in seen
            assert found.complete == (point.steps is not None and found.steps <= point.steps)
            checked += 1
    assert checked == 2 * most


def test_easier_goals_are_passed_at_the_first_look_of_any_trial(
    raced: Storage, analyzed: Loaded
) -> None:
    chosen = [0.15, 0.2, 0.3, 0.5]
    for one in goals(*analyzed, chosen).frontiers:
        for point, found in zip(analyzed.frontier.points, one.points, strict=True):
            seen = looks(raced, point.study.id)
            first = min((step, number) for number, step, value in seen if value < one.value)
            assert (found.steps, found.trial) == first
            assert found.steps_lower is not None
            assert found.complete
            missed = [s for n, s, value in seen if n == found.trial and value >= one.value]
            assert found.steps_lower == max((s for s in missed if s < first[0]), default=0)


def test_its_own_goal_is_the_frontier(analyzed: Loaded) -> None:
    (own,) = goals(*analyzed, [0.1]).frontiers
    assert [point.steps for point in own.points] == [p.steps for p in analyzed.frontier.points]
    (series,) = compare([analyzed.frontier]).series
    assert [point.steps for point in series.points] == [p.steps for p in analyzed.frontier.reached]


def test_outcomes_count_every_trial_once(raced: Storage, analyzed: Loaded) -> None:
    for point in analyzed.frontier.points:
        found = outcomes(point, load_trials(raced, point.study.id))
        counted: dict[str, int] = {}
        for band in found.bands:
            for outcome, number in band.outcomes.items():
                counted[outcome] = counted.get(outcome, 0) + number
        assert counted == point.outcomes


def test_the_winner_lies_in_the_best_group_of_every_metaparameter(analyzed: Loaded) -> None:
    for name in ("dropout", "label_smoothing", "learning_rate"):
        for point, found in zip(
            analyzed.frontier.points,
            effect(*analyzed, name).points,
            strict=True,
        ):
            best = next(value for value in found.values if value.value == found.best)
            assert best.ratio == 1
            assert sum(value.trials for value in found.values) == point.trials
            assert all(value.ratio is None or value.ratio >= 1 for value in found.values)


def test_the_rules_start_from_the_first_winner(raced: Storage, analyzed: Loaded) -> None:
    found = rules(analyzed.frontier, analyzed.trials, load_reruns(raced, NAME))
    first, second = analyzed.frontier.reached
    assert found.winners[0].ruled["linear"] == {"learning_rate": found.winners[0].learning_rate}
    assert found.winners[0].trial == first.best.number  # type: ignore[union-attr]
    for one in found.followed:
        assert one.batch_size == second.batch_size
        distances = [near.distance for near in one.nearest]
        assert distances == sorted(distances)
        assert one.loss is None or one.loss >= 1
