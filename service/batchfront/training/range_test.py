"""A learning-rate range test (Smith 2017, Cyclical Learning Rates, section 3.3): a short run whose
learning rate grows at every step, until it diverges."""

import math
from dataclasses import dataclass
from threading import Event
from typing import Any

from batchfront.training.model_run import ModelRun
from batchfront.workload.lr_schedule import Schedule
from batchfront.workload.search_space import Log, Metaparameters

STEPS = 100
"""Of a range test, at most."""

_KEPT = 0.9  # of the mean loss so far, at each step

_WORSE = 2.0  # times the lowest mean loss: it has diverged


@dataclass(frozen=True)
class RangeTest:
    """What a growing learning rate has shown.

    steps    -- trained, of STEPS at most
    fastest  -- the learning rate at which the mean loss fell fastest; None if it never fell
    lowest   -- at which it was lowest
    diverged -- at which it had come to twice that, or wasn't a number; None if neither
    """

    steps: int
    fastest: float | None
    lowest: float
    diverged: float | None


class _Growing(Schedule):
    """The learning rate of a range test, whatever a trial's own would be."""

    def __init__(self, rates: Log) -> None:
        self._rates = rates

    def metaparameters(self) -> dict[str, Any]:
        return {}

    def factor(self, step: int, values: Metaparameters) -> float:
        return self.learning_rate_at(step, values) / float(values["learning_rate"])

    def learning_rate_at(self, step: int, values: Metaparameters) -> float:
        return self._rates.at(step / (STEPS - 1))


def range_test(run: ModelRun, rates: Log, stop: Event) -> RangeTest | None:
    """Train a fresh run, which isn't a trial's any more then, by rates from the least to the
    largest. Returns None if `stop` was set before its end, or it had no loss to tell."""
    run.schedule = growing = _Growing(rates)
    means: list[float] = []
    mean, diverged = 0.0, None
    for step in range(STEPS):
        before = run.loss_sum.item()
        if not run.advance(step + 1, stop):
            return None
        loss = run.loss_sum.item() - before
        mean = _KEPT * mean + (1 - _KEPT) * loss
        means.append(mean / (1 - _KEPT ** (step + 1)))  # without what it began with, of 0
        if not math.isfinite(loss) or (step >= 10 and means[-1] > _WORSE * min(means)):
            diverged = growing.learning_rate_at(step, run.values)
            break
    finite = [one for one in means if math.isfinite(one)]
    if not finite:
        return None
    lowest = finite.index(min(finite))
    falls = [finite[k] - finite[k + 1] for k in range(lowest)]
    fastest = falls.index(max(falls)) if falls else None
    at = growing.learning_rate_at
    return RangeTest(
        len(means),
        None if fastest is None else at(fastest, run.values),
        at(lowest, run.values),
        diverged,
    )
