"""solution_quality/*: how steps to target depend on the goal, for the Simple CNN of Shallue et al.
2018 on MNIST and Fashion-MNIST.

The paper asks these runs for the steps to several goals; `batchfront analyze goals` reads all that
are easier than the workload's own from the same runs, and a harder one is set with `--goal`.

From the paper: the model, Nesterov momentum and the batch sizes. Ours: the workload's own goal,
which is the paper's for the same model and data elsewhere, as we don't know for certain which
goals it asked these runs for; and search space and step budget, which are those of
mnist.py.
"""

from collections.abc import Callable
from functools import partial

from batchfront.workload.data import Splits
from batchfront.workload.workload import Workload
from batchfront_studies import fashion_mnist as clothes
from batchfront_studies.datasets.fashion_mnist import fashion_mnist
from batchfront_studies.datasets.mnist import mnist
from batchfront_studies.mnist import CNN_GOAL, NESTEROV_BATCH_SIZES, cnn_base_on

_OF: dict[str, tuple[Callable[..., Splits], float]] = {
    "mnist": (mnist, CNN_GOAL),
    "fashion_mnist": (fashion_mnist, clothes.GOAL),
}


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {
        f"solution_quality/{dataset}/simple_cnn_base/nesterov_momentum": partial(cnn, dataset)
        for dataset in _OF
    }


def cnn(dataset: str) -> Workload:
    """The Simple CNN of base width on `mnist` or `fashion_mnist`."""
    data, goal = _OF[dataset]
    name = f"solution_quality/{dataset}"
    return cnn_base_on(name, data, goal, NESTEROV_BATCH_SIZES, "goal ours")
