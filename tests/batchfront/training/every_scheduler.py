"""Every scheduler of torch.optim.lr_scheduler: as a workload's schedule, and in a loop by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn, optim
from torch.optim import lr_scheduler as schedulers
from torch.optim.lr_scheduler import LRScheduler

from batchfront.training.model_run import ModelRun
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.data import Splits
from batchfront.workload.data_order import DataOrder
from batchfront.workload.losses import cross_entropy
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import SeedStream
from batchfront.workload.torch_schedule import Every, TorchSchedule
from batchfront.workload.workload import Workload
from tests.batchfront.training.every_optimizer import Named
from tests.batchfront.training.vectorized import trials

SEED, BATCH_SIZE, STEP_BUDGET = 100, 8, 60
STEPS_PER_EPOCH = 12  # of the 96 examples
LEARNING_RATE, LAST_RATE = 0.013, 0.0047  # which no power of two is a multiple of

CPU = torch.device("cpu")


def multi_step(optimizer: Any, *, gamma: float = 0.3) -> LRScheduler:
    return schedulers.MultiStepLR(optimizer, milestones=[2, 3, 11, 20], gamma=gamma)


def by_lambda(optimizer: Any, *, horizon: int) -> LRScheduler:
    return schedulers.LambdaLR(optimizer, lambda k: 1 / (1 + k / horizon))


def multiplied(optimizer: Any) -> LRScheduler:
    return schedulers.MultiplicativeLR(optimizer, lambda k: 0.9 if k % 2 else 1.05)


def warmed_up(optimizer: Any, *, warmup_steps: int, step_budget: int) -> LRScheduler:
    rise = schedulers.LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps)
    fall = schedulers.CosineAnnealingLR(optimizer, step_budget - warmup_steps, eta_min=1e-4)
    return schedulers.SequentialLR(optimizer, [rise, fall], milestones=[warmup_steps])


def chained(optimizer: Any) -> LRScheduler:
    return schedulers.ChainedScheduler(
        [
            schedulers.ConstantLR(optimizer, factor=0.1, total_iters=4),
            schedulers.ExponentialLR(optimizer, gamma=0.97),
        ],
        optimizer,
    )


def cyclic(optimizer: Any, *, learning_rate: float) -> LRScheduler:
    return schedulers.CyclicLR(
        optimizer, learning_rate / 7, learning_rate, step_size_up=5, cycle_momentum=False
    )


@dataclass(frozen=True)
class Case:
    """A scheduler class, a factory that has one, and the metaparameters it is tried with.

    by_hand -- the factory called as a loop by hand would, where it is a class
    filled  -- what is filled in, and no metaparameter
    """

    kind: type
    factory: Callable[..., LRScheduler]
    values: dict[str, Any] = field(default_factory=dict)
    filled: dict[str, Any] = field(default_factory=dict)

    def scheduler(self, optimizer: optim.Optimizer) -> LRScheduler:
        """As a loop by hand makes it."""
        own = {"learning_rate": LEARNING_RATE} if self.kind is schedulers.CyclicLR else {}
        return self.factory(optimizer, **self.values, **self.filled, **own)


BUDGET = {"step_budget": STEP_BUDGET}

CASES = (
    Case(schedulers.ChainedScheduler, chained),
    Case(schedulers.ConstantLR, schedulers.ConstantLR, {"factor": 0.3, "total_iters": 3}),
    Case(schedulers.CosineAnnealingLR, schedulers.CosineAnnealingLR, {"T_max": 17}),
    Case(
        schedulers.CosineAnnealingLR,
        partial(schedulers.CosineAnnealingLR, eta_min=1e-3),
        {"T_max": 4},
    ),
    Case(
        schedulers.CosineAnnealingWarmRestarts,
        schedulers.CosineAnnealingWarmRestarts,
        {"T_0": 2, "T_mult": 2},
    ),
    Case(schedulers.CyclicLR, cyclic),
    Case(schedulers.ExponentialLR, schedulers.ExponentialLR, {"gamma": 0.93}),
    Case(schedulers.LambdaLR, by_lambda, {"horizon": 3}),
    Case(schedulers.LinearLR, schedulers.LinearLR, {"start_factor": 0.1, "total_iters": 3}),
    Case(schedulers.MultiStepLR, multi_step),
    Case(schedulers.MultiStepLR, partial(schedulers.MultiStepLR, milestones=[1, 4]), {"gamma": 2}),
    Case(schedulers.MultiplicativeLR, multiplied),
    Case(
        schedulers.OneCycleLR,
        partial(schedulers.OneCycleLR, max_lr=0.02, cycle_momentum=False),
        {"epochs": 5},
        {"steps_per_epoch": STEPS_PER_EPOCH},
    ),
    Case(schedulers.PolynomialLR, schedulers.PolynomialLR, {"power": 0.9, "total_iters": 50}),
    Case(schedulers.SequentialLR, warmed_up, {"warmup_steps": 9}, BUDGET),
    Case(schedulers.StepLR, schedulers.StepLR, {"step_size": 3, "gamma": 0.7}),
)

REFUSED = (schedulers.ReduceLROnPlateau, LRScheduler)  # by what evaluations find, and no scheduler


def factory(named_parameters: Named, *, learning_rate: float, last_rate: float) -> optim.Optimizer:
    """Two groups with rates of their own, whose weights are remembered by momentum."""
    weights = [p for name, p in named_parameters if name.endswith("weight")]
    biases = [p for name, p in named_parameters if name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": last_rate}]
    return optim.SGD(groups, lr=learning_rate, momentum=0.9)


RATES = {"learning_rate": LEARNING_RATE, "last_rate": LAST_RATE}


def workload(case: Case, every: Every, **other: Any) -> Workload:
    """The case as a schedule, of an algorithm of two groups unless told otherwise."""
    algorithm = other.pop("algorithm", TorchOptimizer("two", factory))
    return trials.workload(
        trials.mlp,
        algorithm,
        schedule=TorchSchedule(case.factory, every),
        **other,
    )


def start(of: Workload, data: Splits, values: Metaparameters) -> ModelRun:
    """A trial of the seed that a loop by hand draws from."""
    return ModelRun(of, data, BATCH_SIZE, values, SEED, CPU)


def by_hand(
    data: Splits,
    make: Callable[[nn.Module], optim.Optimizer],
    scheduler_of: Callable[[optim.Optimizer], LRScheduler],
    every: Every,
    steps: int,
) -> nn.Module:
    """The model after so many steps of a loop as people write it, with a trial's draws."""
    torch.manual_seed(SeedStream.INITIAL_WEIGHTS.seed(SEED))
    net = trials.mlp()
    optimizer = make(net)
    scheduler = scheduler_of(optimizer)
    order = DataOrder(len(data.train), BATCH_SIZE, SeedStream.ORDER.seed(SEED), CPU)
    for step, indices in enumerate(order.batches(0, steps)):
        inputs, targets = data.train.batch(indices)
        optimizer.zero_grad()
        cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        if every == "step" or (step + 1) % STEPS_PER_EPOCH == 0:
            scheduler.step()
    return net
