"""Metaparameters as coordinates in which a surrogate can be smooth.

They are logarithms where the dimension is logarithmic, so that their unit is an e-fold at all batch
sizes, also where the ranges move with the batch size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    point_at,
)

Array = NDArray[np.float64]

_RATES = ("learning_rate", "lr", "rate", "step_size", "eta")
"""What a learning rate is called; the first of these that a space has is taken for it."""

_UNIT = 4.0  # the width of a range that isn't logarithmic, where others have their e-folds


@dataclass(frozen=True)
class Column:
    """One coordinate of a metaparameter, 0 in the middle of its range.

    kind   -- "log": the logarithm; "reverse": -log(1 - value); "linear": in proportion; "rank":
              the place of a number among those to choose from; "category": whether it is a certain
              value
    low    -- end of the ranges of all batch sizes, in the coordinate, like `high`
    values -- the ends of a "linear" range, all numbers of a "rank", the value of a "category"
    """

    name: str
    kind: str
    low: float
    high: float
    values: tuple[Value, ...] = ()

    @property
    def width(self) -> float:
        return self.high - self.low

    def of(self, value: Value) -> float:
        """The coordinate of a value: in the middle, of what isn't a number where others are; and no
        further outside of the ranges than these are wide, as of a fixed 0 beside logarithms."""
        middle = (self.low + self.high) / 2
        if self.kind == "category":
            return _UNIT * (value == self.values[0]) - middle
        if not _numbers([value]) or math.isnan(value):  # type: ignore[arg-type]
            return 0.0
        raw = self._raw(float(value))
        return min(max(raw, self.low - self.width), self.high + self.width) - middle

    def _raw(self, value: float) -> float:
        if self.kind == "rank":
            places = [_UNIT * at / (len(self.values) - 1) for at in range(len(self.values))]
            return float(np.interp(value, [float(one) for one in self.values], places))
        if self.kind == "log":
            return math.log(value) if value > 0 else -math.inf
        if self.kind == "reverse":
            return -math.log1p(-value) if value < 1 else math.inf
        low, high = (float(end) for end in self.values)
        return _UNIT * (value - low) / (high - low)


@dataclass(frozen=True)
class Coordinates:
    """The coordinates that the search spaces of all batch sizes share.

    axis -- the column of the learning rate, along which its effect on training grows; None where
            there is none
    """

    columns: tuple[Column, ...]
    axis: int | None

    @classmethod
    def of(cls, spaces: Mapping[int, SearchSpace]) -> "Coordinates":
        """Find the coordinates of search spaces, by batch size."""
        ranges: dict[str, list[Dimension]] = {}
        for _, space in sorted(spaces.items()):
            for name, dimension in dimensions(space).items():
                ranges.setdefault(name, []).append(dimension)
        columns = [column for name in sorted(ranges) for column in _columns(name, ranges[name])]
        return cls(tuple(columns), _axis(columns))

    @property
    def others(self) -> list[int]:
        """The columns beside the axis."""
        return [at for at in range(len(self.columns)) if at != self.axis]

    def __call__(self, params: Sequence[Metaparameters]) -> Array:
        """The coordinates of metaparameters, [n, columns]; the middle where one is missing."""
        found = np.zeros((len(params), len(self.columns)))
        for row, point in enumerate(params):
            for at, column in enumerate(self.columns):
                if column.name in point:
                    found[row, at] = column.of(point[column.name])
        return found

    def at(self, space: SearchSpace, positions: Array) -> Array:
        """The coordinates of positions in the unit cube of a space, [n, dimensions]."""
        searched = dimensions(space)
        if all(isinstance(d, Log | ReverseLog | Linear) for d in searched.values()):
            ends = self([point_at(space, [end] * len(searched)) for end in (0.0, 1.0)])
            names = list(searched)
            found = np.tile(ends[0], (len(positions), 1))
            for at, column in enumerate(self.columns):
                if column.name in searched and _affine(searched[column.name], column):
                    share = positions[:, names.index(column.name)]
                    found[:, at] += share * (ends[1, at] - ends[0, at])
                elif column.name in searched:
                    break
            else:
                return found
        return self([point_at(space, position) for position in positions.tolist()])


def _affine(dimension: Dimension, column: Column) -> bool:
    """Whether a column is in proportion to the position in a dimension."""
    kinds: dict[type, str] = {Log: "log", ReverseLog: "reverse", Linear: "linear"}
    return column.kind == kinds.get(type(dimension))


def _columns(name: str, found: Sequence[Dimension]) -> list[Column]:
    """The columns of one metaparameter, of its dimensions at all batch sizes."""
    chosen = tuple(dict.fromkeys(v for d in found if isinstance(d, Choice) for v in d.values))
    if chosen and all(isinstance(d, Choice) for d in found) and not _numbers(chosen):
        told = chosen if len(chosen) > 2 else chosen[:1]
        return [Column(name, "category", 0.0, _UNIT, (value,)) for value in told]
    if chosen and all(isinstance(d, Choice) for d in found):
        return [Column(name, "rank", 0.0, _UNIT, tuple(sorted(chosen, key=float)))]
    words = [value for value in chosen if not _numbers([value])]
    if words:  # beside ranges at other batch sizes
        rest = [d for d in found if not isinstance(d, Choice)]
        apart = [Column(name, "category", 0.0, _UNIT, (value,)) for value in words]
        return [*apart, *_columns(name, rest)]
    ends = [float(d.at(end)) for d in found for end in (0.0, 1.0)]
    low, high = min(ends), max(ends)
    logarithmic = all(isinstance(d, Log) or (isinstance(d, Integer) and d.log) for d in found)
    if low > 0 and (logarithmic or name in _RATES):
        return [Column(name, "log", math.log(low), math.log(high))]
    if all(isinstance(d, ReverseLog) for d in found):
        return [Column(name, "reverse", -math.log1p(-low), -math.log1p(-high))]
    return [Column(name, "linear", 0.0, _UNIT, (low, high))]


def _numbers(values: Sequence[Value]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _axis(columns: Sequence[Column]) -> int | None:
    """The learning rate by its name, else the widest logarithmic column."""
    logarithmic = [at for at, column in enumerate(columns) if column.kind == "log"]
    for name in _RATES:
        for at in logarithmic:
            if columns[at].name == name:
                return at
    return max(logarithmic, key=lambda at: columns[at].width, default=None)
