"""A Lightning module on scikit-learn's digits, trained by a Lightning Trainer."""

from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from batchfront import Goal, Log, ReverseLog
from batchfront.integrations import lightning


class Digits(LightningModule):
    def __init__(self, learning_rate: float, momentum: float) -> None:
        super().__init__()
        self.learning_rate, self.momentum = learning_rate, momentum
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        wrong = self.layers(batch[0]).argmax(dim=1) != batch[1]
        self.log("val_error", wrong.float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.learning_rate, self.momentum)


def make(
    *, learning_rate: float, momentum: float, batch_size: int, step_budget: int, directory: Path
) -> tuple[Trainer, LightningModule, DataLoader, DataLoader]:
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = TensorDataset(images, torch.tensor(digits.target))
    train, held_out = torch.utils.data.random_split(
        data, [1_400, 397], generator=torch.Generator().manual_seed(0)
    )
    trainer = Trainer(
        max_steps=step_budget,
        accelerator="cpu",
        default_root_dir=directory,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(train, batch_size, shuffle=True, drop_last=True)
    return trainer, Digits(learning_rate, momentum), loader, DataLoader(held_out, len(held_out))


lightning_digits = lightning.loop(
    make,
    name="digits/lightning_mlp/momentum",
    goal=Goal("val_error", 0.06, better="lower"),
    search_space={"learning_rate": Log(1e-3, 1.0), "momentum": ReverseLog(0.0, 0.99)},
    step_budget=2_000,
    batch_sizes=(8, 32, 128, 512),
)
