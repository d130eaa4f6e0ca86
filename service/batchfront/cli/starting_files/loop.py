"""A loop: a function that trains as it likes, and yields where it evaluates.

    batchfront run ./loop.py

It prints the fewest steps to the goal at each batch size, and how far a larger batch helps.
"""

from collections.abc import Iterator

import torch
from torch import nn

from batchfront import Goal, Log, Loop, Measured, ReverseLog, Trial

INPUTS = torch.randn(2_000, 8, generator=torch.Generator().manual_seed(0))
TARGETS = (INPUTS[:, :4].sum(dim=1) > INPUTS[:, 4:].square().sum(dim=1) - 4).long()
TRAIN, VALIDATION = slice(0, 1_500), slice(1_500, 2_000)


def train(trial: Trial) -> Iterator[Measured]:
    """Your training loop. Random numbers are seeded for each trial before it begins."""
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=trial["learning_rate"], momentum=trial["momentum"]
    )
    trial.keep(model, optimizer)  # an interrupted trial goes on from these
    inputs, targets = INPUTS[TRAIN], TARGETS[TRAIN]
    for step, batch in trial.batches(len(inputs)):  # indices, trial.batch_size of them
        loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if trial.evaluates(step):
            with torch.no_grad():
                wrong = model(INPUTS[VALIDATION]).argmax(dim=1) != TARGETS[VALIDATION]
            # Here it may be paused while other trials catch up, or end.
            yield trial.measured(step, wrong.float().mean().item(), loss=loss.item())


def loop() -> Loop:
    """What `batchfront run` looks for in this file."""
    return Loop(
        name="shell/mlp/momentum",  # dataset/model/optimizer
        train=train,
        goal=Goal("error rate", 0.08, better="lower"),  # of what is yielded
        search_space={  # each is drawn afresh for every trial
            "learning_rate": Log(1e-3, 1.0),
            "momentum": ReverseLog(0.0, 0.99),  # 1 - momentum is log-uniform
        },
        # The steps after which a trial is given up.
        step_budget=lambda batch_size: max(2_000, 100_000 // batch_size),
        batch_sizes=(8, 16, 32, 64, 128, 256, 512),
    )
