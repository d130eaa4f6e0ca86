"""A variational autoencoder of scikit-learn's digits, as pytorch/examples trains its own on MNIST."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Adam

from batchfront import Goal, Log, Metric, Split, Splits, Workload


class VAE(nn.Module):
    """[n, 64] -> scores of the pixels [n, 64], mean and log variance of the code [n, 8]"""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mean, self.log_variance = nn.Linear(64, 64), nn.Linear(64, 8), nn.Linear(64, 8)
        self.decode = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.hidden(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean
        if self.training:
            code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decode(code), mean, log_variance


def negative_elbo(found: tuple[Tensor, Tensor, Tensor], images: Tensor) -> Tensor:
    """Of each image, in nats. [n]"""
    scores, mean, log_variance = found
    pixels = F.binary_cross_entropy_with_logits(scores, images, reduction="none").sum(1)
    return pixels - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


def images() -> Tensor:
    """[1797, 64], 0 to 1"""
    return torch.tensor(load_digits().data, dtype=torch.float32) / 16


# What takes the place of the loop:


def data() -> Splits:
    train, held_out = images().split([1_400, 397])
    return Splits(Split(train, train), Split(held_out, held_out))


def loss(model, batch):
    return negative_elbo(model(batch), batch).mean()


vae = Workload(
    name="digits/vae/adam",
    data=data,
    model=VAE,
    loss=loss,
    algorithm=Adam,
    goal=Goal(Metric("negative ELBO", negative_elbo, "lower", low=0.0), 29.0),
    search_space={"learning_rate": Log(1e-4, 1e-1)},
    step_budget=3_000,
    batch_sizes=(8, 32, 128, 512),
)
