"""Every workload of the catalog on small data: the same model (but VGG-11 is slimmer, and Open
Images has fewer classes), loss, algorithm and search space.

What a worker finds as `tests.batchfront_studies.small_workloads:lm1b__lstm__nesterov_momentum` is
that workload with the small data that `write` has written, looked at at every step, for a few
steps.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from batchfront.training.evaluation import full_metric
from batchfront.workload import catalog
from batchfront.workload.data import Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.workload import Workload
from batchfront_studies.datasets.lm1b import Sizes
from batchfront_studies.models.resnet_50 import resnet_50
from batchfront_studies.models.vgg_11 import vgg_11
from tests.batchfront_studies.small_data import (
    cifar_10,
    common_crawl,
    fashion_mnist,
    imagenet,
    lm1b,
    mnist,
    open_images,
)

STEPS = 2

FEW_SENTENCES = Sizes(
    training_files=1, training_sentences=40, held_out_files=2, held_out_sentences=16
)
"""So few that a step of the widest Transformer, and a look at it, take a second."""

_SMALL = {
    "batchfront_studies.datasets.mnist": mnist.SMALL,
    "batchfront_studies.datasets.fashion_mnist": mnist.SMALL,
    "batchfront_studies.datasets.cifar_10": cifar_10.SMALL,
    "batchfront_studies.datasets.imagenet": imagenet.SMALL,
    "batchfront_studies.datasets.open_images": open_images.SMALL,
    "batchfront_studies.datasets.lm1b": FEW_SENTENCES,
    "batchfront_studies.datasets.common_crawl": replace(common_crawl.SMALL, held_out=8),
}
"""The module of a loader to what it is given for the true sizes."""


def write(root: Path) -> None:
    """Write every data set, small, below the data directory `root`."""
    mnist.write_mnist(root)
    fashion_mnist.write_fashion_mnist(root)
    cifar_10.write_cifar_10(root)
    imagenet.write_imagenet(root)
    open_images.write_open_images(root)
    lm1b.write_lm1b(root, FEW_SENTENCES)
    common_crawl.write_common_crawl(root, documents=4)


def small(name: str) -> Workload:
    """The catalog's workload of that name on its small data."""
    workload = catalog.load(name)
    if name.startswith("open_images_v4"):
        workload = replace(workload, model=partial(resnet_50, open_images.SMALL.classes))
    if name.startswith("imagenet/vgg_11"):
        workload = replace(workload, model=slim_vgg_11)
    return replace(
        workload,
        data=_on_small_data(workload.data),
        step_budget=STEPS,
        grid=EvaluationGrid(),
    )


def slim_vgg_11() -> nn.Module:
    """VGG-11 with 64 hidden units for 4,096, in which most of its parameters are."""
    with patch("batchfront_studies.models.vgg_11.HIDDEN", 64):
        return vgg_11()


def spec(name: str) -> str:
    """How a worker finds `small(name)`."""
    return f"{__name__}:{name.replace('/', '__')}"


def __getattr__(name: str) -> Callable[[], Workload]:
    if "__" not in name or name.startswith("__"):
        raise AttributeError(name)
    return partial(small, name.replace("__", "/"))


def _on_small_data(loader: Callable[..., Splits]) -> Callable[[], Splits]:
    made: Any = loader
    while isinstance(made, partial):
        made = made.func
    return partial(loader, _SMALL[made.__module__])


def goal_within_reach(workload: Workload) -> float:
    """A value of the goal metric that no untrained model has, and one that has learnt a little."""
    metric = workload.goal.metric
    if metric is ERROR_RATE:
        return 0.6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = full_metric(workload.model(), workload.data().validation, metric)
    return 0.9 * untrained if metric.better == "lower" else (1 + untrained) / 2
