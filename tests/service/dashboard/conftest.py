"""Two studies of a tiny workload, raced to their ends."""

from threading import Event

import pytest
import torch

from service.database import Storage
from service.plan import Request, plan
from service.worker import Settings, Worker
from tests.toy import SPEC, clouds


@pytest.fixture
def raced(storage: Storage) -> Storage:
    """The database with them."""
    planned = plan(storage, SPEC, clouds(), Request(trials=3))
    Worker(storage, Settings("w1", torch.device("cpu"), planned.filter), Event()).run()
    return storage
