"""DCGAN's workload is the loop of pytorch/examples, with a goal."""

import torch
import torch.nn.functional as F
from torch.optim import Adam

from batchfront import EvaluationGrid
from tests.docs.by_hand.draws import Ended, batches, example, raced, seed_weights

dcgan = example("dcgan_workload")

BATCH_SIZE, RATE, GOAL, BUDGET = 32, 2e-3, 2.5, 200

SEEDS = (0, 1)


def by_hand(seed: int) -> Ended:
    images = dcgan.images()
    train, held_out = images[:1_400], images[1_400:]
    noise_of_goal = torch.randn(
        len(held_out), dcgan.NOISE, 1, 1, generator=torch.Generator().manual_seed(0)
    )
    seed_weights(seed)
    model = dcgan.GAN()
    generator, discriminator = model.generator, model.discriminator
    optimizer_g = Adam(generator.parameters(), lr=RATE, betas=(0.5, 0.999))
    optimizer_d = Adam(discriminator.parameters(), lr=RATE, betas=(0.5, 0.999))
    bce = F.binary_cross_entropy_with_logits
    for step, batch in batches(seed, len(train), BATCH_SIZE):
        model.train()
        real = train[batch]
        fake = generator(torch.randn(BATCH_SIZE, dcgan.NOISE, 1, 1))
        discriminator.zero_grad()
        bce(discriminator(real), torch.ones(BATCH_SIZE, 1)).backward()
        bce(discriminator(fake.detach()), torch.zeros(BATCH_SIZE, 1)).backward()
        optimizer_d.step()
        generator.zero_grad()
        bce(discriminator(fake), torch.ones(BATCH_SIZE, 1)).backward()
        optimizer_g.step()
        if step + 1 in EvaluationGrid().steps(BUDGET):
            model.eval()
            with torch.no_grad():
                distance = dcgan.energy_distance(generator(noise_of_goal), held_out)
            if distance < GOAL:
                return Ended.at(step + 1, model)
        if step + 1 == BUDGET:
            return Ended.at(None, model)
    raise AssertionError("batches have no end")


def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights() -> None:
    workload = dcgan.dcgan.with_goal(GOAL)
    values = {"learning_rate": RATE, "beta1": 0.5}
    trials = raced(workload, workload.data(), BATCH_SIZE, values, SEEDS)
    loops = [by_hand(seed) for seed in SEEDS]
    assert None not in [loop.steps for loop in loops]
    assert [trial.steps for trial in trials] == [loop.steps for loop in loops]
    assert [trial.differing(loop) for trial, loop in zip(trials, loops, strict=True)] == [[], []]
