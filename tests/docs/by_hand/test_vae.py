"""The VAE's workload is the loop of pytorch/examples, with a goal."""

from functools import partial

import pytest
import torch
from torch.optim import Adam

from batchfront import EvaluationGrid
from batchfront.training.vectorized.engine import Vectorized
from tests.docs.by_hand.draws import Ended, batches, example, raced, seed_weights

vae = example("vae_workload")

BATCH_SIZE, RATE = 32, 5e-3


def by_hand(seed: int, goal: float, budget: int) -> Ended:
    images = vae.images()
    train, held_out = images[:1_400], images[1_400:]
    seed_weights(seed)
    model = vae.VAE()
    optimizer = Adam(model.parameters(), lr=RATE)
    for step, batch in batches(seed, len(train), BATCH_SIZE):
        model.train()
        optimizer.zero_grad()
        loss = vae.negative_elbo(model(train[batch]), train[batch]).mean()
        loss.backward()
        optimizer.step()
        if step + 1 in EvaluationGrid().steps(budget):
            model.eval()
            with torch.no_grad():
                held_out_loss = vae.negative_elbo(model(held_out), held_out).mean()
            if held_out_loss < goal:
                return Ended.at(step + 1, model)
        if step + 1 == budget:
            return Ended.at(None, model)
    raise AssertionError("batches have no end")


SEEDS = (0, 1, 2)
GOAL = 25.0


@pytest.fixture(scope="module")
def loops() -> list[Ended]:
    return [by_hand(seed, GOAL, 1_000) for seed in SEEDS]


def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights(loops: list[Ended]) -> None:
    workload = vae.vae.with_goal(GOAL)
    trials = raced(workload, workload.data(), BATCH_SIZE, {"learning_rate": RATE}, SEEDS)
    assert [trial.steps for trial in trials] == [loop.steps for loop in loops]
    assert [trial.differing(loop) for trial, loop in zip(trials, loops, strict=True)] == [[]] * 3
