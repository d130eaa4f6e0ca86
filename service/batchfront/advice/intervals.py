"""A positive number with its 90 % interval, and what becomes of it under multiplication."""

from dataclasses import dataclass
from math import exp, hypot, inf, log
from statistics import NormalDist
from typing import Self

REACH_90 = NormalDist().inv_cdf(0.95)
"""Standard deviations on either side, of a 90 % interval."""


@dataclass(frozen=True)
class Interval:
    """A positive number that is known to within its 90 % interval.

    On either side of the median its logarithm is taken to be normal, so that the two sides may
    differ in width.
    """

    median: float
    low: float
    high: float

    @classmethod
    def around(cls, median: float, error: float = 0.0) -> Self:
        """A number whose logarithm has the standard deviation `error`."""
        far = exp(REACH_90 * error)
        return cls(median, median / far, median * far)

    def times(self, factor: float) -> "Interval":
        """Its multiple by a number that is known."""
        return Interval(self.median * factor, self.low * factor, self.high * factor)

    def product(self, other: "Interval") -> "Interval":
        """The product with a number whose error is independent of this one's: the widths of the
        logarithms add up in quadrature, on each side."""
        middle = self.median * other.median
        below = hypot(log(self.median / self.low), log(other.median / other.low))
        above = hypot(log(self.high / self.median), log(other.high / other.median))
        return Interval(middle, middle * exp(-below), middle * exp(above))

    def blurred(self, error: float) -> "Interval":
        """The same number with a further, independent error of its logarithm."""
        return self.product(Interval.around(1.0, error))

    def plus(self, other: float, error: float) -> "Interval":
        """The sum with a number whose independent error, of its logarithm, is small: what errors
        of the sum's logarithm come of either part goes by its share of the sum."""
        middle = self.median + other
        mine, share = self.median / middle, other / middle
        extra = share * error * REACH_90
        below = hypot(mine * log(self.median / self.low), extra)
        above = hypot(mine * log(self.high / self.median), extra)
        return Interval(middle, middle * exp(-below), middle * exp(above))

    def chance_below(self, value: float) -> float:
        """The probability that the number is at most `value`."""
        if self.median == 0 or value <= 0:
            return 1.0 if value >= self.median else 0.0
        end = self.low if value < self.median else self.high
        width = abs(log(end / self.median)) / REACH_90
        away = log(value / self.median)
        if width == 0:
            return NormalDist().cdf(inf if away >= 0 else -inf)
        return NormalDist().cdf(away / width)

    def to_dict(self) -> dict[str, float]:
        """The number and its ends as plain data."""
        return {"median": self.median, "low": self.low, "high": self.high}
