"""At which steps a trial is looked at, and when it is given up."""

import math
from dataclasses import dataclass
from functools import lru_cache

from service.errors import WorkloadError


@dataclass(frozen=True)
class EvaluationGrid:
    """The steps at which a trial is evaluated: geometric, so that every batch size is looked at
    with the same relative spacing.

    first   -- the first evaluated step
    spacing -- each evaluated step is this share beyond the one before, or one step beyond
    look    -- at steps this factor apart the metric is computed in full, for curves and for the
               stopping rules; between them only as far as the goal needs
    """

    first: int = 1
    spacing: float = 0.01
    look: float = 2**0.5

    def __post_init__(self) -> None:
        if self.first < 1 or self.spacing <= 0 or self.look <= 1:
            raise WorkloadError(f"{self}: first must be >= 1, spacing > 0 and look > 1")

    def steps(self, limit: int) -> tuple[int, ...]:
        """The evaluated steps from the first to `limit`, in order."""
        return _grid_steps(self.first, self.spacing, limit)

    def is_look(self, step: int, previous: int) -> bool:
        """Whether evaluated step `step`, coming after `previous`, is the first at or past a rung
        of the full looks, `look ** k` for a whole k."""
        if previous < 1:
            return True
        return self._rung(step) > self._rung(previous)

    def _rung(self, step: int) -> int:
        return math.floor(math.log(step) / math.log(self.look) + 1e-9)


@lru_cache(maxsize=256)
def _grid_steps(first: int, spacing: float, limit: int) -> tuple[int, ...]:
    steps = []
    step = first
    while step <= limit:
        steps.append(step)
        step = max(step + 1, math.floor(step * (1 + spacing)))
    return tuple(steps)


@dataclass(frozen=True)
class StoppingRules:
    """When a trial is given up as `diverged` or `stalled`. Conservative: checked against full
    curves to lose no winner (tests/benchmarks).

    diverged_at    -- training loss over this multiple of the untrained loss, or not finite
    patience       -- no rule but the one for non-finite values speaks before this many steps
    worse_by       -- stalled: the mean training loss of the last three quarters of the steps,
                      in both their earlier and later part, is above the untrained loss by
                      this share
    stale_after    -- stalled: neither a better full value of the goal metric nor a lower training
                      loss for all but the first 1/stale_after of the steps
    """

    diverged_at: float = 1e4
    patience: int = 100
    worse_by: float = 0.05
    stale_after: float = 8.0

    def __post_init__(self) -> None:
        if (
            self.diverged_at <= 1
            or self.patience < 1
            or self.worse_by <= 0
            or self.stale_after <= 1
        ):
            raise WorkloadError(
                f"{self}: diverged_at and stale_after must be > 1, patience >= 1, worse_by > 0"
            )
