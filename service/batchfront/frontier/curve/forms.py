"""The two forms of the curve of steps against batch size, and what follows from one such curve.

    two parameters:    S(B) = S_min·(1 + B_c/B)          (McCandlish et al. 2018, arXiv 1812.06162)
    three parameters:  S(B) = a + b·B^-α = S_min·(1 + (B_c/B)^α)

The second holds the first at α = 1. Written with S_min = a and B_c = (b/a)^(1/α), both have the
same parameters with the same meanings: S_min is what no batch size gets below, and at the batch
size B_c, the half-efficiency batch size, steps are twice that.
"""

from dataclasses import dataclass
from enum import Enum
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

ALPHAS = (0.1, 2.0)
"""The exponents that are considered: perfect scaling is α = 1, and with α = 0.1 a doubling saves at
most 7 %."""

BEYOND = 64.0
"""How far the bend may lie outside the measured batch sizes: (B_c/B)^α is up to this there."""


class Form(Enum):
    """A form of the curve, named by what is fitted."""

    TWO_PARAMETERS = "S_min·(1 + B_c/B)"
    THREE_PARAMETERS = "a + b·B^-α"

    @property
    def parameters(self) -> int:
        """How many numbers a fit estimates; the noise is one of them."""
        return 3 if self is Form.TWO_PARAMETERS else 4


@dataclass(frozen=True)
class Places:
    """Where B_c is looked for: from so small that at the smallest batch size (B_c/B)^α is 1/BEYOND
    to so large that it is BEYOND at the largest. The slower the fall, the further that is, so that
    places are numbered from -1 to 1."""

    first: float
    last: float

    def log_half(self, place: Array, alpha: Array) -> Array:
        """log B_c of these places."""
        return (self.first + self.last) / 2 + place * self.stretch(alpha)

    def stretch(self, alpha: Array) -> Array:
        """How log B_c changes with the place."""
        return (self.last - self.first) / 2 + log(BEYOND) / alpha


@dataclass(frozen=True)
class Shapes:
    """Many curves at once, but for their height: log B_c and α, arrays of one shape (k,)."""

    log_half: Array
    alpha: Array

    def log_steps(self, log_batch: Array) -> Array:
        """log(S(B)/S_min) of every curve at every batch size: (k, n)."""
        return np.logaddexp(0.0, self._log_excess(log_batch))

    def slopes(self, log_batch: Array) -> Array:
        """How log steps change with log B_c, (k, n): from α where steps fall freely to 0."""
        slopes: Array = self.alpha[:, None] * expit(self._log_excess(log_batch))
        return slopes

    def slopes_by_alpha(self, log_batch: Array) -> Array:
        """How log steps change with α, (k, n)."""
        slopes: Array = self.slopes(log_batch) * (self.log_half[:, None] - log_batch)
        return slopes / self.alpha[:, None]

    def log_useful_until(self, share: float) -> Array:
        """The log of the batch size whose doubling saves `share` of its steps; -inf for a curve
        of which no doubling saves as much."""
        left = 1 - 2.0**-self.alpha - share
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = self.log_half + np.log(left / share) / self.alpha
        return np.where(left > 0, reached, -np.inf)

    def log_perfect_until(self, extra: float, log_from: float) -> Array:
        """The log of the largest batch size that takes at most 1 + `extra` times the examples that
        another one takes, by bisection: examples rise from there on for good."""
        begin = np.full_like(self.log_half, log_from)
        allowed = self._log_examples(begin) + np.log1p(extra)
        low, high = np.maximum(begin, self._log_fewest_examples()), allowed
        for _ in range(40):
            middle = (low + high) / 2
            fits = self._log_examples(middle) <= allowed
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return low

    def _log_excess(self, log_batch: Array) -> Array:
        return self.alpha[:, None] * (self.log_half[:, None] - log_batch)

    def _log_examples(self, log_batch: Array) -> Array:
        """log(B·S(B)/S_min) of each curve at a batch size of its own."""
        return log_batch + np.logaddexp(0.0, self.alpha * (self.log_half - log_batch))

    def _log_fewest_examples(self) -> Array:
        """Where examples stop falling: with α > 1 they do so at first, else never."""
        steep = np.maximum(self.alpha - 1, 1e-12)
        return np.where(self.alpha > 1, self.log_half + np.log(steep) / self.alpha, -np.inf)


TWO_PARAMETER_SHARE = 1 / 12
"""The weight of the two-parameter form; the rest is even over log α, so that the slow falls, whose
α differ by little, are not left out."""

SCALE_POWER = -0.75
"""The density of the noise's scale σ is σ to this power, between the two usual ones: with 1/σ the
intervals of six to eight points hold the truth a little too rarely, with an even one too often."""


@dataclass(frozen=True)
class Family:
    """One form, with the range of its α and the log of its density over log α."""

    form: Form
    alphas: tuple[float, float]
    log_density: float


FAMILIES = (
    Family(Form.TWO_PARAMETERS, (1.0, 1.0), log(TWO_PARAMETER_SHARE)),
    Family(
        Form.THREE_PARAMETERS, ALPHAS, log((1 - TWO_PARAMETER_SHARE) / log(ALPHAS[1] / ALPHAS[0]))
    ),
)


def log_jeffreys(shapes: Shapes, log_batch: Array) -> Array:
    """The log of Jeffreys' density over log B_c, (k,): of how much these batch sizes could tell
    about it, the height of the curve being unknown. It vanishes far outside them."""
    slopes = shapes.slopes(log_batch)
    found: Array = 0.5 * np.log(np.var(slopes, axis=1) + 1e-30)
    return found
