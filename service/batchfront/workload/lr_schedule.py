"""Learning-rate schedules: what the learning rate is multiplied by at each step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from batchfront.workload.algorithm import REQUIRED
from batchfront.workload.search_space import Metaparameters


@dataclass(frozen=True)
class TrainingSize:
    """What a trial's schedule may depend on beside metaparameters.

    examples    -- of the training split
    step_budget -- the steps that a trial may take at this batch size
    """

    batch_size: int
    examples: int
    step_budget: int

    @property
    def steps_per_epoch(self) -> int:
        """The batches of a `torch.utils.data.DataLoader` that, as by default, doesn't drop the last
        one: examples / batch_size, rounded up.

        batchfront's own batches are all full, and go on into the next epoch where one ends between.
        """
        return -(-self.examples // self.batch_size)


class Schedule(ABC):
    """A factor of the learning rate for every step; step 0 makes the first update."""

    def at(self, training: TrainingSize) -> Schedule:
        """The schedule of a trial of this size, for those that know of batch sizes and epochs.

        Called once a trial; what it returns is the trial's alone.
        """
        return self

    @abstractmethod
    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default, or to REQUIRED."""

    @abstractmethod
    def factor(self, step: int, values: Metaparameters) -> float:
        """What the learning rate is multiplied by for the update after `step` updates."""

    def learning_rate_at(self, step: int, values: Metaparameters) -> float:
        """The learning rate of the update after `step` updates."""
        return float(values["learning_rate"]) * self.factor(step, values)

    def describe(self) -> dict[str, Any]:
        """The schedule as plain data, for a study's identity."""
        return {"name": type(self).__name__}


@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as drawn, at every step."""

    def metaparameters(self) -> dict[str, Any]:
        return {}

    def factor(self, step: int, values: Metaparameters) -> float:
        return 1.0


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """From 1 down to `decay_factor` over `decay_steps` steps, then constant.

    Shallue et al. 2018, section 4.1: both are metaparameters, the factor log-uniform and the
    steps uniform from half to all of the step budget.
    """

    def metaparameters(self) -> dict[str, Any]:
        return {"decay_steps": REQUIRED, "decay_factor": REQUIRED}

    def factor(self, step: int, values: Metaparameters) -> float:
        steps, end = float(values["decay_steps"]), float(values["decay_factor"])
        return 1 - (1 - end) * min(step / steps, 1.0)


@dataclass(frozen=True)
class WarmupCosine(Schedule):
    """Linear warm-up over `warmup_steps`, then half a cosine down to 0 at `total_steps`.

    Loshchilov and Hutter 2017 without restarts, after Goyal et al. 2017's gradual warm-up.
    """

    def metaparameters(self) -> dict[str, Any]:
        return {"warmup_steps": REQUIRED, "total_steps": REQUIRED}

    def factor(self, step: int, values: Metaparameters) -> float:
        warmup, total = float(values["warmup_steps"]), float(values["total_steps"])
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(total - warmup, 1.0)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
