"""Points that the trials of these tests are on."""

import pytest

from batchfront.workload.data import Splits
from tests.batchfront.training.vectorized.trials import splits


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits(16)
