"""What a search was asked for, in today's words or in those of earlier versions, is one definition;
and studies of earlier versions stay what they are."""

from typing import Any

import pytest

from batchfront.errors import IdentityError, UsageError
from batchfront.plan.options import SearchOptions, search_identity, settle, superseded
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.study.study import Study
from tests.batchfront.halved import halve
from tests.toy import PLAIN, plain

PLAINLY = {
    "seed": 0,
    "sampler": "sobol",
    "schedule": "race",
    "count": "all",
    "finishers": 1,
    "continuing": 0,
}
TPE = PLAINLY | {"sampler": "tpe"}
ONE = {"schedule": "one-by-one"}
WHOLE = {
    "seed": 3,
    "count": "feasible",
    "finishers": 3,
    "after_goal": "continue",
    "continuing": 2,
    "warm_start": True,
    "extrapolate": True,
    "goal": 0.05,
}

stored: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([{}, {"schedule": "race"}, {"together": "all"}], PLAINLY),
    ([{"schedule": "one-by-one"}, {"together": 1}], PLAINLY | ONE),
    ([{"generation": 4}, {"together": 4}], PLAINLY | {"generation": 4}),
    (
        [
            {"sampler": "tpe"},
            {"sampler": "tpe", "schedule": "race"},
            {"sampler": "tpe", "generation": 8},
            {"sampler": "tpe", "together": 8},
        ],
        TPE | {"generation": 8},
    ),
    (
        [
            {"sampler": "tpe", "schedule": "race", "generation": 3},
            {"sampler": "tpe", "generation": 3},
            {"sampler": "tpe", "together": 3},
        ],
        TPE | {"generation": 3},
    ),
    ([{"sampler": "tpe", "schedule": "one-by-one"}, {"sampler": "tpe", "together": 1}], TPE | ONE),
    ([{"sampler": "tpe", "generation": 1}], TPE | {"generation": 1}),
    (
        [WHOLE],
        {
            **PLAINLY,
            "seed": 3,
            "count": "feasible",
            "finishers": 3,
            "continuing": 2,
            "warm_start": True,
            "extrapolate": True,
        },
    ),
]
"""What may be asked for, and the search that every version has stored of it."""


@pytest.mark.parametrize(("forms", "search"), stored, ids=[str(forms[0]) for forms, _ in stored])
def test_every_form_is_the_search_that_has_always_been_stored(
    storage: Storage, forms: list[dict[str, Any]], search: dict[str, Any]
) -> None:
    for asked in forms:
        found = search_identity(settle(SearchOptions(**asked), []))
        assert list(found.items()) == list(search.items())
    study = planned(storage, **forms[0])
    for asked in ({}, *forms):
        assert search_identity(settle(SearchOptions(**asked), [study])) == search
    assert set(plan(storage, PLAIN, plain(), SearchOptions(**forms[-1])).added) == {0}


def planned(storage: Storage, **asked: Any) -> Study:
    request = SearchOptions(**{"trials": 6, "batch_sizes": (4,), **asked})
    return plan(storage, PLAIN, plain(), request).studies[0]


def test_a_generation_of_one_is_one_after_another_and_stays_what_it_is(storage: Storage) -> None:
    study = planned(storage, sampler="tpe", generation=1)
    assert (study.schedule, study.generation, study.together) == ("race", 1, 1)
    again = planned(storage, sampler="tpe", together=1, trials=9)
    assert (again.identity, again.trials) == (study.identity, 9)
    with pytest.raises(IdentityError, match=r"search\.together was 1, is 2$"):
        planned(storage, together=2)


def test_a_variant_begins_with_what_its_base_was(storage: Storage) -> None:
    planned(storage, together=2)
    assert planned(storage, variant="like").together == 2
    assert planned(storage, variant="all", together="all").together == "all"
    assert planned(storage, variant="learns", sampler="tpe").together == 8


def test_what_earlier_versions_called_otherwise_is_said_in_a_line_each() -> None:
    assert superseded(SearchOptions(together=4)) == []
    assert superseded(SearchOptions(generation=4)) == [
        "batchfront: --generation 4 is --together 4 now"
    ]
    (line,) = superseded(SearchOptions(generation=1))
    assert "is --together 1" not in line  # which is another definition
    for schedule, now in (("one-by-one", "is --together 1"), ("race", "unless told otherwise")):
        (line,) = superseded(SearchOptions(schedule=schedule))
        assert f"--schedule {schedule}" in line
        assert now in line


def test_halving_is_for_studies_alone_that_have_it(storage: Storage) -> None:
    study = planned(storage)
    for refused in ({}, {"batch_sizes": (16,)}):
        with pytest.raises(UsageError, match=r"--halving: is no option .* use that, or neither"):
            planned(storage, halving=True, **refused)
    halve(storage)
    again = planned(storage, halving=True, trials=8)
    assert (again.halving, again.trials) == (True, 8)
    identity = again.identity["search"]
    assert identity == {**study.identity["search"], "halving": True}
    assert planned(storage, batch_sizes=(16,)).halving  # or they could not stand side by side
    assert planned(storage, finishers=2).halving


def test_a_flag_that_says_no_leaves_a_study_that_has_it_as_it_is(storage: Storage) -> None:
    """As an environment variable may, for other searches."""
    planned(storage, batch_sizes=(4, 8), warm_start=True, extrapolate=True)
    again = planned(storage, batch_sizes=(4, 8), warm_start=False, extrapolate=False)
    assert again.identity["search"]["warm_start"] is True
    assert again.extrapolate
