"""What a trial shows on its way, what it costs, and how it ended."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from batchfront.table import Brief, Column
from batchfront.vocabulary import Outcome


class Evaluation(NamedTuple):
    """What a full evaluation of a trial showed.

    loss     -- mean training loss of the steps since the evaluation before; None where it isn't
                told, as by a program that prints its goal metric alone
    metric   -- the goal metric over the whole validation split
    measures -- what else was measured of it, by name
    """

    step: int
    loss: float | None
    metric: float
    measures: Mapping[str, float] = {}


class CurvePoint(NamedTuple):
    """The goal metric at a full evaluation."""

    step: int
    metric: float


LearningCurve = Sequence[CurvePoint]
"""What a trial has shown so far, in order."""


class GoalCrossing(NamedTuple):
    """Where a trial first passed the goal.

    step        -- the first evaluated step past the goal
    lower       -- the evaluated step before that one, where the goal stood open
    metric      -- the goal metric at `step`
    test_metric -- the same on the test split, if there is one
    measures    -- what else was measured of the validation split at `step`, by name
    """

    step: int
    lower: int
    metric: float
    test_metric: float | None = None
    measures: Mapping[str, float] = {}


class Reading(NamedTuple):
    """The gradient noise of a run at one step.

    step         -- the updates done before it
    steps        -- of the run that it stands for
    parts        -- of the batch, whose gradients were compared
    examples     -- of all of them
    trace        -- tr Σ, the variance of an example's gradient, summed over its components
    squared_norm -- |G|², of the gradient of all examples: an estimate without bias, which noise
                    may bring below 0
    """

    step: int
    steps: int
    parts: int
    examples: int
    trace: float
    squared_norm: float


def storable(text: str) -> str:
    """A text with � in the place of NUL, and ? in that of half a surrogate pair, which databases
    don't keep."""
    return text.replace("\0", "�").encode(errors="replace").decode()


@dataclass
class TrialCost:
    """What a trial has cost so far, over all the workers that advanced it."""

    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    evaluated_examples: int = 0


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    steps           -- how far it was trained
    steps_to_target -- the first evaluated step past the goal; of outcome `reached` only. Measured
                       elsewhere, it may be a mean
    steps_lower     -- the evaluated step before that one, where the goal stood open
    metric          -- the goal metric when last computed in full, at step `metric_step`; of outcome
                       `reached`, at the step that passed the goal
    test_metric     -- the same on the test split, where the goal was reached
    measures        -- what else was measured of the validation split at the step that passed the
                       goal, by name
    micro_batch     -- examples a training pass, where memory was too small for the whole batch
    engine          -- what has computed its steps; both are named if both have
    """

    outcome: Outcome
    reason: str
    steps: int
    evaluations: tuple[Evaluation, ...] = ()
    steps_to_target: float | None = None
    steps_lower: float | None = None
    metric: float | None = None
    metric_step: int | None = None
    test_metric: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    micro_batch: int | None = None
    cost: TrialCost = field(default_factory=TrialCost)
    engine: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


S = TypeVar("S", bound=float)


def cap(steps_to_target: Iterable[S], finishers: int) -> S | None:
    """The step at which a race caps its trials: that in which as many have passed the goal as are
    to be finishers.

    steps_to_target -- of the trials that have passed it, in any order

    Returns None while fewer have, or where no trial is to be capped (`finishers` 0).
    """
    fewest = sorted(steps_to_target)
    return fewest[finishers - 1] if 0 < finishers <= len(fewest) else None


def in_words(outcomes: Mapping[str, int]) -> str:
    """Outcomes and their numbers, in the order of `Outcome`, then what is `open`: "1 reached, 31
    capped"."""
    return ", ".join(f"{outcomes[name]:,} {name}" for name in _in_order(outcomes))


def in_brief(outcomes: Mapping[str, int]) -> str:
    """The same, abbreviated: "1 re, 31 ca"."""
    return ", ".join(f"{outcomes[name]:,} {_abbreviated(name)}" for name in _in_order(outcomes))


def abbreviations(found: Iterable[Mapping[str, int]]) -> str:
    """What `in_brief` abbreviates there: "re: reached, ca: capped"."""
    there = Counter[str]()
    for outcomes in found:
        there.update(outcomes)
    return ", ".join(f"{_abbreviated(name)}: {name}" for name in _in_order(there))


def outcomes_column(title: str) -> Column:
    """A column of how many trials ended how."""
    return Column(title, in_words, words=True, brief=Brief(in_brief, abbreviations))


def _in_order(outcomes: Mapping[str, int]) -> list[str]:
    order = sorted(set(outcomes) - set(Outcome))
    return [name for name in (*Outcome, *order) if outcomes.get(name)]


def _abbreviated(name: str) -> str:
    return str(name)[:2]  # in which they all differ
