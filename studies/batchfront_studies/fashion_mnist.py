"""fashion_mnist/*: the Simple CNN of Shallue et al. 2018 on Fashion-MNIST.

From the paper: the split's sizes, the model, Nesterov momentum, the batch sizes and the goal.
Ours: search space and step budget, which are those on MNIST (see mnist.py): the model and
the number and range of the inputs are the same. They have not been tried on this data.
"""

from collections.abc import Callable

from batchfront.workload.workload import Workload
from batchfront_studies.datasets.fashion_mnist import fashion_mnist
from batchfront_studies.mnist import NESTEROV_BATCH_SIZES, cnn_base_on

GOAL = 0.1

BATCH_SIZES = tuple(size for size in NESTEROV_BATCH_SIZES if size > 1)
"""2, 8, 32, ... 32768, 55000."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {"fashion_mnist/simple_cnn_base/nesterov_momentum": cnn}


def cnn() -> Workload:
    """The Simple CNN of base width."""
    origin = "search space ours"
    return cnn_base_on("fashion_mnist", fashion_mnist, GOAL, BATCH_SIZES, origin)
