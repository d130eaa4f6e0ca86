"""Two studies of a tiny workload, raced to their ends."""

from threading import Event

import pytest
import torch
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.worker.worker import Settings, Worker

from tests.toy import SPEC, clouds


@pytest.fixture
def raced(storage: Storage) -> Storage:
    """The database with them."""
    planned = plan(storage, SPEC, clouds(), SearchOptions(trials=3))
    Worker(storage, Settings("w1", torch.device("cpu"), planned.filter), Event()).run()
    return storage
