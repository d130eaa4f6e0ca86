"""A small ResNet on JPEG files with random crops and flips, as kuangliu/pytorch-cifar trains its own."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from batchfront import (
    ERROR_RATE,
    Examples,
    Goal,
    Log,
    ReverseLog,
    Splits,
    TorchSchedule,
    Workload,
    cross_entropy,
)

PLAIN = T.Compose([T.ToTensor(), T.Normalize([0.3] * 3, [0.4] * 3)])
AUGMENTED = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), PLAIN])


class Block(nn.Module):
    """Two convolutions beside a shortcut. [n, inputs, s, s] -> [n, outputs, s / stride, ...]"""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        found = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(found + self.shortcut(x))


def resnet() -> nn.Module:
    """Three blocks. [n, 3, 32, 32] -> [n, 10]"""
    first = [nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    blocks = [Block(8, 8, 1), Block(8, 16, 2), Block(16, 32, 2)]
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


# What takes the place of the loop:


def data(data_dir: Path) -> Splits:
    return Splits(
        Examples.of(ImageFolder(data_dir / "train", AUGMENTED)),
        Examples.of(ImageFolder(data_dir / "validation", PLAIN)),
    )


def cosine(optimizer: SGD, *, epochs: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=epochs)


cifar = Workload(
    name="jpeg/resnet/sgd",
    data=data,
    model=resnet,
    loss=cross_entropy,
    algorithm=SGD,
    schedule=TorchSchedule(cosine, every="epoch"),
    goal=Goal(ERROR_RATE, 0.1),
    search_space={
        "learning_rate": Log(1e-3, 1.0),
        "momentum": ReverseLog(0.0, 0.99),
        "weight_decay": 5e-4,
        "epochs": 20,
    },
    step_budget=lambda batch_size: 20 * 1_400 // batch_size,
    batch_sizes=(8, 32, 128),
)
