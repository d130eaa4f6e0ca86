"""batchfront.workload.evaluation_grid"""

import math
from dataclasses import dataclass

from batchfront.errors import WorkloadError
from batchfront.workload.stopping_rules import _grid_steps


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
