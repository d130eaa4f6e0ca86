"""The one definition of a median, of steps to target, where some runs never got there; and how far
it scatters."""

import statistics
from collections.abc import Iterable
from math import pi


def median(values: Iterable[float]) -> float:
    """The median of one value or more, with infinity for whatever did not reach its goal.

    Of an even number it is the mean of the two in the middle, so infinite where one of them is: a
    goal that only half of the runs reach has no median number of steps. A whole number is an int.
    """
    return exact(statistics.median(values))


def exact(value: float) -> float:
    """The same number, as an int where it is whole: steps are counted, only means of them not."""
    return int(value) if float(value).is_integer() else value


def variance_of_median(count: int) -> float:
    """The variance of the median of so many standard normal numbers: exact for one, and within 2 %
    for odd counts."""
    return pi / 2 / (count + pi / 2 - 1)
