"""How hours and money are written for a person, on a terminal and on the page."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from batchfront.advice.intervals import Interval


@dataclass(frozen=True)
class Unit:
    """A unit of time: its name, what stands for it beside a number, and how many hours it is."""

    name: str
    symbol: str
    hours: float

    def of(self, hours: float) -> float:
        """Hours in this unit."""
        return hours / self.hours

    def text(self, hours: float) -> str:
        """Hours as a number of this unit, without it."""
        return digits(self.of(hours))


UNITS = (
    Unit("seconds", "s", 1 / 3600),
    Unit("minutes", "min", 1 / 60),
    Unit("hours", "h", 1.0),
    Unit("days", "days", 24.0),
)
"""Ascending."""

_UNTIL = (120.0, 120.0, 72.0, inf)
"""How many of a unit are written in the next one."""


def unit_of(hours: Iterable[float]) -> Unit:
    """The unit in which to write times beside each other, by the longest."""
    most = max(hours, default=1.0)
    return next(unit for unit, until in zip(UNITS, _UNTIL, strict=True) if unit.of(most) < until)


def digits(value: float) -> str:
    """A number with the three digits that a prediction may claim: 0.0123, 5.2, 41.3, 1,230."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 999.5 else f"{value:.3g}"


def time_text(hours: float) -> str:
    """A time in the unit that suits it: "41.3 min"."""
    unit = unit_of([hours])
    return f"{unit.text(hours)}\u00a0{unit.symbol}"


def seconds_text(value: float) -> str:
    """What a step takes, or a part of one: 326 µs, 1.21 ms, 2.3 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size * 0.9995:
            return f"{float(f'{value / size:.3g}'):,g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def spread(interval: Interval, shown: Callable[[float], str] = digits) -> str:
    """A number with its 90 % interval, for the cell of a table: "2.1 (1.8 to 2.6)"."""
    return f"{shown(interval.median)} ({shown(interval.low)} to {shown(interval.high)})"


def time_spread(hours: Interval) -> str:
    """A time with its 90 % interval: "41.3 min (35.2 to 50.1)"."""
    unit = unit_of([hours.median])
    return f"{time_text(hours.median)} ({unit.text(hours.low)} to {unit.text(hours.high)})"
