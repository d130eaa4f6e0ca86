"""What one metaparameter does to the steps to target, by batch size.

Made for metaparameters with choices, such as label smoothing in Shallue et al. 2018; the range of
any other is cut into thirds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchfront.errors import UsageError
from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.censoring import Needed, fewest
from batchfront.frontier.analysis.other_goals import GoalMetric
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Curves, Trial, Trials
from batchfront.workload.search_space import Choice, Dimension, dimensions

THIRDS = ("low", "middle", "high")


@dataclass(frozen=True)
class ValueEffect:
    """The trials with one value, or third of the range, of the metaparameter.

    value    -- the choice, or the third: low, middle or high
    low, high -- the ends of the third
    trials   -- how many have ended
    reached  -- how many of them reached the goal
    needed   -- the fewest steps to it; None if all were given up, or there are none
    metric   -- the best value of the goal metric that one ended with, as far as it was raced
    ratio    -- `needed.at_least` in multiples of the best of the batch size; a bound unless
                `needed.exact`; None without a winner
    """

    value: Any
    low: Any
    high: Any
    trials: int
    reached: int
    needed: Needed | None
    metric: float | None
    ratio: float | None


@dataclass(frozen=True)
class EffectPoint:
    """All values at one batch size, and the winner's, None while there is no winner."""

    batch_size: int
    best: Any
    values: tuple[ValueEffect, ...]


@dataclass(frozen=True)
class Effect:
    """The effect of one metaparameter of a workload."""

    workload: str
    name: str
    points: tuple[EffectPoint, ...]


def effect(frontier: Frontier, trials: Trials, curves: Curves, name: str) -> Effect:
    """What the metaparameter does at each batch size where it is searched.

    Raises UsageError, with those that are, if it is searched at none.
    """
    trials, _ = as_raced(frontier, trials, curves)
    points = tuple(
        _point(GoalMetric.of(frontier), point, trials.get(point.study.id, ()), name, dimension)
        for point in frontier.points
        if (dimension := dimensions(point.space).get(name)) is not None
    )
    if not points:
        there = ", ".join(searched(frontier)) or "none"
        raise UsageError(f"{frontier.workload} does not search {name!r}; it searches {there}")
    return Effect(frontier.workload, name, points)


def searched(frontier: Frontier, *, choices: bool = False) -> tuple[str, ...]:
    """The metaparameters that some batch size searches; only those with choices, if asked."""
    found: dict[str, None] = {}
    for point in frontier.points:
        for name, dimension in dimensions(point.space).items():
            if isinstance(dimension, Choice) or not choices:
                found[name] = None
    return tuple(found)


def _point(
    goal: GoalMetric, point: Point, trials: Sequence[Trial], name: str, dimension: Dimension
) -> EffectPoint:
    groups: dict[Any, list[Trial]] = {value: [] for value in _values(dimension)}
    for trial in trials:
        if trial.outcome is not None and name in trial.params:
            groups[_group(dimension, trial.params[name])].append(trial)
    values = tuple(
        _effect(goal, dimension, value, group, point.steps) for value, group in groups.items()
    )
    won = point.params.get(name)
    return EffectPoint(point.batch_size, None if won is None else _group(dimension, won), values)


def _values(dimension: Dimension) -> Sequence[Any]:
    return dimension.values if isinstance(dimension, Choice) else THIRDS


def _group(dimension: Dimension, value: Any) -> Any:
    if isinstance(dimension, Choice):
        return value
    return THIRDS[min(max(int(3 * dimension.position(value)), 0), 2)]


def _effect(
    goal: GoalMetric, dimension: Dimension, value: Any, trials: Sequence[Trial], best: float | None
) -> ValueEffect:
    needed = fewest(trials)
    metrics = [trial.metric for trial in trials if trial.metric is not None]
    low = high = value
    if not isinstance(dimension, Choice):
        third = THIRDS.index(value)
        low, high = dimension.at(third / 3), dimension.at((third + 1) / 3)
    return ValueEffect(
        value,
        low,
        high,
        len(trials),
        sum(trial.steps_to_target is not None for trial in trials),
        needed,
        min(metrics, key=goal.cost, default=None),
        needed.multiple(best) if needed else None,
    )
