"""A recipe is the winner's, or lies between two, or is refused."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.recipe import (
    curve_recipe,
    lay_out,
    load_recipe,
    load_winners_recipe,
    recipe_facts,
)
from batchfront.frontier.tuned_trials import tuned_trials
from batchfront.store.url import Storage, open_storage
from batchfront.workload.search_space import Metaparameters
from tests import searches, toy
from tests.searches import end, reached, slots_of, stored

SIZES = (2, 4, 8, 16, 32)
NAME = "clouds/mlp/momentum"


@pytest.fixture
def searched(storage: Storage) -> Storage:
    """A winner at each batch size, of which larger ones need fewer steps."""
    searches.planned(storage, trials=2, batch_sizes=SIZES)
    for size in SIZES:
        steps = round(400 / size + 10)
        end(storage, f"{NAME}/b{size}", {0: reached(steps), 1: reached(steps + 40)})
    return storage


def test_at_a_batch_size_that_was_searched_it_is_the_winners(searched: Storage) -> None:
    recipe = load_recipe(searched, NAME, 8)
    (point,) = recipe.sources
    assert recipe.derived == "measured"
    assert recipe.metaparameters == point.params
    assert (recipe.steps, recipe.steps_range) == (60, (59, 60))
    plain = recipe.to_dict()
    study = stored(searched, f"{NAME}/b8")
    assert (plain["seed"], plain["from"][0]["trial"]) == (study.trial_seed(0), 0)
    assert "--batch-size 8 --trial 0" in plain["reproduce"]


def test_between_two_it_lies_between_their_winners_each_on_its_own_scale(
    searched: Storage,
) -> None:
    recipe = load_recipe(searched, NAME, 11)
    below, above = recipe.sources
    assert (recipe.derived, below.batch_size, above.batch_size) == ("interpolated", 8, 16)
    rates = [float(p.params["learning_rate"]) for p in recipe.sources]
    assert min(rates) < float(recipe.metaparameters["learning_rate"]) < max(rates)
    low, high = recipe.steps_range
    assert low is not None
    assert low < recipe.steps < high
    assert 30 < recipe.steps < 60
    assert recipe.metaparameters["decay_steps"] == toy.STEP_BUDGET
    assert recipe.metaparameters["dropout"] in {p.params["dropout"] for p in recipe.sources}
    plain = recipe.to_dict()
    assert plain["seed"] is plain["reproduce"] is plain["value"] is None
    assert [one["batch_size"] for one in plain["from"]] == [8, 16]
    assert "Interpolated between the winners at batch sizes 8 and 16" in plain["notes"][0]


def test_a_little_outside_it_is_the_nearest_winners_and_further_out_refused(
    searched: Storage,
) -> None:
    recipe = load_recipe(searched, NAME, 64)
    assert recipe.derived == "nearest"
    assert recipe.metaparameters == recipe.sources[0].params
    assert recipe.sources[0].batch_size == 32
    for size in (65, 10_000):
        with pytest.raises(UsageError, match=r"are for 1 to 64: more than a factor of 2"):
            load_recipe(searched, NAME, size)


def test_where_the_goal_was_not_reached_there_is_none(storage: Storage) -> None:
    searches.planned(storage, trials=1, batch_sizes=(*SIZES, 64))
    for size in SIZES:
        end(storage, f"{NAME}/b{size}", {0: reached(round(400 / size + 10))})
    with pytest.raises(UsageError, match="has no winner yet there; there are winners at 2, 4, 8"):
        load_recipe(storage, NAME, 64)
    failed = replace(reached(9), outcome="exhausted", steps_to_target=None, steps_lower=None)
    end(storage, f"{NAME}/b64", {0: failed})
    with pytest.raises(UsageError, match="has not reached the goal there"):
        load_recipe(storage, NAME, 64)
    with pytest.raises(UsageError, match="are for 1 to 32: batch size 64 has not reached"):
        load_recipe(storage, NAME, 40)


def test_without_a_winner_there_is_none(storage: Storage) -> None:
    searches.planned(storage)
    with pytest.raises(UsageError, match="no trial has reached the goal yet"):
        load_recipe(storage, NAME, 4)


def test_where_points_make_no_curve_there_is_none_between_them(storage: Storage) -> None:
    searches.planned(storage, trials=1, batch_sizes=(4, 16))
    for size in (4, 16):
        end(storage, f"{NAME}/b{size}", {0: reached(50)})
    assert load_recipe(storage, NAME, 4).measured
    with pytest.raises(UsageError, match=r"no curve to say its steps .*winners at 4, 16"):
        load_recipe(storage, NAME, 8)


@pytest.mark.parametrize("size", range(1, 49))
def test_a_batch_is_shared_out_exactly_or_refused(size: int) -> None:
    for devices in range(1, 9):
        for most in (None, 1, 3, 5, 64):
            if size % devices:
                with pytest.raises(UsageError, match="does not divide"):
                    lay_out(size, devices, most)
                continue
            found = lay_out(size, devices, most)
            assert found.devices == devices
            assert found.micro_batch * found.accumulation * devices == size
            assert found.per_device * devices == size
            assert found.micro_batch <= (most or size)
            larger = range(found.micro_batch + 1, min(most or size, size // devices) + 1)
            assert all(found.per_device % one for one in larger)


@pytest.fixture(scope="module")
def lucky(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontier]:
    file = tmp_path_factory.mktemp("lucky") / "x.db"
    file.write_bytes(made_database.read_bytes())
    storage = open_storage(f"sqlite:///{file}")
    with_lucky_winners(storage)
    yield load_frontier(storage, NAME)
    storage.close()


def with_lucky_winners(storage: Storage) -> None:
    """Searches whose steps follow from the learning rate, but for one trial of each, which was so
    lucky that it won with the sixth best rate."""
    searches.planned(storage, trials=12, batch_sizes=SIZES, finishers=12)
    for size in SIZES:
        rows = slots_of(storage, f"{NAME}/b{size}")
        away = {row.number: abs(math.log(10 * _rate(json.loads(row.params)))) for row in rows}
        steps = {n: round((4000 / size + 100) * (1 + far**2 / 4)) for n, far in away.items()}
        steps[sorted(away, key=away.__getitem__)[5]] = round(0.95 * min(steps.values()))
        end(storage, f"{NAME}/b{size}", {n: reached(found) for n, found in steps.items()})


def _rate(params: Metaparameters) -> float:
    return float(params["learning_rate"])


def test_on_a_curve_through_expected_steps_it_lies_between_the_recommended_trials(
    lucky: Frontier,
) -> None:
    assert by_expected_steps(lucky)
    recommended = {one.batch_size: one for one in lucky.expected.points}
    assert not any(trial.wins for trial in tuned_trials(lucky))
    recipe = load_recipe(lucky.url.render_as_string(), NAME, 11)
    assert [trial.number for trial in recipe.sources] == [
        recommended[8].trial,
        recommended[16].trial,
    ]
    ends = [_rate(recommended[size].metaparameters) for size in (8, 16)]
    assert min(ends) < _rate(recipe.metaparameters) < max(ends)
    assert "Interpolated between the recommended trials at batch sizes 8 and 16" in recipe.notes[0]
    assert curve_recipe(lucky, 11).to_dict() == recipe.to_dict()
    outside = load_recipe(lucky.url.render_as_string(), NAME, 64)
    assert outside.metaparameters == recommended[32].metaparameters


def test_of_the_curve_a_searched_batch_size_has_the_recommended_trial_with_what_it_takes(
    lucky: Frontier,
) -> None:
    (point,) = (one for one in lucky.expected.points if one.batch_size == 8)
    recipe = curve_recipe(lucky, 8)
    assert (recipe.derived, recipe.metaparameters) == ("recommended", point.metaparameters)
    assert (recipe.steps, recipe.steps_range) == (point.steps, (point.low, point.high))
    plain = recipe.to_dict()
    assert plain["from"][0]["trial"] == point.trial
    assert plain["seed"] == recipe.sources[0].point.study.trial_seed(point.trial)
    assert f"--trial {point.trial}" in plain["reproduce"]
    assert "--recommended" in recipe.notes[0]
    assert plain["value"] is None  # another trial's, the winner's
    url = lucky.url.render_as_string()
    assert load_recipe(url, NAME, 8).to_dict() == plain
    winner = load_winners_recipe(url, NAME, 8)
    assert (winner.derived, winner.steps) == ("measured", recipe.sources[0].point.steps)
    best = recipe.sources[0].point.best
    assert best is not None
    assert recipe_facts(recipe)["fastest trial"] == f"trial {best.number}, {winner.steps:,} steps"


def test_of_a_curve_through_the_fastest_trials_it_is_the_winners(searched: Storage) -> None:
    frontier = load_frontier(searched, NAME)
    assert not by_expected_steps(frontier)
    for size in (8, 11, 64):
        assert curve_recipe(frontier, size).to_dict() == load_recipe(searched, NAME, size).to_dict()
