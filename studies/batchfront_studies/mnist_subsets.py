"""mnist_subsets/mnist_*: the Simple CNN of Shallue et al. 2018 on an eighth, a quarter, half and
all of MNIST's training images.

From the paper: the sizes, the model, Nesterov momentum and the batch sizes. Ours: which images
(see datasets/mnist.py), the goal (see GOAL), and search space and step budget, which are
those of the whole set, so that the sizes are compared with all else alike.
"""

from collections.abc import Callable
from functools import partial

from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.mnist import mnist_part
from batchfront_studies.mnist import WHOLE_TRAINING_SET, cnn_base_on

PARTS = (8, 4, 2, 1)
"""One in so many of the training images."""

GOAL = 0.02
"""One goal for all sizes, so that they can be compared, and thus one that the smallest reaches, if
not with every draw. The lowest errors of four runs with 6,875 images: 0.018 in 5 epochs (batch size
64, learning rate 0.05, momentum 0.9), 0.0202 in 6 (64, 0.02, 0.95), 0.0248 in 6 (64, 0.03, 0.9) and
0.0224 in 15 (256, 0.1, 0.9); the step budget is 320. 0.01, the goal on the whole set, may be out of
its reach. Ours: we don't know the paper's for certain."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {
        f"mnist_subsets/mnist_{size(one_in)}/simple_cnn_base/nesterov_momentum": partial(
            subset, one_in
        )
        for one_in in PARTS
    }


def size(one_in: int) -> int:
    """Training images of the part."""
    return WHOLE_TRAINING_SET // one_in


def subset(one_in: int) -> Workload:
    """One in `one_in` of the training images: at batch sizes up to all of them."""
    images = size(one_in)
    return cnn_base_on(
        f"mnist_subsets/mnist_{images}",
        partial(mnist_part, one_in=one_in),
        GOAL,
        (*powers_of_two(1, images), images),
        f"{images:,} images drawn by us; goal ours",
    )
