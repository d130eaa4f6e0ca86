"""A workload: data, a model, a loss, an algorithm and a goal, which batchfront trains.

    batchfront run ./workload.py

It prints the fewest steps to the goal at each batch size, and how far a larger batch helps.
"""

import torch
from torch import nn

from batchfront import (
    ERROR_RATE,
    Goal,
    Log,
    Momentum,
    ReverseLog,
    Split,
    Splits,
    Workload,
    cross_entropy,
    powers_of_two,
)


def data() -> Splits:
    """Your data: the same, whenever it is called."""
    inputs = torch.randn(2_000, 8, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, :4].sum(dim=1) > inputs[:, 4:].square().sum(dim=1) - 4).long()
    return Splits(
        train=Split(inputs[:1_500], targets[:1_500]),
        validation=Split(inputs[1_500:], targets[1_500:]),
    )


def model() -> nn.Module:
    """Your model, freshly initialized. A keyword-only parameter would be a metaparameter."""
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))


def workload() -> Workload:
    """What `batchfront run` looks for in this file."""
    return Workload(
        name="shell/mlp/momentum",  # dataset/model/optimizer
        data=data,
        model=model,
        loss=cross_entropy,  # or a function (outputs, targets) -> the mean over a batch
        algorithm=Momentum(),  # or TorchOptimizer(name, factory) for any of torch.optim
        goal=Goal(ERROR_RATE, 0.08),  # on validation data: the error has to fall below it
        search_space={  # each is drawn afresh for every trial
            "learning_rate": Log(1e-3, 1.0),
            "momentum": ReverseLog(0.0, 0.99),  # 1 - momentum is log-uniform
        },
        # The steps after which a trial is given up.
        step_budget=lambda batch_size: max(2_000, 100_000 // batch_size),
        batch_sizes=powers_of_two(8, 512),
    )
