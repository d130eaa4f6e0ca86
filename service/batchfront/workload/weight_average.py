"""Averages of the weights along training, which are evaluated in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.workload.search_space import Metaparameters


@dataclass(frozen=True)
class WeightAverage:
    """The exponential moving average of a trial's weights: a <- d a + (1 - d) w after each step
    (Polyak and Juditsky 1992; with a fixed decay as in Tarvainen and Valpola 2017).

    After the first step it is the weights themselves, as with torch's
    `AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))`, whose numbers it has. Buffers,
    such as the running means of batch normalization, are not averaged: they are the model's own,
    as there.

    decay  -- d, where the metaparameter `average_decay` isn't searched
    warmup -- after t + 1 steps d is at most (1 + t) / (10 + t), so that what the average was to
              begin with is soon forgotten: as TensorFlow's ExponentialMovingAverage has it with
              `num_updates`, and the EMAModel of diffusers
    """

    decay: float = 0.999
    warmup: bool = False

    def __post_init__(self) -> None:
        _checked(self.decay, "WeightAverage: decay")

    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default."""
        return {"average_decay": self.decay}

    def share(self, step: int, values: Metaparameters) -> float:
        """What the weights count, 1 - d, in the average after the update after `step` updates.

        Raises WorkloadError if the decay is none.
        """
        decay = _checked(values.get("average_decay", self.decay), "average_decay")
        if not step:
            return 1.0
        return 1 - (min(decay, (1 + step) / (10 + step)) if self.warmup else decay)

    def describe(self) -> dict[str, Any]:
        """The average as plain data, for a study's identity."""
        return {"decay": self.decay, **({"warmup": True} if self.warmup else {})}


def _checked(decay: object, name: str) -> float:
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
        raise WorkloadError(
            f"{name} must be a number from 0 up to, and without, 1: what of the average is kept "
            f"at a step; found {decay!r}"
        )
    return float(decay)
