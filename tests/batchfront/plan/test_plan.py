"""Planning makes studies and their slots once, and refuses what would change their meaning."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sqlalchemy import select
from torch import nn

from batchfront.errors import IdentityError, UsageError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.study.study import Filter, find_studies
from batchfront.vocabulary import SEARCHES
from batchfront.worker.setup import set_up
from batchfront.workload.algorithm import SGD
from batchfront.workload.goal import Goal
from batchfront.workload.lr_schedule import Constant
from batchfront.workload.metrics import Metric
from batchfront.workload.search_space import (
    Choice,
    Integer,
    Linear,
    Log,
    SearchSpace,
    quasi_random_points,
)
from batchfront.workload.seeds import study_seed
from batchfront.workload.workload import Workload
from tests import loops
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage


def make(storage: Storage, workload: Workload | None = None, **asked: Any) -> Planned:
    return plan(storage, SPEC, workload or clouds(), SearchOptions(**asked))


def contents(storage: Storage) -> dict[str, list[Any]]:
    """Every row of studies and slots."""
    with storage.read() as conn:
        return {
            table.name: [tuple(row) for row in conn.execute(select(table).order_by(table.c.id))]
            for table in (studies, slots)
        }


def points(storage: Storage, batch_size: int) -> list[dict[str, Any]]:
    query = (
        select(slots.c.params)
        .select_from(slots.join(studies))
        .where(studies.c.batch_size == batch_size)
        .order_by(slots.c.number)
    )
    with storage.read() as conn:
        return [json.loads(params) for params in conn.execute(query).scalars()]


def test_every_batch_size_gets_a_study_with_its_slots_drawn(storage: Storage) -> None:
    planned = make(storage, trials=5)
    assert [s.name for s in planned.studies] == [
        "clouds/mlp/momentum/b4",
        "clouds/mlp/momentum/b16",
    ]
    assert planned.added == (5, 5)
    assert planned.filter == Filter(("clouds/mlp/momentum",), (4, 16), purposes=SEARCHES)
    with storage.read() as conn:
        assert find_studies(conn, planned.filter) == list(planned.studies)
        rows = conn.execute(select(slots)).all()
    assert {row.state for row in rows} == {"free"}
    assert sorted(row.number for row in rows) == sorted([*range(5), *range(5)])
    assert points(storage, 4) == quasi_random_points(
        clouds().space(4), 5, study_seed(0, "clouds/mlp/momentum", 4)
    )
    assert points(storage, 4) != points(storage, 16)


def test_what_nobody_asked_for_is_the_default(storage: Storage) -> None:
    planned = make(storage)
    assert [s.batch_size for s in planned.studies] == [4, 16]
    study = planned.studies[0]
    assert (study.trials, study.seed, study.goal_value) == (32, 0, None)
    assert (study.sampler, study.schedule, study.count) == ("sobol", "race", "all")
    assert (study.finishers, study.continuing) == (1, 0)


def test_planning_again_adds_nothing(storage: Storage) -> None:
    make(storage, trials=5, seed=3, goal=0.2)
    before = contents(storage)
    for again in ({}, {"trials": 5}, {"seed": 3}, {"trials": 2}, {"batch_sizes": (16,)}):
        assert set(make(storage, **again).added) == {0}
    assert contents(storage) == before


def test_more_trials_continue_the_same_sequence(storage: Storage, made_database: Any) -> None:
    make(storage, trials=3)
    assert make(storage, trials=8).added == (5, 5)
    assert points(storage, 4) == quasi_random_points(
        clouds().space(4), 8, study_seed(0, "clouds/mlp/momentum", 4)
    )
    assert make(storage).studies[0].trials == 8


def test_another_batch_size_is_added_beside_those_there_are(storage: Storage) -> None:
    make(storage, batch_sizes=(4,), trials=3, seed=7, goal=0.2)
    added = make(storage, batch_sizes=(4, 32))
    assert added.added == (0, 3)
    assert {(s.seed, s.goal_value, s.trials) for s in added.studies} == {(7, 0.2, 3)}
    assert [s.batch_size for s in make(storage).studies] == [4, 32]


def test_what_is_not_said_is_taken_from_the_studies_that_exist(storage: Storage) -> None:
    asked = {"trials": 3, "seed": 7, "goal": 0.2, "sampler": "tpe", "count": "feasible"}
    asked["together"] = 5
    asked |= {"finishers": 7, "after_goal": "continue", "continuing": 2}
    first = make(storage, **asked)
    again = make(storage)
    assert again.studies == first.studies
    study = again.studies[0]
    assert (study.schedule, study.sampler, study.count) == ("race", "tpe", "feasible")
    assert study.generation == 5
    assert (study.finishers, study.continuing) == (7, 2)
    assert again.workload.goal.value == 0.2


def test_one_trial_goes_on_past_the_goal_unless_more_are_asked_for(storage: Storage) -> None:
    planned = make(storage, after_goal="continue", trials=2)
    assert {study.continuing for study in planned.studies} == {1}
    assert set(make(storage, continuing=1).added) == {0}


changes: list[tuple[Callable[[Workload], Workload], dict[str, Any], str]] = [
    (lambda w: w, {"seed": 1}, "search.seed was 0, is 1"),
    (lambda w: w, {"goal": 0.3}, "goal.value was 0.1, is 0.3"),
    (lambda w: w.with_goal(0.3), {}, "goal.value was 0.1, is 0.3"),
    (lambda w: w, {"sampler": "tpe"}, "search.sampler was sobol, is tpe"),
    (lambda w: w, {"together": 1}, "search.together was all, is 1"),
    (lambda w: w, {"together": 8}, "search.together was all, is 8"),
    (lambda w: w, {"count": "feasible"}, "search.count was all, is feasible"),
    (lambda w: w, {"extrapolate": True}, "search.extrapolate is new: True"),
    (lambda w: w, {"evaluate": "sparse"}, "search.evaluate is new: sparse"),
    (
        lambda w: replace(w, search_space={**w.search_space, "learning_rate": Log(1e-3, 1.0)}),  # type: ignore[dict-item]
        {},
        "search_space.learning_rate.high was 0.1, is 1.0",
    ),
    (
        lambda w: replace(w, search_space={**w.search_space, "weight_decay": 0.1}),  # type: ignore[dict-item]
        {},
        "search_space.weight_decay is new: 0.1",
    ),
    (lambda w: replace(w, step_budget=99), {}, "step_budget was 150, is 99"),
    (
        lambda w: replace(w, model=lambda *, dropout: nn.Linear(2, 3)),
        {},
        "model.parameters.0.weight",
    ),
    (lambda w: replace(w, data=lambda: _noisier(w)), {}, "data.train.checksum was"),
]


def _noisier(workload: Workload) -> Any:
    found = workload.data()
    return replace(found, train=replace(found.train, inputs=found.train.inputs + 1e-3))


@pytest.mark.parametrize(("change", "asked", "difference"), changes, ids=[c[2] for c in changes])
def test_another_definition_is_refused_with_the_difference_and_nothing_changes(
    storage: Storage,
    change: Callable[[Workload], Workload],
    asked: dict[str, Any],
    difference: str,
) -> None:
    make(storage, batch_sizes=(4,), trials=3)
    before = contents(storage)
    with pytest.raises(IdentityError) as refused:
        make(storage, change(clouds()), batch_sizes=(4, 32), trials=6, **asked)
    if "model" not in difference:
        assert difference in str(refused.value)
    assert "study clouds/mlp/momentum/b4 exists under another definition" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(storage) == before


refusals: list[tuple[dict[str, Any], str]] = [
    ({"together": 0}, "--together 0: must be a whole number"),
    ({"together": "all", "sampler": "tpe"}, "--together all: a sampler learns from trials that"),
    ({"together": 4, "schedule": "race"}, "--together 4: says it all; leave --schedule race out"),
    (
        {"generation": 4, "sampler": "gp", "schedule": "one-by-one"},
        "--generation 4: contradicts --schedule one-by-one; say --together 1, or --together 4",
    ),
    ({"generation": 0, "sampler": "tpe"}, "--generation 0: must be a whole number"),
    ({"sampler": "random"}, "--sampler 'random': must be one of sobol, tpe, gp"),
    ({"schedule": "fifo"}, "--schedule 'fifo': must be one of race, one-by-one"),
    ({"count": "none"}, "--count 'none': must be one of all, feasible"),
    ({"trials": 0}, "--trials 0: must be a whole number from 1 to 100,000"),
    ({"trials": 10**9}, "--trials 1000000000: must be a whole number from 1 to 100,000"),
    ({"trials": 2.5}, "--trials 2.5: must be a whole number"),
    ({"trials": True}, "--trials True: must be a whole number"),
    ({"finishers": 10**20}, "--finishers 100000000000000000000: must be a whole number"),
    ({"halving": True}, "--halving: is no option of new studies"),
    (
        {"trials": 0, "finishers": -1},
        "--trials 0: must be a whole number from 1 to 100,000; --finishers -1: must be a whole",
    ),
    ({"seed": 2**63}, f"--seed {2**63}: must lie between -2^63 and 2^63 - 1"),
    ({"finishers": 0}, "--finishers 0: must be a whole number"),
    ({"after_goal": "go"}, "--after-goal 'go': must be one of stop, continue"),
    ({"after_goal": "continue", "continuing": 0}, "--continuing 0: must be a whole number"),
    ({"continuing": 2}, "--continuing 2: needs --after-goal continue"),
    ({"after_goal": "stop", "continuing": 1}, "--continuing 1: needs --after-goal continue"),
    (
        {"finishers": 2, "after_goal": "continue", "continuing": 3},
        "--continuing 3: must be at most --finishers, 2",
    ),
    ({"batch_sizes": (0,)}, "batch size 0"),
    ({"batch_sizes": (-4,)}, "batch size -4"),
    ({"batch_sizes": (97,)}, "batch size 97 is larger than the training set of 96 examples"),
    ({"goal": 1.5}, "error rate lies between 0 and 1"),
    ({"goal": 0.99}, "already passed before training"),
]


@pytest.mark.parametrize(("asked", "said"), refusals, ids=[said for _, said in refusals])
def test_a_request_that_cannot_work_is_refused_before_anything_is_written(
    storage: Storage, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        make(storage, **asked)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(storage) == {"bf_studies": [], "bf_slots": []}


def test_an_adaptive_samplers_slots_are_drawn_later(storage: Storage) -> None:
    make(storage, sampler="tpe", trials=3)
    with storage.read() as conn:
        assert set(conn.execute(select(slots.c.params)).scalars()) == {None}


def test_every_kind_of_dimension_survives_the_database(storage: Storage) -> None:
    space = {
        **clouds().search_space,  # type: ignore[dict-item]
        "dropout": Choice(0.0, 0.25, 0.5),
        "decay_steps": Integer(10, 100, log=True),
        "label_smoothing": Linear(0.0, 0.1),
        "weight_decay": 1e-4,
    }
    workload = replace(clouds(), search_space=space)
    make(storage, workload, batch_sizes=(4,), trials=2)
    make(storage, workload, trials=6)
    expected = quasi_random_points(space, 6, study_seed(0, workload.name, 4))
    assert points(storage, 4) == expected


def test_a_search_space_may_shift_with_the_batch_size(storage: Storage) -> None:
    fixed = clouds().search_space
    workload = replace(
        clouds(),
        search_space=lambda b: {**fixed, "learning_rate": Log(1e-3 * b, 1e-2 * b)},  # type: ignore[dict-item]
    )
    make(storage, workload, trials=4)
    for batch_size in (4, 16):
        rates = [p["learning_rate"] for p in points(storage, batch_size)]
        assert all(1e-3 * batch_size <= rate <= 1e-2 * batch_size for rate in rates)
    assert set(make(storage, workload).added) == {0}


def test_another_batch_size_may_not_have_another_definition(storage: Storage) -> None:
    make(storage, batch_sizes=(4,), trials=2)
    wider = replace(clouds(), model=lambda: nn.Linear(2, 3), search_space={"learning_rate": 0.1})
    for other in (SearchOptions(goal=0.2), SearchOptions(seed=1), SearchOptions(count="feasible")):
        with pytest.raises(IdentityError, match="b4 exists under another definition"):
            plan(storage, SPEC, clouds(), replace(other, batch_sizes=(16,), trials=2))
    with pytest.raises(IdentityError, match=r"model\.layers was"):
        plan(storage, SPEC, replace(wider, algorithm=SGD(), schedule=Constant()), SearchOptions())
    with storage.read() as conn:
        assert [s.batch_size for s in find_studies(conn, Filter())] == [4]


def test_the_search_space_may_depend_on_the_batch_size_even_where_the_model_takes_it(
    storage: Storage,
) -> None:
    def space(batch_size: int) -> SearchSpace:
        return {**clouds().space(4), "dropout": Linear(0.0, 1 / batch_size)}

    shifting = replace(clouds(), search_space=space)
    first = plan(storage, SPEC, shifting, SearchOptions(batch_sizes=(16,), trials=2))
    both = plan(storage, SPEC, shifting, SearchOptions(batch_sizes=(4, 16), trials=2))
    assert (first.added, both.added) == ((2,), (2, 0))


def test_a_file_that_was_moved_is_found_where_it_is_now(storage: Storage) -> None:
    make(storage, trials=2)
    moved = plan(storage, "elsewhere.py:clouds", clouds(), SearchOptions(trials=2))
    assert moved.added == (0, 0)
    with storage.read() as conn:
        assert {s.spec for s in find_studies(conn, Filter())} == {"elsewhere.py:clouds"}


def test_a_precision_of_the_users_own_is_part_of_the_definition(storage: Storage) -> None:
    lower = plan(storage, SPEC, clouds(), SearchOptions(trials=1, precision="bfloat16")).studies
    assert {(s.precision, s.identity["precision"]) for s in lower} == {("bfloat16", "bfloat16")}
    again = plan(storage, SPEC, clouds(), SearchOptions(trials=1))
    assert set(again.added) == {0}
    assert {s.precision for s in again.studies} == {"bfloat16"}
    loaded = set_up(again.studies[0], torch.device("cpu"), None)
    assert loaded.workload.execution.precision == "bfloat16"
    higher = {**lower[0].identity, "precision": "float32"}
    assert not loaded.serves(replace(lower[0], identity=higher))
    with pytest.raises(IdentityError, match="precision was bfloat16, is gone"):
        plan(storage, SPEC, clouds(), SearchOptions(trials=1, precision="float32"))
    with pytest.raises(UsageError, match="--precision 'float16': must be one of float32, bfloat16"):
        plan(storage, SPEC, clouds(), SearchOptions(trials=1, precision="float16"))


def test_evaluations_are_left_out_where_it_is_asked_for_and_can_be(storage: Storage) -> None:
    assert not any(study.sparse for study in make(storage, batch_sizes=(4,), trials=1).studies)
    asked = SearchOptions(batch_sizes=(4,), trials=1, evaluate="sparse", variant="sparse")
    assert all(study.sparse for study in plan(storage, SPEC, clouds(), asked).studies)
    score = Metric("score", lambda outputs, targets: outputs[:, 0], "lower")
    with pytest.raises(UsageError, match=r"score has no best value, .*\(the metric's low=\); say"):
        plan(storage, SPEC, replace(clouds(), goal=Goal(score, -9.0)), replace(asked, variant="b"))
    told = "as a loop says itself where it is evaluated; say --evaluate every"
    with pytest.raises(UsageError, match=told):
        plan(storage, loops.SPEC, loops.kept(), SearchOptions(trials=1, evaluate="sparse"))


def test_more_finishers_are_asked_for_or_left_as_they_are(storage: Storage) -> None:
    make(storage, batch_sizes=(4, 16), trials=2, finishers=2)
    assert make(storage, batch_sizes=(16,), finishers=3).studies[0].finishers == 3
    assert [study.finishers for study in make(storage).studies] == [2, 3]
    assert [study.finishers for study in make(storage, batch_sizes=(4, 32)).studies] == [2, 2]
    with pytest.raises(UsageError, match="b16 has 3, which can be raised, not lowered"):
        make(storage, finishers=2)
