"""The commands that a page prints to search again plan the same searches."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchfront.cli.main import main
from batchfront.plan.again import DATABASE, commands_again
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.url import open_storage
from batchfront.study.study import Filter, Study, load_studies
from tests import toy
from tests.searches import planned

FOUR = {"batch_sizes": (4, 8, 16, 32)}
ASKED: list[dict[str, Any]] = [
    {},
    {"seed": 7, "trials": 6, "together": 3, "finishers": 2},
    {"together": 1, "goal": 0.2, "warm_start": True, "extrapolate": True},
    {"sampler": "tpe", "after_goal": "continue"},
    {"sampler": "joint", "trials": "auto", "until": 1.5, "max_trials": 16, **FOUR},
    {"sampler": "tpe", "generation": 1},
    {"variant": "other", "evaluate": "sparse", "count": "feasible", "precision": "bfloat16"},
]


def studies(storage: Storage) -> dict[int, Study]:
    with storage.read() as moment:
        return {one.batch_size: one for one in load_studies(moment, Filter()).readable}


def meant(study: Study) -> tuple[Any, ...]:
    columns = ("seed", "trials", "max_trials", "until", "goal_value", "precision", "workload")
    return (study.identity, *(getattr(study, name) for name in columns))


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_same_studies_are_planned(
    storage: Storage, tmp_path: Path, asked: dict[str, Any]
) -> None:
    before = planned(storage, **asked)
    (said,) = commands_again(before)
    words = shlex.split(said.strip("`"))
    assert words[:2] == ["batchfront", "run"]
    assert words[-2:] == ["--storage", DATABASE]
    again = f"sqlite:///{tmp_path / 'again.db'}"
    with pytest.raises(SystemExit) as done:
        main(["plan", *words[2:-1], again])
    assert not done.value.code
    after = studies(open_storage(again))
    assert {size: meant(one) for size, one in after.items()} == {
        one.batch_size: meant(one) for one in before
    }


def test_options_that_are_as_by_default_are_left_out(storage: Storage) -> None:
    (said,) = commands_again(planned(storage, trials=32, together="all", batch_sizes=(4, 8)))
    assert "--batch-sizes 4,8 --storage" in said


def test_batch_sizes_that_were_searched_otherwise_have_a_command_of_their_own(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4, 8), trials=4)
    planned(storage, batch_sizes=(8,), trials=6)
    first, second = commands_again(list(studies(storage).values()))
    assert "--batch-sizes 4 --trials 4 " in first
    assert "--batch-sizes 8 --trials 6 " in second


def test_what_was_imported_without_its_code_has_none(storage: Storage) -> None:
    spec = f"{Path(toy.__file__).resolve()}:clouds"
    there = plan(storage, spec, toy.clouds(), SearchOptions(trials=4)).studies
    assert commands_again([replace(one, spec="") for one in there]) == []
