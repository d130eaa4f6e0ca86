"""A run that somebody else computes, who reports what it has shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from threading import Event
from time import monotonic

from batchfront.errors import CheckpointError
from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.training.run import GoalCheck, State, Weights
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.stopping_rules import StoppingRules


class ReportedRun:
    """A run that is where its last report says: between two of them it stands still.

    It is its own `EvaluationSteps` too: every reported step is an evaluated one. At those at which
    its grid would evaluate it in full, or at all if it has none, a report is a full evaluation, and
    also where a value isn't finite, as a rule is to speak there.

    `training_seconds` of its cost are those between reports, whatever they were spent on.
    """

    untrained_loss: float | None = None  # unless it is reported
    micro_batch: int | None = None
    engine: str | None = "reported"
    replayable = False

    def __init__(self, goal: Goal, grid: EvaluationGrid | None, budget: int) -> None:
        self._goal, self._grid, self._budget = goal, grid, budget
        steps = grid.steps(budget) if grid is not None else ()
        self._last = steps[-1] if steps else budget
        self._next: Evaluation | None = None  # reported, and not advanced to yet
        self._error: Exception | None = None
        self._over = False
        self._losses: list[float] = []  # reported since the last full evaluation
        self._now, self._before = Evaluation(0, None, math.nan), 0
        self._since = monotonic()
        self.evaluations: list[Evaluation] = []
        self.goal_crossing: GoalCrossing | None = None
        self.cost = TrialCost()

    def report(self, evaluation: Evaluation) -> None:
        """Take what the run has shown at a later step, to which it can `advance` then. One beyond
        the step budget ends it where it is."""
        now = monotonic()
        self.cost.training_seconds += now - self._since
        self._since, self._next = now, evaluation

    def fail(self, error: Exception) -> None:
        """Take note of what has ended it, which the next `advance` raises."""
        self._error = error

    # -- a run

    @property
    def step(self) -> int:
        return self._now.step

    @property
    def evaluation_steps(self) -> "ReportedRun":
        return self

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        reported, self._next = self._next, None
        if self._error is not None:
            raise self._error
        self._over = reported is not None and reported.step > self._budget
        if reported is None or self._over:
            return False
        self._before, self._now = self._now.step, reported
        if reported.loss is not None:
            self._losses.append(reported.loss)
        return True

    def is_finite(self) -> bool:
        return all(map(math.isfinite, self._losses))

    def evaluate(self, *, full: bool) -> GoalCheck:
        if full:
            loss = fmean(self._losses) if self._losses else None
            self.evaluations.append(self._now._replace(loss=loss))
            self._losses = []
        _, _, metric, measures = self._now
        return GoalCheck(self._goal.passed(metric), metric, 0, measures)

    def test_metric(self) -> float | None:
        return None

    def weights(self) -> Weights | None:
        return None

    def state(self) -> State | None:
        return None

    def restore(self, state: State) -> None:
        raise CheckpointError("what somebody else computes can't be restored here")

    def close(self) -> None:
        pass  # it holds nothing

    # -- its evaluation steps

    def __contains__(self, step: int) -> bool:
        return step == self._now.step

    def after(self, step: int) -> int | None:
        return None if self._over or step >= self._last else step + 1

    def before(self, step: int) -> int:
        return self._before

    def is_full(self, step: int) -> bool:
        if self._grid is None or not math.isfinite(self._now.metric):
            return True
        return self._grid.is_full(step, self._before)

    def spent(self, step: int) -> str:
        return f"step budget of {self._budget if self._over else step} spent"


@dataclass
class ReportedRuns:
    """A `RunFactory` of one run, which its reporter has in hand."""

    goal: Goal
    stopping: StoppingRules
    versions: Mapping[str, str]
    made: ReportedRun
    room: int | None = None

    def run(
        self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0
    ) -> ReportedRun:
        return self.made
