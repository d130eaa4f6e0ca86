"""Small workloads of every kind that people bring, for tests that hold for all of them.

Each is one change of the same plain workload: another model, loss, data set or optimizer. What
holds of it is written beside it, so that a test can show that a check refuses what it must, and
no more than that.
"""

from tests.zoo.cases import Case
from tests.zoo.data import DATA
from tests.zoo.losses import LOSSES
from tests.zoo.models import MODELS
from tests.zoo.optimizers import OPTIMIZERS

ZOO: tuple[Case, ...] = (*MODELS, *LOSSES, *DATA, *OPTIMIZERS)

__all__ = ["ZOO", "Case"]
