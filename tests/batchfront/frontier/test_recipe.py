"""A recipe is the winner's, or lies between two, or is refused."""

from dataclasses import replace
from typing import Any

import pytest

from batchfront import Choice, Integer, Log, ReverseLog
from batchfront.errors import UsageError
from batchfront.frontier.recipe import lay_out, load_recipe
from batchfront.store.url import Storage
from batchfront.workload.search_space import Value
from tests import searches, toy
from tests.searches import end, reached, stored

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


@pytest.mark.parametrize(
    ("entry", "values", "between"),
    [
        (Log(0.001, 1.0), (0.01, 0.1), pytest.approx(0.1**1.5)),
        (ReverseLog(0.0, 0.999), (0.9, 0.99), pytest.approx(1 - 0.1**1.5)),
        (Integer(1, 9), (2, 6), 4),
        (Choice("a", "b"), ("a", "a"), "a"),
    ],
    ids=str,
)
def test_half_way_is_half_way_on_the_scale(
    entry: Any, values: tuple[Value, Value], between: Any
) -> None:
    from batchfront.frontier.recipe import _scale, _value_between

    assert _value_between(_scale(entry, *values), *values, 0.5) == between


def test_a_fixed_number_that_depends_on_the_batch_size_goes_with_its_logarithm() -> None:
    from batchfront.frontier.recipe import _scale, _value_between

    assert _value_between(_scale(100, 100, 400), 100, 400, 0.5) == 200
    assert _value_between(_scale(True, True, False), True, False, 0.5) is None
    assert _value_between(_scale("a", "a", "b"), "a", "b", 0.5) is None


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
