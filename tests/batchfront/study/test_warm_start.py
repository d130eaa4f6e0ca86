"""With warm start, a study's first slots start at the winners of the batch sizes beside it."""

import json
import re
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from sqlalchemy import select

from batchfront.errors import IdentityError
from batchfront.frontier.frontier import load_frontier
from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study.points import quasi_random
from batchfront.study.study import Filter, Study
from batchfront.study.warm_start import sample_late
from batchfront.workload.search_space import Choice, Integer, Linear, Log, SearchSpace, dimensions
from batchfront.workload.workload import Workload
from tests.searches import work, worker
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage

SPACE: SearchSpace = {
    "learning_rate": Log(1e-3, 0.1),
    "momentum": Linear(0.0, 0.95),
    "dropout": Choice(0.0, 0.1, 0.3),
    "label_smoothing": Linear(0.0, 0.2),
    "decay_steps": Integer(20, 150),
    "decay_factor": 0.5,
}


def planned(storage: Storage, *sizes: int, **asked: Any) -> dict[int, Study]:
    workload: Workload = replace(clouds(), search_space=SPACE)
    request = SearchOptions(**{"batch_sizes": sizes, "trials": 8, "warm_start": True, **asked})
    return {s.batch_size: s for s in plan(storage, SPEC, workload, request).studies}


def won(storage: Storage, study: Study, steps: int, **params: Any) -> dict[str, Any]:
    """Have the study's next trial reach the goal in so many steps; its metaparameters."""
    ledger = worker(storage, "one")
    claimed = ledger.claim(Filter(batch_sizes=(study.batch_size,)), lambda _: 1)
    assert claimed is not None
    (slot,) = claimed[1]
    drawn = {**sample_late(storage, study, [slot.number])[0].params, **params}
    (slot,) = ledger.start(study, [replace(slot, params=drawn)], study.space, {})
    ending = TrialResult(
        "reached", "", steps, (), steps_to_target=steps, metric=0.09, metric_step=steps
    )
    assert ledger.finish(study, [(slot, ending)]) == []
    return drawn


def trials(database: str, study: Study) -> list[FrozenTrial]:
    rdb = optuna.storages.RDBStorage(database)
    found = optuna.load_study(study_name=study.name, storage=rdb).trials
    rdb.engine.dispose()
    return sorted(found, key=lambda trial: trial.number)


def rates(storage: Storage, study: Study) -> list[float]:
    return [float(d.params["learning_rate"]) for d in sample_late(storage, study, range(6))]


def test_only_the_first_slots_wait_to_be_sampled(storage: Storage) -> None:
    study = planned(storage, 4)[4]
    query = select(slots.c.params).order_by(slots.c.number)
    with storage.read() as conn:
        drawn = list(conn.execute(query).scalars())
    assert drawn[:6] == [None] * 6
    assert [json.loads(params) for params in drawn[6:]] == quasi_random(study, 6, 2)


def test_without_a_neighbours_winner_every_slot_has_its_own_point(storage: Storage) -> None:
    studies = planned(storage, 4, 16)
    own = quasi_random(studies[16], 0, 6)
    assert sample_late(storage, studies[16], range(6)) == [(p, None) for p in own]


def test_the_nearest_winners_are_taken_with_their_learning_rates_scaled(storage: Storage) -> None:
    studies = planned(storage, 2, 4, 16, 64)
    won(storage, studies[2], 10, learning_rate=0.05)
    won(storage, studies[4], 40, learning_rate=0.07)
    best = won(storage, studies[4], 30, learning_rate=0.01)
    won(storage, studies[64], 30, learning_rate=0.02)
    assert rates(storage, studies[16]) == pytest.approx([0.01, 0.02, 0.04, 0.02, 0.01, 0.005])
    (draw,) = sample_late(storage, studies[16], [1])
    assert draw.params == {**best, "learning_rate": draw.params["learning_rate"]}
    assert draw.origin == f"trial 1 of {studies[4].name}, learning rate times 2"


def test_what_the_space_does_not_hold_is_brought_inside_and_never_sampled_twice(
    storage: Storage,
) -> None:
    studies = planned(storage, 4, 64)
    won(storage, studies[4], 30, learning_rate=0.05)
    own = quasi_random(studies[64], 2, 1)[0]
    found = rates(storage, studies[64])
    assert found[:2] == [0.05, 0.1]
    assert found[2] == own["learning_rate"]
    assert sample_late(storage, studies[64], [2]) == [(own, None)]


def test_a_choice_of_learning_rates_gives_its_nearest(storage: Storage) -> None:
    space = {**SPACE, "learning_rate": Choice(0.01, 0.03, 0.1)}
    workload = replace(clouds(), search_space=space)
    request = SearchOptions(batch_sizes=(4, 16), trials=8, warm_start=True)
    small, large = plan(storage, SPEC, workload, request).studies
    won(storage, small, 30, learning_rate=0.01)
    assert rates(storage, large)[:2] == [0.01, 0.03]


def test_a_run_starts_each_batch_size_at_the_winner_of_the_one_before(
    storage: Storage, database: str
) -> None:
    request = SearchOptions(batch_sizes=(4, 16), trials=7, warm_start=True)
    small, large = plan(storage, SPEC, clouds(), request).studies
    work(storage)
    winner = load_frontier(storage, small.workload).points[0]
    assert winner.params is not None
    told = [trial.user_attrs.get("origin") for trial in trials(database, large)]
    assert re.fullmatch(rf"trial \d+ of {small.name}, learning rate times 1", told[0])
    assert told[3:] == [None] * 4
    assert trials(database, large)[0].params == {
        name: winner.params[name] for name in dimensions(large.space)
    }
    assert all("origin" not in trial.user_attrs for trial in trials(database, small))


def test_it_is_part_of_the_definition_and_goes_on_unsaid(storage: Storage) -> None:
    planned(storage, 4)
    assert planned(storage, 16, warm_start=None)[16].warm_start


def test_studies_with_and_without_it_are_not_joined(storage: Storage) -> None:
    study = planned(storage, 4, warm_start=None)[4]
    assert "warm_start" not in study.identity["search"]
    with pytest.raises(IdentityError, match=r"search\.warm_start is new: True"):
        planned(storage, 16)
