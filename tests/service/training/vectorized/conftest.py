"""Points that the trials of these tests are on."""

import pytest

from service.data import Splits
from tests.service.training.vectorized.trials import splits


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits(16)
