"""A weighted sample of the curves that the points allow, of which intervals are quantiles.

Two or three parameters, the noise and the choice of the form are all estimated from few points, and
some of them hardly at all, which a bootstrap of the best fit understates. So curves are drawn from
their posterior distribution. A twelfth of the prior weight is on the two-parameter form, the rest
even over log α; over log B_c it is Jeffreys' prior, which vanishes where no batch size measured
could tell one B_c from another; over log S_min it is even. How often such intervals hold the truth
is measured by `tests/benchmarks/curve_coverage.py`, beside those of the bootstrap.

The draws are importance samples on a low-discrepancy sequence: the same points give the same.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from service.scaling.forms import ALPHAS, Array, Shapes
from service.scaling.noise import FINEST, FREEDOM, log_likelihood, pulls
from service.scaling.proposal import propose

DRAWS = 4096
"""How many curves a sample has."""

_ENOUGH = 100.0  # even draws that a sample is to be worth
_HARDER = ((DRAWS, 1.0), (8 * DRAWS, 1.0), (8 * DRAWS, 4.0), (8 * DRAWS, 16.0), (8 * DRAWS, 64.0))
# Four or five points with hardly any noise leave so narrow a ridge of curves that few draws carry
# the weight. Then more are drawn, and if need be with more noise than the points show.


@dataclass(frozen=True)
class Sample:
    """k weighted curves; all arrays have the length k, `pulls` (k, n).

    weights -- sum to 1
    new     -- log steps of a new measurement, relative to its curve
    pulls   -- how each curve's log likelihood changes with the log steps of each point
    """

    shapes: Shapes
    log_s_min: Array
    log_scale: Array
    weights: Array
    new: Array
    pulls: Array

    @property
    def worth(self) -> float:
        """How many draws of even weight are as good (Kish 1965)."""
        return float(1 / np.sum(self.weights**2))

    def quantiles(self, values: Array, levels: tuple[float, ...]) -> Array:
        """Weighted quantiles of a value per curve, (k,), or of several, (k, m)."""
        table = values.reshape(len(values), -1)
        found = np.empty((len(levels), table.shape[1]))
        for column, ranked in enumerate(np.argsort(table, axis=0).T):
            weights = self.weights[ranked]
            middles = np.cumsum(weights) - weights / 2
            found[:, column] = np.interp(levels, middles, table[ranked, column])
        return found.reshape(len(levels), *values.shape[1:])

    def given(self, allowed: NDArray[np.bool_], least: float) -> "Sample | None":
        """Only the curves that are allowed, (k,); None where they have less weight than this
        in all."""
        if allowed.all():
            return self
        kept = np.where(allowed, self.weights, 0.0)
        return replace(self, weights=kept / kept.sum()) if kept.sum() >= least else None

    def median(self, log_batch: Array) -> Array:
        """The median of log steps at each batch size, (m,)."""
        found: Array = self.quantiles(self.log_steps(log_batch), (0.5,))[0]
        return found

    def log_steps(self, log_batch: Array) -> Array:
        """Of every curve at every batch size, (k, m)."""
        return self.shapes.log_steps(log_batch) + self.log_s_min[:, None]

    def influence(self, values: Array) -> Array:
        """How the mean of a value would move with the log steps of each point, (n,): its
        covariance with their pulls."""
        return (self.weights * (values - self.weights @ values)) @ self.pulls


def draw(log_batch: Array, log_steps: Array, finest: float = FINEST) -> Sample:
    """Curves by how well they fit these points, whose noise has at least the scale `finest`."""
    for count, coarser in _HARDER:
        sample = _draw(count, log_batch, log_steps, coarser * finest)
        if sample.worth >= _ENOUGH:
            break
    return sample


def _draw(count: int, log_batch: Array, log_steps: Array, finest: float) -> Sample:
    uniform = _low_discrepancy(count, 6)
    drawn = propose(log_batch, log_steps, uniform[:, :5], finest)
    scale = np.exp(drawn.log_scale)
    curves = drawn.shapes.log_steps(log_batch) + drawn.log_s_min[:, None]
    scaled = (log_steps - curves) / scale[:, None]
    log_weights = log_likelihood(scaled, drawn.log_scale) + drawn.log_prior - drawn.log_density
    alpha = drawn.shapes.alpha
    inside = (alpha >= ALPHAS[0]) & (alpha <= ALPHAS[1]) & (scale >= finest)
    log_weights = np.where(inside, log_weights, -np.inf)
    weights = np.exp(log_weights - log_weights.max())
    return Sample(
        drawn.shapes,
        drawn.log_s_min,
        drawn.log_scale,
        weights / weights.sum(),
        stdtrit(FREEDOM, uniform[:, 5]) * scale,
        pulls(scaled, drawn.log_scale),
    )


def _low_discrepancy(count: int, dimensions: int) -> Array:
    """Points in the open unit cube, (count, dimensions): Kronecker's sequence over the powers of
    the root of x^(d+1) = x + 1."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    points: Array = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1
    return points
