"""What the losses of spot devices add to a run."""

from math import log, log1p

import numpy as np
from scipy.special import ndtri

from batchfront.advice.intervals import REACH_90, Interval
from batchfront.errors import UsageError

CHECKPOINT_SECONDS = 600.0
"""Between two checkpoints, as is assumed."""

REPLACEMENT_SECONDS = 300.0
"""From the loss of a device until training goes on, as is assumed."""

_DRAWS = 20_000

_TOO_OFTEN = 10.0
"""Losses in the time between two checkpoints from which on a run hardly reaches the next one."""


def with_losses(hours: Interval, devices: int, chance: float) -> Interval:
    """The hours of a run whose devices are each taken away with this probability an hour.

    Losses come at any time alike, one stops all devices, and what was computed since the last
    checkpoint is computed again. So the losses before a checkpoint is reached are geometric, with
    the mean of Daly 2006 (for checkpoints that take no time). The interval is that of many runs
    drawn, always the same: most short ones lose no device, and take as long as without.

    Raises UsageError where devices are lost so often that a run makes no way.
    """
    rate = -devices * log1p(-chance)  # an hour
    if rate == 0:
        return hours
    if rate * min(CHECKPOINT_SECONDS / 3600, hours.median) > _TOO_OFTEN:
        raise UsageError(
            f"one of {devices} spot devices is lost every {3600 / rate:.0f} seconds, so that a run "
            f"would hardly come to its next checkpoint, {CHECKPOINT_SECONDS / 60:g} minutes on"
        )
    rng = np.random.default_rng(0)
    # Evenly, so that runs without losses take what they took.
    away = ndtri((np.arange(_DRAWS) + 0.5) / _DRAWS)
    ends = np.where(away < 0, log(hours.median / hours.low), log(hours.high / hours.median))
    training = hours.median * np.exp(away * ends / REACH_90)
    every = np.minimum(CHECKPOINT_SECONDS / 3600, training)
    lost = rng.negative_binomial(training / every, np.exp(-rate * every))
    # Of a loss before the next checkpoint: when it comes, on average, and how that scatters.
    repeated = 1 / rate - every / np.expm1(rate * every)
    again = lost * repeated + np.sqrt(lost / 12) * every * rng.standard_normal(_DRAWS)
    took = training + np.maximum(again, 0) + lost * REPLACEMENT_SECONDS / 3600
    low, median, high = np.quantile(took, (0.05, 0.5, 0.95))
    return Interval(max(float(median), hours.median), float(low), float(high))
