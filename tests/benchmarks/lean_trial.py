"""A trial as one would write it by hand: the leanest loop, and a look at every held-out example."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from tests.benchmarks.lean_loops import leanest
from tests.benchmarks.protocols import Setting

SPACING = 0.01
"""Between two looks, relative to the step: that of our grid."""


@dataclass
class Spent:
    """What trials have cost: training steps, and examples looked at."""

    steps: int = 0
    evaluated: int = 0


def looks(
    setting: Setting,
    rate: float,
    momentum: float,
    number: int,
    budget: int,
    spent: Spent,
    spacing: float = SPACING,
) -> Iterator[tuple[int, float]]:
    """Train a fresh model of a study; the step and the validation error at every look.

    Ends at the budget, or once the outputs are no longer finite. What it costs is added to `spent`
    as it goes; whoever has seen enough stops asking.
    """
    torch.manual_seed(setting.study_seed % 2**32 + number)
    model = setting.workload.model()
    train = setting.splits.train
    loop = leanest(rate, momentum)(model, train.inputs, train.targets, setting.batch_size)
    step, look = 0, 1
    while look <= budget:
        loop(look - step)
        spent.steps += look - step
        step, look = look, max(look + 1, math.floor(look * (1 + spacing)))
        error = _error(model, setting, spent)
        if not math.isfinite(error):
            return
        yield step, error


@torch.inference_mode()
def _error(model: nn.Module, setting: Setting, spent: Spent) -> float:
    """The share of held-out examples classified wrong; NaN where outputs are not finite."""
    held_out = setting.splits.validation
    spent.evaluated += len(held_out)
    outputs = model(held_out.inputs)
    if not outputs.isfinite().all():
        return math.nan
    return float((outputs.argmax(dim=1) != held_out.targets).float().mean())
