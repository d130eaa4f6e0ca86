"""What the evaluations of a run add to its training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np

from batchfront.advice.defined import evaluation_grid
from batchfront.advice.part_times import Seconds, mean_seconds, own_error
from batchfront.advice.timings import Timing
from batchfront.frontier.frontier import Frontier, Point
from batchfront.vocabulary import TimedPart
from batchfront.workload.evaluation_grid import EvaluationGrid

_COUNTED = 1_000_000  # steps up to which evaluations are counted one by one

_PARTIAL = 0.25
"""The standard deviation of the logarithm of what evaluations take that stop as soon as the goal is
out of reach, by the examples that trials have evaluated."""


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a workload's runs, as its studies have them.

    grid      -- at which steps they are
    full      -- a full one, of the validation split
    examples  -- of the validation split
    evaluated -- batch size and examples of one evaluation, on average along the winner's run, by
                 batch size
    """

    grid: EvaluationGrid
    full: Seconds
    examples: int
    evaluated: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, frontier: Frontier, timings: Iterable[Timing]) -> "Evaluations | None":
        """Those of a frontier's studies; None where no evaluation was timed, or nobody knows how
        many there are."""
        timed = next((one for one in timings if one.part is TimedPart.EVALUATION), None)
        found = evaluation_grid(frontier.points[0].study)
        if timed is None or found is None or not timed.examples:
            return None
        return cls(
            found,
            Seconds(mean_seconds(timed), own_error(timed)),
            timed.examples,
            tuple(_evaluated(frontier.reached, found)),
        )

    def count(self, steps: float) -> int:
        """How many a run of so many steps makes, the last at its goal included."""
        return _count(self.grid, steps)

    def seconds(self, batch_size: int, steps: float) -> Seconds:
        """All evaluations of a run."""
        count, full = self.count(steps), self.full
        if not self.evaluated:
            return Seconds(count * full.value, full.error)
        sizes, examples = zip(*self.evaluated, strict=True)
        each = float(np.interp(log(batch_size), [log(size) for size in sizes], examples))
        share = min(each / self.examples, 1.0)  # a full one goes through chunks as small as theirs
        return Seconds(count * full.value * share, full.error + _PARTIAL * (1 - share))


def _evaluated(points: Sequence[Point], grid: EvaluationGrid) -> Iterable[tuple[int, float]]:
    for point in points:
        best = point.best
        if best is not None and best.evaluated_examples and best.steps_to_target:
            each = best.evaluated_examples / _count(grid, best.steps_to_target)
            yield point.batch_size, each


def _count(grid: EvaluationGrid, steps: float) -> int:
    """The evaluations up to a step, at which there is one; of very many, about as many as the
    spacing comes to."""
    if steps > _COUNTED:
        each = min(steps, 1 / grid.spacing)  # up to there every step
        return ceil(each + max(log(steps * grid.spacing), 0) / log1p(grid.spacing))
    return len(grid.steps(max(round(steps), grid.first)))
