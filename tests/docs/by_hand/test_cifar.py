"""The ResNet's workload is the loop of kuangliu/pytorch-cifar, with a goal."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.datasets import ImageFolder

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

cifar, small_jpegs = example("cifar_workload"), example("small_jpegs")

BATCH_SIZE, RATE, GOAL, EPOCHS = 25, 0.1, 0.8, 4


SEEDS = (0,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 digits to train on and 100 to validate on, as JPEG files."""
    target = tmp_path_factory.mktemp("jpegs")
    small_jpegs.main(target, train=200, validation=100)
    return target


def by_hand(folder: Path, seed: int) -> Ended:
    train = ImageFolder(folder / "train", cifar.AUGMENTED)
    held_out = ImageFolder(folder / "validation", cifar.PLAIN)
    images = torch.stack([image for image, _ in held_out])
    labels = torch.tensor(held_out.targets)
    seed_weights(seed)
    model = cifar.resnet()
    optimizer = SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    scheduler = CosineAnnealingLR(optimizer, T_max=EPOCHS)
    steps_per_epoch = len(train) // BATCH_SIZE
    budget = EPOCHS * steps_per_epoch
    for step, batch in batches(seed, len(train), BATCH_SIZE, budget):
        model.train()
        inputs, targets = drawn(train, seed, step, batch)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if (step + 1) % steps_per_epoch == 0:
            scheduler.step()
        if step + 1 in EvaluationGrid().steps(budget):
            model.eval()
            with torch.no_grad():
                wrong = model(images).argmax(1) != labels
            if wrong.float().mean() < GOAL:
                return Ended.at(step + 1, model)
    return Ended.at(None, model)


@pytest.mark.slow
def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights(folder: Path) -> None:
    budget = EPOCHS * 200 // BATCH_SIZE
    workload = replace(cifar.cifar.with_goal(GOAL), step_budget=budget)
    values = {"learning_rate": RATE, "momentum": 0.9, "weight_decay": 5e-4, "T_max": EPOCHS}
    trials = raced(workload, workload.data(folder), BATCH_SIZE, values, SEEDS)
    assert_same(trials, [by_hand(folder, seed) for seed in SEEDS])
