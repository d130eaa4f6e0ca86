"""Two studies of a tiny workload, raced to their ends."""

import pytest

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from tests.searches import work
from tests.toy import SPEC, clouds


@pytest.fixture
def raced(storage: Storage) -> Storage:
    """The database with them."""
    planned = plan(storage, SPEC, clouds(), SearchOptions(trials=3))
    work(storage, name="w1", wanted=planned.filter)
    return storage
