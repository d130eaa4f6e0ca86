"""The VAE's workload is the loop of pytorch/examples, with a goal."""

import torch
from torch.optim import Adam

from batchfront import EvaluationGrid
from tests.docs.by_hand.draws import Ended, assert_same, batches, example, raced, seed_weights

vae = example("vae_workload")

BATCH_SIZE, RATE, GOAL, BUDGET = 32, 5e-3, 25.0, 500

SEEDS = (0, 1, 2)


def by_hand(seed: int) -> Ended:
    train, held_out = vae.images().split([1_400, 397])
    seed_weights(seed)
    model = vae.VAE()
    optimizer = Adam(model.parameters(), lr=RATE)
    for step, batch in batches(seed, len(train), BATCH_SIZE, BUDGET):
        model.train()
        optimizer.zero_grad()
        loss = vae.negative_elbo(model(train[batch]), train[batch]).mean()
        loss.backward()
        optimizer.step()
        if step + 1 in EvaluationGrid().steps(BUDGET):
            model.eval()
            with torch.no_grad():
                found = vae.negative_elbo(model(held_out), held_out).mean()
            if found < GOAL:
                return Ended.at(step + 1, model)
    return Ended.at(None, model)


def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights() -> None:
    workload = vae.vae.with_goal(GOAL)
    trials = raced(workload, workload.data(), BATCH_SIZE, {"learning_rate": RATE}, SEEDS)
    assert_same(trials, [by_hand(seed) for seed in SEEDS])
