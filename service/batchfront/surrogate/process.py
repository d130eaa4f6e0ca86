"""A Gaussian process of which some observations are only bounds: expectation propagation (EP).

Each observation is represented by a *site*, a Gaussian in the latent value there: of a value with
noise that is exact, of a bound it is what expectation propagation makes of it (Rasmussen & Williams
2006, section 3.6), for all bounds at once.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import log_ndtr

Array = NDArray[np.float64]

JITTER = 1e-6
"""What is added to the variance of a latent value, so that equal points can be told apart."""

_ROUNDS = 8  # of expectation propagation; about five are enough

_DAMPING = 0.8  # of the way to the new sites that a round goes

_CLOSE = 1e-3  # a round that moves all sites by less is the last

_LEAST = 1e-8  # precision of a site


def matern(squared: Array) -> tuple[Array, Array]:
    """The Matérn 5/2 kernel of squared distances, and its derivative with respect to them."""
    r = np.sqrt(5.0 * squared)
    decay = np.exp(-r)
    bent = (1.0 + r) * decay
    return bent + r * r / 3.0 * decay, (-5.0 / 6.0) * bent


def squared_distances(a: Array, b: Array) -> Array:
    """Squared distances between the rows of [n, d] and [m, d], [n, m]."""
    found = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * (a @ b.T)
    distances: Array = np.maximum(found, 0.0)
    return distances


def mills(z: Array) -> Array:
    """The normal density over the normal distribution, the derivative of `log_ndtr`."""
    found: Array = np.exp(-0.5 * z * z - log_ndtr(z)) / sqrt(2 * pi)
    return found


class Sites(NamedTuple):
    """Gaussians in the latent values of n points: precision, and precision times mean."""

    precision: Array
    shift: Array


@dataclass(frozen=True)
class Bounds:
    """Latent values that, with noise, lie above or below something.

    at        -- which of the points, [k]
    sign      -- 1 above, -1 below, [k]
    deviation -- of the noise
    """

    at: NDArray[np.intp]
    sign: Array
    value: Array
    deviation: float


class Cavities(NamedTuple):
    """What all other observations say of the latent value at each bound, [k]."""

    mean: Array
    variance: Array

    def log_likelihood(self, bounds: Bounds, deviation: float) -> tuple[float, float]:
        """How likely the bounds are if the noise has some deviation, and the derivative by the
        logarithm of the deviation."""
        total = self.variance + deviation**2
        z = bounds.sign * (self.mean - bounds.value) / np.sqrt(total)
        slope = -(mills(z) * z * deviation**2 / total).sum()
        return float(log_ndtr(z).sum()), float(slope)


class Posterior:
    """Of the latent values at n points, from a prior's kernel [n, n] and mean [n], and sites."""

    def __init__(self, kernel: Array, mean: Array, sites: Sites) -> None:
        self._root = np.sqrt(sites.precision)
        inner = kernel * self._root[:, None] * self._root[None]
        inner[np.diag_indices_from(inner)] += 1.0
        self._lower = cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
        rest = sites.shift - sites.precision * mean
        solved = cho_solve((self._lower, True), self._root * (kernel @ rest), check_finite=False)
        self.weights: Array = rest - self._root * solved
        """(K + T^-1)^-1 (site means - mean), of sites with precisions T, some of which may be 0."""

    @property
    def half_log_determinant(self) -> float:
        """Half the logarithm of the determinant of 1 + T K."""
        return float(np.log(np.diag(self._lower)).sum())

    def inverse(self) -> Array:
        """(K + T^-1)^-1, [n, n]"""
        found: Array = cho_solve((self._lower, True), np.diag(self._root), check_finite=False)
        return found * self._root[:, None]

    def mean(self, cross: Array, mean: Array) -> Array:
        """At m points, whose kernel with the n points is `cross` [m, n]."""
        found: Array = mean + cross @ self.weights
        return found

    def variance(self, cross: Array, prior: Array) -> Array:
        """Likewise; `prior` is [m]."""
        half = self._half(cross)
        found: Array = np.maximum(prior - (half * half).sum(0), 0.0)
        return found

    def covariance(self, cross: Array, prior: Array) -> Array:
        """Likewise; `prior` is [m, m]."""
        half = self._half(cross)
        found: Array = prior - half.T @ half
        return found

    def _half(self, cross: Array) -> Array:
        found: Array = solve_triangular(
            self._lower, self._root[:, None] * cross.T, lower=True, check_finite=False
        )
        return found


def propagate(
    kernel: Array, mean: Array, known: Sites, bounds: Bounds, begun: Sites | None = None
) -> tuple[Sites, Cavities]:
    """Find the sites of bounds by expectation propagation.

    known -- the sites of all n points; only those of the bounds change
    begun -- sites that are near

    Returns the sites of all points, and the cavities of the bounds.
    """
    at = bounds.at
    precision, shift = known.precision.copy(), known.shift.copy()
    precision[at], shift[at] = (begun.precision[at], begun.shift[at]) if begun else (0.0, 0.0)
    cavities = Cavities(mean[at], kernel[at, at])
    for _ in range(_ROUNDS if len(at) else 0):
        posterior = Posterior(kernel, mean, Sites(precision, shift))
        variance = np.maximum(posterior.variance(kernel[at], kernel[at, at]), 1e-9)
        middle = posterior.mean(kernel[at], mean[at])
        left = np.maximum(1.0 / variance - precision[at], 1e-6)  # precision of the cavity
        cavities = Cavities((middle / variance - shift[at]) / left, 1.0 / left)
        new = _matched(cavities, bounds)
        by = new.precision - precision[at], new.shift - shift[at]
        precision[at] += _DAMPING * by[0]
        shift[at] += _DAMPING * by[1]
        if max(np.abs(by[0]).max(), np.abs(by[1]).max()) < _CLOSE:
            break
    return Sites(precision, shift), cavities


def _matched(cavities: Cavities, bounds: Bounds) -> Sites:
    """The sites that leave mean and variance as the bounds do."""
    total = cavities.variance + bounds.deviation**2
    z = bounds.sign * (cavities.mean - bounds.value) / np.sqrt(total)
    ratio = mills(z)
    slope = bounds.sign * ratio / np.sqrt(total)  # of the log likelihood, by the cavity's mean
    bend = np.maximum(ratio * (z + ratio) / total, _LEAST)  # minus its second derivative
    kept = np.maximum(1.0 - bend * cavities.variance, 1e-6)  # of the cavity's variance
    return Sites(bend / kept, (slope + bend * cavities.mean) / kept)
