"""What lies between two trials' metaparameters, each on its own scale."""

import math

from batchfront.frontier.tuned_trials import TunedTrial
from batchfront.phrases import first_few
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Log,
    Metaparameters,
    Value,
)
from batchfront.workload.space_edges import holding


def interpolated(
    below: TunedTrial, above: TunedTrial, batch_size: int
) -> tuple[Metaparameters, list[str]]:
    """What lies between two trials' metaparameters, by the logarithm of the batch size, and what
    to know about it."""
    along = math.log(batch_size / below.batch_size) / math.log(above.batch_size / below.batch_size)
    space = holding({**above.point.space, **below.point.space}, below.params)
    space = {**space, **holding(space, {n: above.params[n] for n in space if n in above.params})}
    values: dict[str, Value] = {}
    chosen = []
    for name, one in below.params.items():
        other = above.params.get(name, one)
        between = _value_between(_scale(space[name], one, other), one, other, along)
        if between is None:
            between = one if along < 0.5 else other
            chosen.append(f"{name} {between!r}")
        values[name] = between
    notes = [
        f"Interpolated between the {below.what}s at batch sizes "
        f"{below.batch_size:,} and {above.batch_size:,}, on each metaparameter's own scale."
    ]
    if chosen:
        notes.append(
            f"Of what can't be interpolated, the nearer {below.what}'s: {first_few(chosen)}."
        )
    return values, notes


def _scale(entry: Dimension | Value, one: Value, other: Value) -> Dimension | None:
    """The scale that a metaparameter is interpolated on, or None: a fixed number that depends on
    the batch size, such as one of steps, goes with its logarithm."""
    if isinstance(entry, Dimension):
        return None if isinstance(entry, Choice) else entry
    numbers = not any(isinstance(value, str | bool) for value in (one, other))
    if numbers and one != other and min(float(one), float(other)) > 0:
        return Log(min(float(one), float(other)), max(float(one), float(other)))
    return None


def _value_between(scale: Dimension | None, one: Value, other: Value, along: float) -> Value | None:
    """The value between two, so far along; None where there is none."""
    if one == other:
        return one
    if scale is None:
        return None
    value = scale.at((1 - along) * scale.position(one) + along * scale.position(other))
    whole = isinstance(one, int) and isinstance(other, int)
    return round(float(value)) if whole else value
