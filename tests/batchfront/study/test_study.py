"""Studies and slots in the database are what the code passes around."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study.slots import add_slots, count_slots
from batchfront.study.study import Filter, find_studies
from tests.toy import POISONED, SPEC, clouds, poisoned

pytestmark = pytest.mark.every_storage


@pytest.fixture
def planned(storage: Storage) -> Storage:
    plan(storage, SPEC, clouds(), SearchOptions(trials=3, seed=2**31 - 1, goal=0.2))
    plan(storage, POISONED, poisoned(), SearchOptions(trials=2, batch_sizes=(16, 4, 8)))
    return storage


def found(storage: Storage, **wanted: Any) -> list[str]:
    with storage.read() as conn:
        return [
            study.name.removeprefix("clouds/") for study in find_studies(conn, Filter(**wanted))
        ]


def test_studies_come_by_workload_and_batch_size(planned: Storage) -> None:
    assert found(planned) == [
        "mlp/momentum/b4",
        "mlp/momentum/b16",
        "poisoned/momentum/b4",
        "poisoned/momentum/b8",
        "poisoned/momentum/b16",
    ]


def test_a_filter_means_its_workloads_and_its_batch_sizes(planned: Storage) -> None:
    assert found(planned, batch_sizes=(4,)) == ["mlp/momentum/b4", "poisoned/momentum/b4"]
    both = {"workloads": ("clouds/poisoned/momentum",), "batch_sizes": (4, 16, 32)}
    assert found(planned, **both) == ["poisoned/momentum/b4", "poisoned/momentum/b16"]
    assert found(planned, workloads=("clouds/mlp",)) == []


def test_a_study_is_read_back_as_it_was_planned(planned: Storage) -> None:
    with planned.read() as conn:
        study = find_studies(conn, Filter(batch_sizes=(4,)))[0]
    assert (study.spec, study.seed, study.goal_value) == (SPEC, 2**31 - 1, 0.2)
    assert study.metric == "error rate"
    assert study.identity["search"]["seed"] == 2**31 - 1


def test_slots_are_counted_and_appended_by_study(planned: Storage) -> None:
    with planned.write() as conn:
        study = find_studies(conn, Filter(batch_sizes=(8,)))[0]
        assert count_slots(conn, study.id) == 2
        add_slots(conn, study.id, 2, [])
        add_slots(conn, study.id, 2, [{"a": 1.5, "b": "x", "c": True}, None])
        assert count_slots(conn, study.id) == 4
        query = select(slots.c.number, slots.c.params).where(slots.c.study_id == study.id)
        rows = conn.execute(query.order_by(slots.c.number)).all()
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert [row.params for row in rows[2:]] == ['{"a": 1.5, "b": "x", "c": true}', None]


@pytest.mark.parametrize(
    ("identity", "tokens"),
    [
        ({"data": {"train": {"examples": 1297, "input_shape": [64]}}}, None),
        ({"data": {"train": {"examples": 200, "tokens": 5000}}}, 25.0),  # sentences
        ({"data": {"train": {"examples": 9000, "length": 256, "tokens": "int64"}}}, 256.0),
        # Of a part, how many its own examples have is not said.
        ({"data": {"train": {"examples": 20, "tokens": 5000, "of_these": "a"}}}, None),
        ({"output": {"kind": "pattern", "tokens_per_example": 1024}}, 1024.0),
        ({"output": {"kind": "pattern"}}, None),
        ({}, None),
    ],
)
def test_what_an_example_has_of_tokens_is_known_from_the_description_of_its_data(
    planned: Storage, identity: dict[str, Any], tokens: float | None
) -> None:
    with planned.read() as conn:
        study = find_studies(conn, Filter())[0]
    assert replace(study, identity=identity).tokens_per_example == tokens
