"""The resnet18's workload is the loop of torchvision's references, with a goal."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

from batchfront import EvaluationGrid
from tests.docs.by_hand.draws import (
    Ended,
    assert_same,
    batches,
    drawn,
    example,
    raced,
    seed_weights,
)

resnet, small_jpegs = example("resnet_workload"), example("small_jpegs")

BATCH_SIZE, RATE, GOAL, EPOCHS, DECAY = 20, 0.01, 0.8, 3, 0.8

SEEDS = (0,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 digits to train on and 60 to validate on, as JPEG files."""
    target = tmp_path_factory.mktemp("jpegs")
    small_jpegs.main(target, train=160, validation=60)
    return target


def by_hand(folder: Path, seed: int) -> Ended:
    train = ImageFolder(folder / "train", resnet.AUGMENTED)
    held_out = ImageFolder(folder / "validation", resnet.PLAIN)
    images = torch.stack([image for image, _ in held_out])
    labels = torch.tensor(held_out.targets)
    seed_weights(seed)
    model = resnet18(num_classes=10)
    norms: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        own = norms if isinstance(module, nn.BatchNorm2d) else others
        own += module.parameters(recurse=False)
    groups = [{"params": others}, {"params": norms, "weight_decay": 0.0}]
    optimizer = SGD(groups, lr=RATE, momentum=0.9, weight_decay=1e-4)
    warm_up = LinearLR(optimizer, 0.1, total_iters=1)
    cosine = CosineAnnealingLR(optimizer, T_max=EPOCHS - 1)
    scheduler = SequentialLR(optimizer, [warm_up, cosine], milestones=[1])
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    steps_per_epoch = len(train) // BATCH_SIZE
    budget = EPOCHS * steps_per_epoch
    for step, batch in batches(seed, len(train), BATCH_SIZE, budget):
        model.train()
        inputs, targets = drawn(train, seed, step, batch)
        loss = F.cross_entropy(model(inputs), targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        if (step + 1) % steps_per_epoch == 0:
            scheduler.step()
        if step + 1 in EvaluationGrid().steps(budget):
            average.eval()
            with torch.no_grad():
                wrong = average(images).argmax(1) != labels
            if wrong.float().mean() < GOAL:
                return Ended.at(step + 1, average.module)
    return Ended.at(None, average.module)


@pytest.mark.slow
def test_it_passes_the_goal_at_the_loops_step_with_the_loops_average(folder: Path) -> None:
    budget = EPOCHS * 160 // BATCH_SIZE
    workload = replace(resnet.resnet.with_goal(GOAL), step_budget=budget)
    values = {
        "learning_rate": RATE,
        "label_smoothing": 0.1,
        "average_decay": DECAY,
        "epochs": EPOCHS,
        "warmup_epochs": 1,
    }
    trials = raced(workload, workload.data(folder), BATCH_SIZE, values, SEEDS)
    assert_same(trials, [by_hand(folder, seed) for seed in SEEDS])
