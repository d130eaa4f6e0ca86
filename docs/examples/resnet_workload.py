"""torchvision's resnet18 on JPEG files, as its references train it: no weight decay for batch
normalization, a warm-up and a cosine by epochs, and the average of its weights evaluated."""

from pathlib import Path

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torchvision import transforms as T
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

from batchfront import (
    ERROR_RATE,
    Examples,
    Goal,
    Log,
    Splits,
    TorchOptimizer,
    TorchSchedule,
    WeightAverage,
    Workload,
    cross_entropy,
)

PLAIN = T.Compose([T.ToTensor(), T.Normalize([0.3] * 3, [0.4] * 3)])
AUGMENTED = T.Compose([T.RandomResizedCrop(32, scale=(0.5, 1.0)), PLAIN])

# What takes the place of the loop:


def data(data_dir: Path) -> Splits:
    return Splits(
        Examples.of(ImageFolder(data_dir / "train", AUGMENTED)),
        Examples.of(ImageFolder(data_dir / "validation", PLAIN)),
    )


def model():
    return resnet18(num_classes=10)


def sgd(model, *, learning_rate, weight_decay=1e-4):
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    spared = [p for norm in norms for p in norm.parameters()]
    others = [p for p in model.parameters() if all(p is not q for q in spared)]
    groups = [{"params": others}, {"params": spared, "weight_decay": 0.0}]
    return SGD(groups, learning_rate, momentum=0.9, weight_decay=weight_decay)


def schedule(optimizer, *, epochs=10, warmup_epochs=2):
    parts = [LinearLR(optimizer, 0.1, total_iters=warmup_epochs)]
    parts.append(CosineAnnealingLR(optimizer, T_max=epochs - warmup_epochs))
    return SequentialLR(optimizer, parts, milestones=[warmup_epochs])


resnet = Workload(
    name="jpeg/resnet18/sgd",
    data=data,
    model=model,
    loss=cross_entropy,
    algorithm=TorchOptimizer("sgd", sgd),
    schedule=TorchSchedule(schedule, every="epoch"),
    average=WeightAverage(0.98),
    goal=Goal(ERROR_RATE, 0.1),
    search_space={"learning_rate": Log(1e-2, 1.0), "label_smoothing": 0.1},
    step_budget=lambda batch_size: 10 * 1_400 // batch_size,
    batch_sizes=(8, 32, 128),
)
