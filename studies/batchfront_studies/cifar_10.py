"""cifar_10/resnet_8/*: the ResNet-8 of Shallue et al. 2018 on CIFAR-10.

From the paper: the split's sizes, the model (see models/resnet_8.py), the algorithms, the
batch sizes, the goal; that the learning rate decays linearly, over half to all of the step budget
(uniform) and to a searched share of itself (log); and that learning rate and momentum are
searched on a logarithmic and a reverse logarithmic scale.

Ours: the ends of those scales, the step budget, and how the images are prepared (see
datasets/cifar_10.py).
"""

from collections.abc import Callable
from functools import partial

from batchfront.workload.algorithm import SGD, Algorithm, NesterovMomentum
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Integer, Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.cifar_10 import cifar_10
from batchfront_studies.models.resnet_8 import resnet_8

ALGORITHMS: tuple[Algorithm, ...] = (NesterovMomentum(), SGD())

BATCH_SIZES = powers_of_two(2, 8192)

GOAL = 0.3

TRAINING_SET = 45_000


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {
        f"cifar_10/resnet_8/{algorithm.name}": partial(resnet, algorithm)
        for algorithm in ALGORITHMS
    }


def resnet(algorithm: Algorithm) -> Workload:
    """ResNet-8 with Nesterov momentum or plain SGD."""
    return Workload(
        name=f"cifar_10/resnet_8/{algorithm.name}",
        description="8 layers in 3 residual blocks, no batch normalization (Shallue et al. 2018; "
        "search space and preparation of images ours)",
        data=cifar_10,
        model=resnet_8,
        loss=cross_entropy,
        algorithm=algorithm,
        goal=Goal(ERROR_RATE, GOAL),
        search_space=sgd_space if algorithm.name == "sgd" else nesterov_space,
        step_budget=step_budget,
        batch_sizes=BATCH_SIZES,
        schedule=LinearDecay(),
    )


def step_budget(batch_size: int) -> int:
    """40 epochs, and at least 8,000 steps: meant to be generous, not measured."""
    return max(8_000, 40 * TRAINING_SET // batch_size)


def sgd_space(batch_size: int) -> SearchSpace:
    """Learning rates of 1e-4 to 0.4 at batch size 2, and higher for larger ones.

    The upper end is about where training breaks down, which the batch size moves little: without
    batch normalization and on tinted noise, a constant learning rate of 0.1 was learnt with at
    batch size 16, and 1 was too much at 256, where every output soon was as likely.
    """
    shift = _shift(batch_size)
    return {"learning_rate": Log(1e-4 * shift, 0.4 * shift), **_decay(batch_size)}


def nesterov_space(batch_size: int) -> SearchSpace:
    """A tenth of sgd's learning rates, as momentum multiplies them by 1 / (1 - momentum) in
    effect; at batch size 256, 0.3 with momentum 0.9 diverged on tinted noise.

    Momentum up to 0.999 and not to the 0.9999 of the paper's largest workloads: it averages over
    1 / (1 - momentum) steps, and large batches are meant to be done in a few thousand.
    """
    shift = _shift(batch_size)
    return {
        "learning_rate": Log(1e-5 * shift, 0.04 * shift),
        "momentum": ReverseLog(0.9, 0.999),
        **_decay(batch_size),
    }


def _shift(batch_size: int) -> float:
    """1 at batch size 2, 8 at 8,192: the fourth root of the batch size."""
    return float((batch_size / 2) ** 0.25)


def _decay(batch_size: int) -> SearchSpace:
    steps = step_budget(batch_size)
    return {"decay_steps": Integer(steps // 2, steps), "decay_factor": Log(1e-4, 0.1)}
