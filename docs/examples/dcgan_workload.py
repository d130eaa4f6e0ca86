"""A DCGAN on scikit-learn's digits, as pytorch/examples trains its own: two models in turn, until
generated digits are as close to held-out ones as a goal says."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Adam

from batchfront import Goal, Log, Split, SplitMetric, Splits, TorchOptimizer, Workload

NOISE = 16


class GAN(nn.Module):
    """A generator and a discriminator. What it is called for is generated: noise [n, 16, 1, 1] ->
    images [n, 1, 8, 8]"""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(NOISE, 32, 2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 1, 2, bias=False),
            nn.Flatten(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.generator(noise)


def images() -> Tensor:
    """[1797, 1, 8, 8], -1 to 1"""
    return torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1


def energy_distance(a: Tensor, b: Tensor) -> float:
    """How far two samples are from being of one distribution (Székely and Rizzo 2013)."""
    a, b = a.flatten(1), b.flatten(1)
    distances = [torch.cdist(x, y).mean() for x, y in ((a, b), (a, a), (b, b))]
    return float(2 * distances[0] - distances[1] - distances[2])


# What takes the place of the loop:


def data() -> Splits:
    train, held_out = images()[:1_400], images()[1_400:]
    noise = torch.randn(len(held_out), NOISE, 1, 1, generator=torch.Generator().manual_seed(0))
    return Splits(Split(train, train), Split(noise, held_out))


def adams(model, *, learning_rate, beta1=0.5):
    betas = (beta1, 0.999)
    return {
        "generator": Adam(model.generator.parameters(), learning_rate, betas),
        "discriminator": Adam(model.discriminator.parameters(), learning_rate, betas),
    }


def update(model, batch, optimizers):
    judged = F.binary_cross_entropy_with_logits
    real, fake = batch, model.generator(torch.randn(len(batch), NOISE, 1, 1, device=batch.device))
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    optimizers["discriminator"].zero_grad()
    judged(model.discriminator(real), ones).backward()
    judged(model.discriminator(fake.detach()), zeros).backward()
    optimizers["discriminator"].step()
    optimizers["generator"].zero_grad()
    loss = judged(model.discriminator(fake), ones)
    loss.backward()
    optimizers["generator"].step()
    return loss


dcgan = Workload(
    name="digits/dcgan/adam",
    data=data,
    model=GAN,
    update=update,
    algorithm=TorchOptimizer("adam", adams),
    goal=Goal(SplitMetric("energy distance", energy_distance, "lower", low=-1e-3), 1.0),
    search_space={"learning_rate": Log(1e-4, 1e-2), "beta1": 0.5},
    step_budget=3_000,
    batch_sizes=(16, 64, 256),
)
