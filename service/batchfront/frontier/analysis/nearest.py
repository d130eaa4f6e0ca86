"""The trials of a study that lie nearest to a point of its search space."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchfront.frontier.queries import Trial
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Choice, Dimension, SearchSpace, Value, dimensions

NEAREST = 3
"""So many trials nearest to a point are given."""


@dataclass(frozen=True)
class NearTrial:
    """A trial near a point.

    distance -- in the unit cube of the search space, where 1 is the whole range of a metaparameter,
                or another choice of one that has choices
    steps    -- to the goal if it reached it, or else how far it was trained
    """

    number: int
    distance: float
    outcome: str | None
    steps: float

    @classmethod
    def of(cls, trial: Trial, distance: float) -> "NearTrial":
        """A trial at this distance."""
        steps = trial.steps if trial.steps_to_target is None else trial.steps_to_target
        return cls(trial.number, distance, trial.outcome, steps)


def nearest_trials(
    space: SearchSpace, params: Mapping[str, Value], trials: Sequence[Trial]
) -> list[tuple[Trial, float]]:
    """The nearest few ended trials with their distances; of equals the lowest number first.

    Trials that failed, or that lack a searched metaparameter, are no neighbours.
    """
    ended = [trial for trial in trials if trial.outcome not in (None, Outcome.FAILED)]
    searched = dimensions(space)
    found = [(trial, _distance(searched, params, trial.params)) for trial in ended]
    known = [(trial, distance) for trial, distance in found if distance is not None]
    return sorted(known, key=lambda pair: (pair[1], pair[0].number))[:NEAREST]


def _distance(
    searched: Mapping[str, Dimension], one: Mapping[str, Value], other: Mapping[str, Value]
) -> float | None:
    """How far apart two points lie in the unit cube; None if one lacks a searched metaparameter."""
    total = 0.0
    for name, dimension in searched.items():
        if name not in one or name not in other:
            return None
        if isinstance(dimension, Choice):
            total += one[name] != other[name]
        else:
            total += (dimension.position(one[name]) - dimension.position(other[name])) ** 2
    return math.sqrt(total)


def outside(space: SearchSpace, params: Mapping[str, Value]) -> tuple[str, ...]:
    """The searched metaparameters of a point that lie outside the search space."""
    found = []
    for name, dimension in dimensions(space).items():
        if name not in params:
            continue
        if isinstance(dimension, Choice):
            inside = params[name] in dimension.values
        else:
            inside = -1e-9 <= dimension.position(params[name]) <= 1 + 1e-9
        if not inside:
            found.append(name)
    return tuple(found)
