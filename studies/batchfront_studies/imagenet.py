"""imagenet/* and imagenet_subsets/*: ResNet-50 and VGG-11 of Shallue et al. 2018.

From the paper: the models, Nesterov momentum, the linear decay, the batch sizes, the goals on
ImageNet, and what large_images.py names. Ours: VGG-11's range of learning rates, that its
label smoothing is searched, and the goals on halves of ImageNet, which are ImageNet's so that the
three can be compared.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from batchfront.workload.algorithm import NesterovMomentum
from batchfront.workload.data import Splits
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.imagenet import (
    imagenet,
    imagenet_half_classes,
    imagenet_half_images,
)
from batchfront_studies.large_images import EXECUTION, GRID, search_space, step_budget
from batchfront_studies.models.resnet_50 import resnet_50
from batchfront_studies.models.vgg_11 import vgg_11

RESNET_GOAL, VGG_GOAL = 0.25, 0.35

RESNET_SPACE = search_space(1e-4, 10.0)

VGG_SPACE = search_space(1e-5, 1.0)
"""A decade below ResNet-50's: without normalization VGG's gradients grow with its weights, and it
was trained with a learning rate of 0.01 at batch size 256 and momentum 0.9, a tenth of what
ResNets are trained with."""

SUBSETS: dict[str, tuple[Callable[[], Splits], int, str]] = {
    "imagenet_half_classes": (imagenet_half_classes, 500, "half of the classes"),
    "imagenet_half_images": (imagenet_half_images, 1000, "half of the images of each class"),
}
"""Name to loader, classes, and what it is."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    makers: dict[str, Callable[[], Workload]] = {
        "imagenet/resnet_50/nesterov_momentum": resnet,
        "imagenet/vgg_11/nesterov_momentum": vgg,
    }
    for subset in SUBSETS:
        makers[f"imagenet_subsets/{subset}/resnet_50/nesterov_momentum"] = partial(half, subset)
    return makers


def resnet() -> Workload:
    """ResNet-50 on ImageNet."""
    return _workload(
        "imagenet/resnet_50/nesterov_momentum",
        "ResNet-50 with pre-activation and ghost batch normalization of 32 (Shallue et al. 2018)",
        imagenet,
        resnet_50,
        RESNET_GOAL,
        RESNET_SPACE,
        powers_of_two(64, 65_536),
    )


def vgg() -> Workload:
    """VGG-11 on ImageNet."""
    return _workload(
        "imagenet/vgg_11/nesterov_momentum",
        "VGG-11 without batch normalization (Shallue et al. 2018; ranges ours)",
        imagenet,
        vgg_11,
        VGG_GOAL,
        VGG_SPACE,
        (32, 64, *powers_of_two(256, 65_536)),
    )


def half(subset: str) -> Workload:
    """ResNet-50 on one of SUBSETS."""
    data, classes, what = SUBSETS[subset]
    return _workload(
        f"imagenet_subsets/{subset}/resnet_50/nesterov_momentum",
        f"ResNet-50 on {what} of ImageNet (Shallue et al. 2018; goal and choice of the half ours)",
        data,
        partial(resnet_50, classes),
        RESNET_GOAL,
        RESNET_SPACE,
        powers_of_two(64, 32_768),
    )


def _workload(
    name: str,
    description: str,
    data: Callable[[], Splits],
    model: Callable[[], nn.Module],
    goal: float,
    space: Callable[[int], SearchSpace],
    batch_sizes: Sequence[int],
) -> Workload:
    return Workload(
        name=name,
        description=description,
        data=data,
        model=model,
        loss=cross_entropy,
        algorithm=NesterovMomentum(),
        goal=Goal(ERROR_RATE, goal),
        search_space=space,
        step_budget=step_budget,
        batch_sizes=batch_sizes,
        schedule=LinearDecay(),
        grid=GRID,
        execution=EXECUTION,
    )
