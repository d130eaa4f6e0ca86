"""At which steps a trial is evaluated, and at which of them in full."""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

from batchfront.errors import WorkloadError
from batchfront.workload.given import take_numbers, whole


@dataclass(frozen=True)
class EvaluationGrid:
    """The steps at which a trial is evaluated: geometric, so that every batch size is evaluated
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
        object.__setattr__(self, "first", whole("EvaluationGrid: first", self.first))
        take_numbers(self, "spacing", "look")
        if self.first < 1 or self.spacing <= 0 or self.look <= 1:
            raise WorkloadError(f"{self}: first must be >= 1, spacing > 0 and look > 1")

    def steps(self, limit: int) -> tuple[int, ...]:
        """The evaluated steps from the first to `limit`, in order."""
        return _grid_steps(self.first, self.spacing, limit)

    def is_full(self, step: int, previous: int) -> bool:
        """Whether evaluated step `step`, coming after `previous`, is the first at or past a rung
        of the full evaluations, `look ** k` for a whole k."""
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
class GridSteps:
    """The evaluated steps of a grid up to a step budget."""

    grid: EvaluationGrid
    budget: int
    steps: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", self.grid.steps(self.budget))

    def __contains__(self, step: int) -> bool:
        return self.after(step - 1) == step

    def after(self, step: int) -> int | None:
        """The evaluated step that comes after `step`; None if the budget ends before."""
        index = bisect_right(self.steps, step)
        return self.steps[index] if index < len(self.steps) else None

    def before(self, step: int) -> int:
        """The evaluated step that comes before `step`; 0 if none does."""
        index = bisect_left(self.steps, step)
        return self.steps[index - 1] if index else 0

    def is_full(self, step: int) -> bool:
        """Whether an evaluated step is one of the full evaluations."""
        return self.grid.is_full(step, self.before(step))

    def spent(self, step: int) -> str:
        """Say that the step budget ends at `step`."""
        return f"step budget of {step} spent"


@dataclass(frozen=True)
class EveryStep:
    """All steps up to a step budget, for a trial whose program alone says when it is evaluated."""

    budget: int

    def __contains__(self, step: int) -> bool:
        return 0 < step <= self.budget
