"""batchfront.outcomes"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from optuna.trial import TrialState


@dataclass
class TrialCost:
    """What a trial has cost so far, over all the workers that advanced it."""

    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    evaluated_examples: int = 0


Outcome = Literal["reached", "capped", "dropped", "diverged", "stalled", "exhausted", "failed"]
"""How a trial ends."""


OUTCOMES: tuple[Outcome, ...] = (
    "reached",
    "capped",
    "dropped",
    "diverged",
    "stalled",
    "exhausted",
    "failed",
)


class Evaluation(NamedTuple):
    """What a full look at a trial showed.

    loss   -- mean training loss of the steps since the look before
    metric -- the goal metric over the whole validation split
    """

    step: int
    loss: float
    metric: float


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    steps           -- how far it was trained
    steps_to_target -- the first evaluated step past the goal; of outcome `reached` only
    steps_lower     -- the evaluated step before that one, where the goal stood open
    metric          -- the goal metric when last computed in full, at step `metric_step`; of outcome
                       `reached`, at the step that passed the goal
    test_metric     -- the same on the test split, where the goal was reached
    micro_batch     -- examples a training pass, where memory was too small for the whole batch
    cost            -- over all the workers that advanced it
    engine          -- what has computed its steps; both are named if both have
    """

    outcome: Outcome
    reason: str
    steps: int
    evaluations: tuple[Evaluation, ...] = ()
    steps_to_target: int | None = None
    steps_lower: int | None = None
    metric: float | None = None
    metric_step: int | None = None
    test_metric: float | None = None
    micro_batch: int | None = None
    cost: TrialCost = field(default_factory=TrialCost)
    engine: str | None = None


class GoalCrossing(NamedTuple):
    """Where a trial first passed the goal.

    step        -- the first evaluated step past the goal
    lower       -- the evaluated step before that one, where the goal stood open
    metric      -- the goal metric at `step`
    test_metric -- the same on the test split, if there is one
    """

    step: int
    lower: int
    metric: float
    test_metric: float | None = None


class CurvePoint(NamedTuple):
    """The goal metric at a full look."""

    step: int
    metric: float


LearningCurve = Sequence[CurvePoint]
"""What a trial has shown so far, in order."""


STATES = {"reached": TrialState.COMPLETE, "failed": TrialState.FAIL}
"""Outcome to Optuna's state of the trial; any other is PRUNED."""


def in_words(outcomes: Mapping[str, int]) -> str:
    """Outcomes and their numbers: "1 reached, 31 capped"."""
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
