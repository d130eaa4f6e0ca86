"""Search spaces made wider: on the side where a winner lies, or so as to hold given values."""

import math
from dataclasses import replace
from typing import Any

from batchfront.errors import SearchSpaceError
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Linear,
    Log,
    Metaparameters,
    ReverseLog,
    SearchSpace,
    Value,
    dimensions,
)


def edges(space: SearchSpace, values: Metaparameters, margin: float = 0.05) -> dict[str, str]:
    """The searched metaparameters that lie within `margin` of an end: name to "low" or "high".

    A winner at an edge says that the space was too small to hold the best (section 4.1 of
    Shallue et al. 2018 checks the same). A choice has no edge.
    """
    found = {}
    for name, dimension in dimensions(space).items():
        if isinstance(dimension, Choice) or name not in values:
            continue
        value, position = values[name], dimension.position(values[name])
        # Of a few whole numbers, even the outermost lies further than the margin from its end.
        ends = (dimension.low, dimension.high) if isinstance(dimension, Integer) else ()
        if position < margin or position > 1 - margin or value in ends:
            found[name] = "low" if position < 0.5 else "high"
    return found


SHARE = 0.5
"""A range gains this share of its width on one side, as its own scale measures it: on a log scale
a range from 0.01 to 1 gains a factor of 10."""

_LEAST = 0.05  # of its width: by less than that, a range is at its limit


def widened(name: str, dimension: Dimension, side: str) -> Dimension | None:
    """A metaparameter's dimension made wider on its "low" or "high" side; None where it can't be.

    Momentum on a `ReverseLog` scale stays from 0 up and below 1, a range above 0 stays there, one
    within 0 and 1 too (dropout, smoothing, decay: shares of something) unless it is the learning
    rate's, and whole numbers from 1 up stay so.
    """
    if isinstance(dimension, Choice):
        return None
    wide: Any = dimension
    low, high = wide.low, wide.high
    if side == "low":
        low = max(_stretched(dimension, -SHARE), _floor(dimension))
    else:
        high = min(_stretched(dimension, 1 + SHARE), _ceiling(name, dimension))
    try:
        wide = replace(wide, low=low, high=high)
    except SearchSpaceError:  # as close to 1, or to 0, as numbers go
        return None
    return wide if growth(dimension, wide) >= 1 + _LEAST else None


def growth(dimension: Dimension, wide: Dimension) -> float:
    """How many times as wide as `dimension` the dimension `wide` is, on their common scale."""
    if dimension == wide:
        return 1.0
    old: Any = dimension
    margin = 0.5 if isinstance(dimension, Integer) else 0.0  # a whole number owns so much more
    return 1 / (wide.position(old.high + margin) - wide.position(old.low - margin))


def holds(space: SearchSpace, values: Metaparameters) -> bool:
    """Whether every searched metaparameter lies in its dimension."""
    return all(_holds(dimension, values[name]) for name, dimension in dimensions(space).items())


def holding(space: SearchSpace, values: Metaparameters) -> dict[str, Dimension | Value]:
    """The space with every range as wide as it must be to hold these values; what is fixed is
    fixed at the one given."""
    return {name: _holding(space.get(name, value), value) for name, value in values.items()}


def _stretched(dimension: Any, position: float) -> Any:
    """The value at a position that may lie outside of [0, 1]."""
    low, high = dimension.low, dimension.high
    match dimension:
        case Linear():
            return low + position * (high - low)
        case Log():
            return low * (high / low) ** position
        case ReverseLog():
            return 1 - (1 - low) * ((1 - high) / (1 - low)) ** position
    start, end = low - 0.5, high + 0.5
    log = dimension.log
    value = start * (end / start) ** position if log else start + position * (end - start)
    return math.floor(value + 0.5) if position < 0 else math.ceil(value - 0.5)


def _floor(dimension: Any) -> float:
    if isinstance(dimension, Integer):
        return 1 if dimension.low >= 1 else 0 if dimension.low == 0 else -math.inf
    return 0.0 if dimension.low >= 0 else -math.inf


def _ceiling(name: str, dimension: Any) -> float:
    share = isinstance(dimension, Linear | Log) and dimension.low >= 0 and dimension.high <= 1
    return 1.0 if share and name != "learning_rate" else math.inf


def _holds(dimension: Any, value: Value) -> bool:
    if isinstance(dimension, Choice):
        return value in dimension.values
    return bool(dimension.low <= value <= dimension.high)


def _holding(entry: Dimension | Value, value: Any) -> Dimension | Value:
    if not isinstance(entry, Dimension):
        return value  # type: ignore[no-any-return]
    if _holds(entry, value):
        return entry
    if isinstance(entry, Choice):
        return Choice(*entry.values, value)
    wide: Any = entry
    return replace(wide, low=min(wide.low, value), high=max(wide.high, value))  # type: ignore[no-any-return]
