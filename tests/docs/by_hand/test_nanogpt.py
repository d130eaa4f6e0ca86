"""The GPT's workload is the loop of karpathy/nanoGPT, with a goal."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from batchfront import EvaluationGrid
from tests.docs.by_hand.draws import Ended, assert_same, crops, example, raced, seed_weights

nanogpt = example("nanogpt_workload")

BATCH_SIZE, RATE, GOAL, BUDGET, WARMUP, BETA2 = 16, 1e-2, 2.4, 150, 10, 0.99

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text in which some words follow others."""
    target = tmp_path_factory.mktemp("text")
    said = "the cat sat on a mat and then ate some of an old fish that he had found there"
    words = said.split(" ")
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(words), (3_000,), generator=draw).tolist()
    (target / "input.txt").write_text(" ".join(words[n] for n in chosen))
    return target


def loss_of(model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    scores = model(inputs)
    return F.cross_entropy(scores.view(-1, scores.shape[-1]), targets.reshape(-1))


def by_hand(folder: Path, seed: int) -> Ended:
    text, length = nanogpt.characters(folder / "input.txt"), nanogpt.LENGTH
    train, held_out = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    windows = (len(held_out) - 1) // length * length
    seed_weights(seed)
    model = nanogpt.GPT()
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, BETA2))
    for step, starts in crops(seed, len(train) - length, BATCH_SIZE, BUDGET):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = RATE * nanogpt.rate(step, warmup_steps=WARMUP, step_budget=BUDGET)
        inputs = torch.stack([train[i : i + length] for i in starts])
        targets = torch.stack([train[i + 1 : i + 1 + length] for i in starts])
        loss_of(model, inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step + 1 in EvaluationGrid().steps(BUDGET):
            model.eval()
            with torch.no_grad():
                inputs = held_out[:windows].view(-1, length)
                targets = held_out[1 : windows + 1].view(-1, length)
                found = loss_of(model, inputs, targets)
            if found < GOAL:
                return Ended.at(step + 1, model)
    return Ended.at(None, model)


def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights(folder: Path) -> None:
    workload = replace(nanogpt.nanogpt.with_goal(GOAL), step_budget=BUDGET)
    values = {"learning_rate": RATE, "beta2": BETA2, "warmup_steps": WARMUP}
    trials = raced(workload, workload.data(folder), BATCH_SIZE, values, SEEDS)
    assert_same(trials, [by_hand(folder, seed) for seed in SEEDS])
