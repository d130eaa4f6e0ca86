"""Pass sizes that one worker has found are what others begin with."""

from dataclasses import replace

import pytest
import torch
from sqlalchemy import select

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.store.schema import pass_sizes
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.worker.microbatch_sizes import KnownMicroBatchSizes
from tests.searches import work
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage

CPU = torch.device("cpu")


def sizes(storage: Storage, sharing: int = 1) -> KnownMicroBatchSizes:
    return KnownMicroBatchSizes(storage, impatient, CPU, sharing)


def test_what_nobody_has_found_is_to_be_estimated(storage: Storage) -> None:
    alone, shared = sizes(storage).recall(clouds()), sizes(storage, 4).recall(clouds())
    assert alone.limits == (None, None)
    assert alone.room is not None
    assert shared.room is not None
    assert 0 < shared.room < alone.room


def test_what_one_has_found_others_begin_with_whatever_the_goal(storage: Storage) -> None:
    sizes(storage).keep(clouds(), MicroBatchSizes(MicroBatchSize(64), MicroBatchSize(None)))
    found = sizes(storage).recall(clouds().with_goal(0.3))
    assert (found.limits, found.room) == ((64, None), None)


def test_another_precision_or_company_or_workload_is_another_matter(storage: Storage) -> None:
    sizes(storage).keep(clouds(), MicroBatchSizes(MicroBatchSize(64), MicroBatchSize(128)))
    for of, workload in (
        (sizes(storage, 2), clouds()),
        (sizes(storage), clouds().with_precision("bfloat16")),
        (sizes(storage), replace(clouds(), name="clouds/other/momentum")),
    ):
        assert of.recall(workload).limits == (None, None)


def test_less_room_counts_whoever_found_it(storage: Storage) -> None:
    one, two = sizes(storage), sizes(storage)
    micro_batches = MicroBatchSizes(MicroBatchSize(64), MicroBatchSize(128))
    one.keep(clouds(), micro_batches)
    two.keep(clouds(), MicroBatchSizes(MicroBatchSize(32), MicroBatchSize(256)))
    assert sizes(storage).recall(clouds()).limits == (32, 128)
    micro_batches.training.limit = 16
    one.keep(clouds(), micro_batches)
    assert sizes(storage).recall(clouds()).limits == (16, 128)


def test_a_worker_writes_what_it_finds(storage: Storage) -> None:
    planned = plan(storage, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(16,)))
    work(storage, wanted=planned.filter)
    with storage.read() as conn:
        rows = conn.execute(select(pass_sizes)).all()
    assert [(row.workload, row.precision) for row in rows] == [("clouds/mlp/momentum", "float32")]
    assert rows[0].training > 16
    assert rows[0].device.startswith("cpu, ")
