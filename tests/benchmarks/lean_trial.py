"""A trial as one would write it by hand: the leanest loop, and a look at every held-out example."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from batchfront.workload.metrics import NO_TARGET
from batchfront.workload.search_space import Log, ReverseLog
from tests.benchmarks.lean_loops import leanest
from tests.benchmarks.protocols import Setting

SPACING = 0.01
"""Between two looks, relative to the step: that of our grid."""


@dataclass
class Spent:
    """What trials have cost: training steps, and examples looked at."""

    steps: int = 0
    evaluated: int = 0


def ranges(setting: Setting) -> dict[str, tuple[float, float]]:
    """Returns what is searched, both evenly in the logarithm, in the names of `looks`."""
    space = setting.workload.space(setting.batch_size)
    rates, momenta = space["learning_rate"], space["momentum"]
    assert isinstance(rates, Log)
    assert isinstance(momenta, ReverseLog)
    return {
        "learning_rate": (rates.low, rates.high),
        "one_minus_momentum": (round(1 - momenta.high, 9), round(1 - momenta.low, 9)),
    }


def steps_to_goal(
    setting: Setting, values: Mapping[str, float], number: int, budget: int, spent: Spent
) -> int | None:
    """Train as `looks` does, until a look is past the goal.

    Returns the step; None if there is none within the budget.
    """
    for step, metric in looks(setting, values, number, budget, spent):
        if setting.workload.goal.passed(metric):
            return step
    return None


def looks(
    setting: Setting,
    values: Mapping[str, float],
    number: int,
    budget: int,
    spent: Spent,
    spacing: float = SPACING,
) -> Iterator[tuple[int, float]]:
    """Train a fresh model of a study; the step and the validation metric at every look.

    Ends at the budget, or once the outputs are no longer finite. What it costs is added to `spent`
    as it goes; whoever has seen enough stops asking.
    """
    torch.manual_seed(setting.study_seed % 2**32 + number)
    model = setting.workload.model()
    train, held_out = setting.splits.train, setting.splits.validation
    of_tokens = train.targets.ndim == 2
    make = leanest(
        values["learning_rate"],
        1 - values["one_minus_momentum"],
        _token_loss if of_tokens else F.cross_entropy,
    )
    loop = make(model, train.inputs, train.targets, setting.batch_size)
    metric_of = _token_loss if of_tokens else _error
    step, look = 0, 1
    while look <= budget:
        loop(look - step)
        spent.steps += look - step
        step, look = look, max(look + 1, math.floor(look * (1 + spacing)))
        spent.evaluated += len(held_out)
        with torch.inference_mode():
            outputs = model(held_out.inputs)
            if not outputs.isfinite().all():
                return
            yield step, float(metric_of(outputs, held_out.targets))


def _error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of examples classified wrong."""
    return (outputs.argmax(dim=1) != targets).float().mean()


def _token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of a token."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)
