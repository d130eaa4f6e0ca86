"""open_images_v4/*: ResNet-50 of Shallue et al. 2018 with many labels an image.

From the paper: the model, Nesterov momentum, the linear decay, the batch sizes, and the goal, an
average precision above 0.31.

Ours, as we don't know the paper's for certain: the loss, a sigmoid cross-entropy summed over
classes, so that its gradients are of the size of ImageNet's and its learning rates may be searched
alike; that average precision ranks all classes of all images together, and that labels which
nobody has checked count as false. Were only checked labels counted, of which half are true, an
untrained model would have passed 0.31; and were classes averaged, of which most have a few true
labels in the whole split, a goal of 0.31 would be out of proportion.
"""

from collections.abc import Callable
from functools import partial

from batchfront.workload.algorithm import NesterovMomentum
from batchfront.workload.goal import Goal
from batchfront.workload.losses import sigmoid_cross_entropy
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.metrics import AVERAGE_PRECISION
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.open_images import Sizes, open_images
from batchfront_studies.large_images import EXECUTION, GRID, search_space, step_budget
from batchfront_studies.models.resnet_50 import resnet_50

GOAL = 0.31

SPACE = search_space(1e-4, 10.0)


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {"open_images_v4/resnet_50/nesterov_momentum": resnet}


def resnet() -> Workload:
    """ResNet-50 on Open Images V4. Its step budget is ImageNet's: 34 epochs."""
    return Workload(
        name="open_images_v4/resnet_50/nesterov_momentum",
        description="ResNet-50 with a sigmoid for each of 7,186 classes (Shallue et al. 2018; "
        "loss and averaging ours)",
        data=open_images,
        model=partial(resnet_50, Sizes.classes),
        loss=sigmoid_cross_entropy,
        algorithm=NesterovMomentum(),
        goal=Goal(AVERAGE_PRECISION, GOAL),
        search_space=SPACE,
        step_budget=step_budget,
        batch_sizes=powers_of_two(64, 32_768),
        schedule=LinearDecay(),
        grid=GRID,
        execution=EXECUTION,
    )
