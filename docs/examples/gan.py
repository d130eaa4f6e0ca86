"""A loop with two optimizers: a GAN (Goodfellow et al. 2014) that learns points on a ring.

    batchfront run docs/examples/gan.py:gan

What it is judged by is the energy distance (Székely and Rizzo 2013) of 1,000 of its points from as
many that it has not seen.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from batchfront import Goal, Log, Loop, Measured, ReverseLog, Trial


def ring(points: int, seed: int) -> Tensor:
    """Points about the unit circle, of shape [points, 2]."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(points, generator=generator)
    noise = 0.05 * torch.randn(points, 2, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + noise


DATA, HELD_OUT = ring(4_000, seed=0), ring(1_000, seed=1)


def network(inputs: int, outputs: int) -> nn.Module:
    """inputs-64-64-outputs units."""
    layers = [nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(64, outputs))


def energy_distance(one: Tensor, other: Tensor) -> float:
    """Of two samples, of shape [n, 2] and [m, 2]; 0 where they are of one distribution."""
    between = torch.cdist(one, other).mean()
    return float(2 * between - torch.cdist(one, one).mean() - torch.cdist(other, other).mean())


def train(trial: Trial) -> Iterator[Measured]:
    """Both networks learn once a step, from one batch of points and one of noise."""
    generator, critic = network(4, 2), network(2, 1)
    rate, betas = trial["learning_rate"], (trial["beta1"], 0.999)
    learns = torch.optim.Adam(generator.parameters(), lr=rate, betas=betas)
    judges = torch.optim.Adam(critic.parameters(), lr=rate * trial["critic_pace"], betas=betas)
    trial.keep(generator, critic, learns, judges)
    for step, batch in trial.batches(len(DATA)):
        made = generator(torch.randn(len(batch), 4))
        loss = softplus(critic(made.detach())).mean() + softplus(-critic(DATA[batch])).mean()
        judges.zero_grad()
        loss.backward()
        judges.step()
        learns.zero_grad()
        softplus(-critic(made)).mean().backward()
        learns.step()
        if trial.evaluates(step):
            with torch.no_grad():
                points = generator(torch.randn(len(HELD_OUT), 4))
            yield trial.measured(step, energy_distance(points, HELD_OUT))


def gan() -> Loop:
    """A small GAN."""
    return Loop(
        name="ring/gan/adam",
        description="Two small networks on points of a ring",
        train=train,
        goal=Goal("energy distance", 0.01, better="lower"),
        search_space={
            "learning_rate": Log(1e-4, 3e-2),
            "beta1": ReverseLog(0.0, 0.95),
            "critic_pace": Log(0.5, 4.0),
        },
        step_budget=lambda batch_size: max(1_000, 100_000 // batch_size),
        batch_sizes=(8, 32, 128, 512),
        train_examples=len(DATA),
    )
