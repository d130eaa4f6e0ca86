"""Metaparameter dimensions, and quasi-random points in the space they span."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchfront.errors import SearchSpaceError, WorkloadError
from batchfront.workload.given import attribute, number, shown
from batchfront.workload.sobol import scrambled_sobol

Value = float | int | str | bool
"""What a metaparameter can be."""

Metaparameters = Mapping[str, Value]
"""One draw from a search space: metaparameter name to value."""


def value_text(value: Value) -> str:
    """A metaparameter in a table: three significant digits; just below 1, those of its distance to
    1."""
    if isinstance(value, float) and 0.9 < value < 1:
        return f"{value:.{max(3, 1 - math.floor(math.log10(1 - value)))}f}".rstrip("0")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Dimension(ABC):
    """The values that one metaparameter may take, as a map from the unit interval."""

    @abstractmethod
    def at(self, position: float) -> Value:
        """The value at `position` in [0, 1]."""

    @abstractmethod
    def position(self, value: Value) -> float:
        """Where `value` lies in [0, 1]: the inverse of `at`, up to rounding."""

    def describe(self) -> dict[str, Any]:
        """The dimension as plain data, for a study's identity and for display."""
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def __str__(self) -> str:
        fields = {key: value for key, value in self.describe().items() if key != "kind"}
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in fields.items())})"


def _refuse(dimension: Dimension, wanted: str) -> SearchSpaceError:
    return SearchSpaceError(f"{dimension}: {wanted}")


def _take_ends(dimension: Dimension) -> None:
    """Keep both ends of a range as Python's own numbers, of whatever kind they were given."""
    kind = type(dimension).__name__
    for name in ("low", "high"):
        end = _take_number(f"{kind}: {name}", getattr(dimension, name))
        object.__setattr__(dimension, name, end)


def _take_number(what: str, value: object, *, infinite: bool = False) -> float:
    try:
        return number(what, value, infinite=infinite)
    except WorkloadError as error:
        raise SearchSpaceError(str(error)) from None


def _refuse_too_wide(dimension: Dimension, low: float, high: float) -> None:
    """Raise SearchSpaceError where the ends are further apart than a float is large."""
    if math.isinf(float(high) - float(low)):
        kind, widest = type(dimension).__name__, sys.float_info.max
        raise SearchSpaceError(f"{kind}: low and high must be less than {widest:.2g} apart")


def _reversed(low: float, high: float) -> str:
    if low > high:
        return f"low must be less than high: ({high:g}, {low:g})"
    return "low must be less than high (a single value is a plain number)"


@dataclass(frozen=True)
class _Range(Dimension, ABC):
    low: float
    high: float

    def __post_init__(self) -> None:
        _take_ends(self)
        if not self.low < self.high:
            raise _refuse(self, _reversed(self.low, self.high))

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Linear(_Range):
    """Uniform between `low` and `high`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_too_wide(self, self.low, self.high)

    def at(self, position: float) -> float:
        return self.low + position * (self.high - self.low)

    def position(self, value: Value) -> float:
        return (float(value) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Log(_Range):
    """Log-uniform between `low` and `high`, both above 0: learning rates, weight decay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise _refuse(self, "low must be above 0 on a log scale")

    def at(self, position: float) -> float:
        ratio = self.high / self.low
        if math.isinf(ratio):  # the ends are further apart than a float is large
            value = math.exp(math.log(self.low) + position * self._span)
        else:
            value = self.low * ratio**position
        return float(min(max(value, self.low), self.high))

    def position(self, value: Value) -> float:
        if math.isinf(self.high / self.low):
            return (math.log(float(value)) - math.log(self.low)) / self._span
        return math.log(float(value) / self.low) / math.log(self.high / self.low)

    @property
    def _span(self) -> float:
        return math.log(self.high) - math.log(self.low)


@dataclass(frozen=True)
class ReverseLog(_Range):
    """`1 - v` log-uniform, for momentum (Shallue et al. 2018, section 4.1): 0 <= low < high < 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low < 0 or self.high >= 1:
            raise _refuse(self, "needs 0 <= low < high < 1, as 1 - value is on a log scale")

    def at(self, position: float) -> float:
        value = 1 - (1 - self.low) * ((1 - self.high) / (1 - self.low)) ** position
        return float(min(max(value, self.low), self.high))

    def position(self, value: Value) -> float:
        span = math.log((1 - self.high) / (1 - self.low))
        return math.log((1 - float(value)) / (1 - self.low)) / span


@dataclass(frozen=True)
class Integer(Dimension):
    """Whole numbers from `low` to `high`, both included; evenly, or evenly in the logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.log, bool):
            raise SearchSpaceError(
                f"Integer: log is {shown(self.log)}; write log=True, or leave it"
            )
        _take_ends(self)
        if self.low != int(self.low) or self.high != int(self.high):
            raise _refuse(self, "both ends must be whole numbers")
        if not self.low < self.high:
            raise _refuse(self, _reversed(self.low, self.high))
        if self.log and self.low < 1:
            raise _refuse(self, "low must be at least 1 on a log scale")
        _refuse_too_wide(self, self.low, self.high)

    def __str__(self) -> str:
        return f"Integer({self.low}, {self.high}{', log=True' if self.log else ''})"

    def at(self, position: float) -> int:
        # Each whole number owns the interval of width 1 around it.
        low, high = self.low - 0.5, self.high + 0.5
        value = low * (high / low) ** position if self.log else low + position * (high - low)
        return min(max(math.floor(value + 0.5), self.low), self.high)

    def position(self, value: Value) -> float:
        low, high = self.low - 0.5, self.high + 0.5
        if self.log:
            return math.log(float(value) / low) / math.log(high / low)
        return (float(value) - low) / (high - low)


@dataclass(frozen=True, init=False)
class Choice(Dimension):
    """One of a few stated values: `Choice(0, 0.01, 0.1)`."""

    values: tuple[Value, ...]

    def __init__(self, *given: Any) -> None:
        values = tuple(_plain(value) for value in given)
        object.__setattr__(self, "values", values)
        if len(values) == 1 and isinstance(values[0], list | tuple | set | dict | range):
            raise SearchSpaceError(
                f"Choice: its one value is {shown(values[0])}; write each by itself, as in "
                "Choice(8, 16), or Choice(*values)"
            )
        for value in values:
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise SearchSpaceError(
                    f"Choice: one of its values is {shown(value)}; values are numbers, strings, "
                    "True or False: give each a name, and look up in your function what it means"
                )
            if isinstance(value, int | float) and not isinstance(value, bool):
                _take_number("Choice: one of its values", value, infinite=True)
        if len(values) < 2 or len(set(values)) != len(values):
            raise _refuse(self, "needs at least two different values")

    def describe(self) -> dict[str, Any]:
        return {"kind": "Choice", "values": list(self.values)}  # as JSON would give it back

    def __str__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"

    def at(self, position: float) -> Value:
        return self.values[min(int(position * len(self.values)), len(self.values) - 1)]

    def position(self, value: Value) -> float:
        return (self.values.index(value) + 0.5) / len(self.values)


def _plain(value: Any) -> Any:
    """A number of NumPy's or torch's as Python's own."""
    is_one = attribute(value, "shape") == () and attribute(value, "item") is not None
    return value.item() if is_one else value


SearchSpace = Mapping[str, Dimension | Value]
"""Metaparameter name to its dimension, or to the one value it always has."""


def dimensions(space: SearchSpace) -> dict[str, Dimension]:
    """Only what is searched: the entries of `space` that are not fixed values."""
    return {name: entry for name, entry in space.items() if isinstance(entry, Dimension)}


def point_at(space: SearchSpace, position: Sequence[float]) -> dict[str, Value]:
    """The metaparameters at a position of the unit cube, one coordinate per dimension."""
    coordinates = iter(position)
    return {
        name: entry.at(next(coordinates)) if isinstance(entry, Dimension) else entry
        for name, entry in space.items()
    }


def quasi_random_points(
    space: SearchSpace, count: int, seed: int, first: int = 0
) -> list[dict[str, Value]]:
    """Points `first .. first + count - 1` of the scrambled Sobol sequence of `seed`.

    The sequence is a property of the seed alone, so that whoever draws its later points, and
    whenever, draws the same ones.
    """
    searched = dimensions(space)
    if not searched:
        return [point_at(space, ()) for _ in range(count)]
    positions = scrambled_sobol(len(searched), count, seed, first)
    return [point_at(space, position) for position in positions.tolist()]


def describe_space(space: SearchSpace) -> dict[str, Any]:
    """A search space as plain data, for a study's identity and for display."""
    return {
        name: entry.describe() if isinstance(entry, Dimension) else entry
        for name, entry in space.items()
    }


def restore_space(described: Mapping[str, Any]) -> dict[str, Dimension | Value]:
    """The search space that `describe_space` described."""
    kinds = {kind.__name__: kind for kind in (Linear, Log, ReverseLog, Integer)}
    space: dict[str, Dimension | Value] = {}
    for name, entry in described.items():
        if not isinstance(entry, Mapping):
            space[name] = entry
        elif entry["kind"] == "Choice":
            space[name] = Choice(*entry["values"])
        else:
            fields = {key: value for key, value in entry.items() if key != "kind"}
            space[name] = kinds[entry["kind"]](**fields)
    return space
