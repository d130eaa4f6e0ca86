"""A GAN on eight clusters in a ring: two models, two optimizers, and a distance as the goal."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from batchfront import Goal, Log, Loop, Measured, Trial

NOISE = 8


def ring(count: int, seed: int) -> Tensor:
    """Points around eight centers on a circle. [count, 2]"""
    draw = torch.Generator().manual_seed(seed)
    angles = torch.randint(8, (count,), generator=draw) * (2 * math.pi / 8)
    centers = torch.stack([angles.cos(), angles.sin()], dim=1)
    return centers + 0.1 * torch.randn(count, 2, generator=draw)


def mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
    )


def energy_distance(a: Tensor, b: Tensor) -> float:
    """How far two samples are from being of one distribution (Székely and Rizzo 2013)."""
    distances = [torch.cdist(x, y).mean() for x, y in ((a, b), (a, a), (b, b))]
    return float(2 * distances[0] - distances[1] - distances[2])


TRAIN, HELD_OUT = ring(8_192, seed=0), ring(512, seed=1)
FIXED_NOISE = torch.randn(512, NOISE, generator=torch.Generator().manual_seed(2))


def train(trial: Trial) -> Iterator[Measured]:
    generator, discriminator = mlp(NOISE, 2), mlp(2, 1)
    g_optimizer = torch.optim.Adam(generator.parameters(), trial["g_rate"], betas=(0.5, 0.9))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), trial["d_rate"], betas=(0.5, 0.9))
    trial.keep(generator, discriminator, g_optimizer, d_optimizer)
    bce = nn.functional.binary_cross_entropy_with_logits
    for step, batch in trial.batches(len(TRAIN)):
        real, fake = TRAIN[batch], generator(torch.randn(trial.batch_size, NOISE))
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        d_loss = bce(discriminator(real), ones) + bce(discriminator(fake.detach()), zeros)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        g_loss = bce(discriminator(fake), ones)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        if trial.evaluates(step):
            with torch.no_grad():
                distance = energy_distance(generator(FIXED_NOISE), HELD_OUT)
            yield trial.measured(step, distance)


gan = Loop(
    name="ring/gan/adam",
    train=train,
    goal=Goal("energy distance", 0.02, better="lower"),
    search_space={"g_rate": Log(1e-4, 1e-2), "d_rate": Log(1e-4, 1e-2)},
    step_budget=3_000,
    batch_sizes=(8, 32, 128, 512),
)
