"""Seconds of one part of training against the number of examples: a straight line where what was
timed lies on one, otherwise the table, with straight lines between."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot, log, sqrt

import numpy as np
from scipy.optimize import nnls

from batchfront.advice.intervals import REACH_90
from batchfront.advice.timings import Timing
from batchfront.errors import UsageError

REACH = 2.0
"""Nothing is said of what lies more than this factor outside of what was timed."""

STRAIGHT = 0.10
"""Seconds lie on a straight line where none is off by a larger share."""

_REPETITION = 1.349  # standard deviations between the quartiles of a normal distribution

_DRIFT = 0.03
"""The standard deviation of the logarithm by which the same part differs between two times, on a
device that nothing else uses."""

_DRIFT_ELSEWHERE = 0.05
"""The same of a number from elsewhere, which comes without its spread."""

_BEYOND = 0.25
"""Outside of what was timed, the standard deviation of the logarithm of the seconds, in logarithms
of how far outside that is: some 30 % either way, with 90 %, at twice the largest."""


@dataclass(frozen=True)
class Seconds:
    """What something takes.

    error   -- the standard deviation of the logarithm
    known   -- whether just this was timed
    note    -- what it was derived from, a sentence; empty where it was timed, or lies between what
               was
    outside -- whether it is of fewer, or more, examples than were timed
    """

    value: float
    error: float
    known: bool = True
    note: str = ""
    outside: bool = False


def mean_seconds(timing: Timing) -> float:
    """The mean of a timing's repetitions, which is what adds up: by its median and its quartiles
    (Wan et al. 2014)."""
    if timing.low is None or timing.high is None:
        return timing.seconds
    return (timing.low + timing.seconds + timing.high) / 3


def own_error(timing: Timing) -> float:
    """The standard deviation of the logarithm of what a timing's part takes at another time.

    A machine that others use, too, is as much faster or slower for a while as its repetitions
    scatter: `tests/benchmarks/hours_coverage.py` measures what such intervals hold.
    """
    if timing.low is None or timing.high is None or timing.low <= 0:
        return _DRIFT_ELSEWHERE
    return hypot(_DRIFT, log(timing.high / timing.low) / _REPETITION)


@dataclass(frozen=True)
class PartTimes:
    """One part, by the number of examples that it was timed at.

    what   -- it is, for a message: "micro-batches"
    sizes  -- ascending, at least one
    line   -- seconds = line[0] + line[1] * examples, where that holds; None where it doesn't
    misfit -- the standard deviation of the logarithm of seconds around the line
    """

    what: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    errors: tuple[float, ...]
    line: tuple[float, float] | None
    misfit: float

    @classmethod
    def of(cls, what: str, timings: Iterable[Timing]) -> "PartTimes | None":
        """The timings of one part, on as many devices; None where there are none."""
        mine = sorted(timings, key=lambda one: one.examples)
        if not mine:
            return None
        sizes = tuple(one.examples for one in mine)
        seconds = tuple(map(mean_seconds, mine))
        errors = tuple(map(own_error, mine))
        return cls(what, sizes, seconds, errors, *_straight(sizes, seconds))

    def at(self, size: int) -> Seconds:
        """What so many examples take. Raises UsageError beyond REACH times what was timed."""
        place = bisect_left(self.sizes, size)
        if place < len(self.sizes) and self.sizes[place] == size:
            return Seconds(self.seconds[place], self.errors[place])
        first, last = self.sizes[0], self.sizes[-1]
        if not first / REACH <= size <= last * REACH:
            raise UsageError(
                f"{self.what} of {size:,} examples: of {self._range} were timed, and beyond twice "
                "that nothing is known"
            )
        if first < size < last:
            return self._between(place, size)
        return self._beyond(first if size < first else last, size)

    @property
    def _range(self) -> str:
        first, last = self.sizes[0], self.sizes[-1]
        return f"{first:,}" if first == last else f"{first:,} to {last:,}"

    def _between(self, place: int, size: int) -> Seconds:
        error = max(self.errors[place - 1 : place + 1])
        if self.line is not None:
            return Seconds(self._on_line(size), hypot(error, self.misfit), known=False)
        (before, below), (after, above) = (
            (self.sizes[n], self.seconds[n]) for n in (place - 1, place)
        )
        along = (size - before) / (after - before)
        value = below + along * (above - below)
        # Where the table is no line, how it bends between two of its rows isn't known either.
        bend = abs(log(above / below)) * along * (1 - along) / 2
        return Seconds(value, hypot(error, bend), known=False)

    def _beyond(self, end: int, size: int) -> Seconds:
        """From the end of what was timed: along the line, or, where there is none, half way between
        as long as that and in proportion."""
        there = self.seconds[self.sizes.index(end)]
        if self.line is not None and len(self.sizes) > 2:
            value = there * self._on_line(size) / self._on_line(end)
        else:
            value = there * sqrt(size / end)
        error = hypot(self.errors[self.sizes.index(end)], _BEYOND * abs(log(size / end)))
        note = (
            f"{self.what.capitalize()} of {size:,} examples were not timed: their seconds are "
            f"extrapolated from those of {self._range}."
        )
        return Seconds(value, error, known=False, note=note, outside=True)

    def _on_line(self, size: int) -> float:
        assert self.line is not None
        return self.line[0] + self.line[1] * size


def _straight(
    sizes: tuple[int, ...], seconds: tuple[float, ...]
) -> tuple[tuple[float, float] | None, float]:
    """The line of no negative seconds that is off by the least shares, if it is off by no more than
    STRAIGHT anywhere; and its misfit."""
    if len(sizes) < 2:
        return None, 0.0
    times = np.array(seconds)
    shares = np.column_stack([np.ones(len(sizes)), np.array(sizes, dtype=float)]) / times[:, None]
    (start, slope), _ = nnls(shares, np.ones(len(sizes)))
    off = np.log(start + slope * np.array(sizes)) - np.log(times)
    if np.abs(off).max() > log(1 + STRAIGHT):
        return None, 0.0
    return (float(start), float(slope)), sqrt(float(off @ off) / max(len(sizes) - 2, 1))


def spanning(low: float, high: float) -> tuple[float, float]:
    """The middle, and the standard deviation of the logarithm, of seconds whose 90 % interval is to
    reach from one of these to the other."""
    return sqrt(low * high), log(high / low) / 2 / REACH_90 if high > low else 0.0


def weighted_error(parts: Iterable[Seconds]) -> float:
    """The error of a sum whose parts err independently."""
    told = [(one.value, one.error) for one in parts]
    total = sum(value for value, _ in told)
    return sqrt(sum((value * error) ** 2 for value, error in told)) / total if total else 0.0
