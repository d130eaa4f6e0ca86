"""Averages of the weights along training, which are evaluated in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WeightAverage:
    """The exponential moving average of a trial's weights: a <- d a + (1 - d) w after each step
    (Polyak and Juditsky 1992; with a fixed decay as in Tarvainen and Valpola 2017).

    decay -- d, where the metaparameter `average_decay` isn't searched
    """

    decay: float = 0.999

    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default."""
        return {"average_decay": self.decay}

    def describe(self) -> dict[str, Any]:
        """The average as plain data, for a study's identity."""
        return {"decay": self.decay}
