"""A character-level GPT as karpathy/nanoGPT trains its own: random crops of one long text, weight
decay for matrices alone, gradients clipped, a warm-up and half a cosine."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from batchfront import (
    TOKEN_CROSS_ENTROPY,
    Goal,
    Log,
    ReverseLog,
    Splits,
    Stream,
    TorchOptimizer,
    TorchSchedule,
    Workload,
    token_cross_entropy,
)

LENGTH, UNITS, HEADS = 32, 32, 2
CHARACTERS = 128  # those of ASCII


class Block(nn.Module):
    """Causal attention, then a layer for each character alone. [n, length, units] -> the same"""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(UNITS), nn.LayerNorm(UNITS)
        self.attend, self.project = nn.Linear(UNITS, 3 * UNITS), nn.Linear(UNITS, UNITS)
        self.mlp = nn.Sequential(
            nn.Linear(UNITS, 4 * UNITS), nn.GELU(), nn.Linear(4 * UNITS, UNITS), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        parts = self.attend(self.norm1(x)).view(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.project(found.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """The scores of each next character. [n, length] (int64) -> [n, length, characters]"""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, UNITS)
        self.places = nn.Embedding(LENGTH, UNITS)
        self.blocks = nn.Sequential(Block(), Block(), nn.LayerNorm(UNITS))
        for weights in (self.characters.weight, self.places.weight):
            nn.init.normal_(weights, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        places = torch.arange(text.shape[1], device=text.device)
        x = self.blocks(self.characters(text) + self.places(places))
        return x @ self.characters.weight.T


def rate(step: int, warmup_steps: int, decay_steps: int) -> float:
    """nanoGPT's: up in a line, then down half a cosine to a tenth."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min((step - warmup_steps) / (decay_steps - warmup_steps), 1.0)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def characters(file: Path) -> Tensor:
    """A text, as a number for each of its characters. [characters] (int64)"""
    return torch.tensor(list(file.read_text().encode("ascii", "ignore")))


# What takes the place of the loop:


def data(data_dir: Path) -> Splits:
    text = characters(data_dir / "input.txt")
    cut = len(text) * 9 // 10
    return Splits(Stream(text[:cut], LENGTH), Stream(text[cut:], LENGTH))


def adamw(named_parameters, *, learning_rate, beta2=0.99, weight_decay=0.1):
    matrices = [p for _, p in named_parameters if p.dim() >= 2]
    vectors = [p for _, p in named_parameters if p.dim() < 2]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, learning_rate, (0.9, beta2), weight_decay=weight_decay)


def schedule(optimizer, *, warmup_steps, step_budget):
    return LambdaLR(optimizer, lambda step: rate(step, warmup_steps, step_budget))


nanogpt = Workload(
    name="text/gpt/adamw",
    data=data,
    model=GPT,
    loss=token_cross_entropy,
    algorithm=TorchOptimizer("adamw", adamw),
    clip_norm=1.0,
    schedule=TorchSchedule(schedule),
    goal=Goal(TOKEN_CROSS_ENTROPY, 2.4),
    search_space={
        "learning_rate": Log(3e-4, 3e-2),
        "beta2": ReverseLog(0.9, 0.999),
        "warmup_steps": 20,
    },
    step_budget=2_000,
    batch_sizes=(4, 16, 64),
)
