"""Log steps to target as a Gaussian process about its shape, and the parameters of both."""

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from batchfront.surrogate.process import (
    JITTER,
    Bounds,
    Cavities,
    Posterior,
    Sites,
    matern,
    propagate,
    squared_distances,
)
from batchfront.surrogate.shape import AMPLITUDE, EDGE, GAP, NOISE, Placed, Shape

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEVEL = 1.0  # standard deviation of the constant around what the data say at first
_BY_SIZE, _SIZE_LENGTH = 0.3, 2.5  # amplitude of what depends on log B alone, and its length

_EDGE, _EDGE_LENGTH = 0.9, 2.5  # how far the edge may be off, and the length along log B

_SCANNED = (-1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6)  # edges, in prior deviations
_STARTS = 2  # of those, to begin from
_ITERATIONS = (8, 12)  # of L-BFGS, between which the sites are found anew

_UNKNOWN = 5.0  # log steps where nothing at all is known


@dataclass(frozen=True)
class Told:
    """What n trials have shown: log batch sizes [n], coordinates [n, columns], log steps [n]; which
    have reached the goal, and which are infeasible."""

    b: Array
    x: Array
    y: Array
    reached: Mask
    infeasible: Mask

    def only(self, which: Mask | NDArray[np.intp]) -> "Told":
        """Some of them."""
        return Told(
            self.b[which],
            self.x[which],
            self.y[which],
            self.reached[which],
            self.infeasible[which],
        )


class StepsPosterior:
    """Log steps to target, given parameters and what trials have shown."""

    def __init__(self, problem: "Problem", theta: Array) -> None:
        self.shape, self.theta, self._offset = problem.shape, theta, problem.offset
        self._at = problem.placed(theta)
        sites, _ = problem.sites(theta)
        mean = self._at.mean + self._offset
        self._posterior = Posterior(_own_kernel(self._at), mean, sites)

    @property
    def noise(self) -> float:
        """The standard deviation of one run's log steps around the expected ones."""
        return exp(self.theta[NOISE])

    def place(self, b: Array, x: Array) -> Placed:
        """Points in the coordinates of the estimated shape."""
        return Placed(self.shape, self.theta, b, x)

    def mean(self, points: Placed) -> Array:
        """[n]"""
        return self._posterior.mean(_kernel(points, self._at), points.mean + self._offset)

    def covariance(self, points: Placed) -> Array:
        """[n, n]"""
        return self._posterior.covariance(_kernel(points, self._at), _kernel(points, points))


class Problem:
    """Finding the parameters that are likely after what trials have shown (maximum a posteriori).

    The sites of bounds are found by expectation propagation and then held fixed, as the gradient of
    its evidence allows at its fixed point (Rasmussen & Williams 2006, section 5.5.2).
    """

    def __init__(self, shape: Shape, told: Told) -> None:
        self.shape = shape
        self._sized = told.only(~told.infeasible)
        self._settled = told.only(told.reached | told.infeasible)
        self._bounded = np.flatnonzero(~self._sized.reached)
        self.offset = self._guessed()

    def estimate(self) -> Array:
        """Estimate the parameters."""
        begun = []
        for edge in _SCANNED:
            theta = self.shape.mean.copy()
            theta[EDGE] += edge * self.shape.sd[EDGE]
            begun.append(theta)
        begun.sort(key=self._unlikely)
        ended = [self._descend(theta) for theta in begun[:_STARTS]]
        return min(ended, key=self._unlikely)

    def placed(self, theta: Array) -> Placed:
        """The trials that say something of steps, in the coordinates of the shape."""
        return Placed(self.shape, theta, self._sized.b, self._sized.x)

    def sites(self, theta: Array, begun: Sites | None = None) -> tuple[Sites, Cavities]:
        """The sites of those trials, and the cavities of the bounds among them."""
        at = self.placed(theta)
        known, bounds = self._known(theta), self._bounds(theta)
        return propagate(_own_kernel(at), at.mean + self.offset, known, bounds, begun)

    def _guessed(self) -> float:
        """The constant, roughly: from what reached the goal, else above all bounds."""
        if not len(self._sized.y):
            return _UNKNOWN
        rest = self._sized.y - self.placed(self.shape.mean).mean
        reached = self._sized.reached
        return float(np.median(rest[reached]) if reached.any() else rest.max() + 0.5)

    def _known(self, theta: Array) -> Sites:
        precision = np.where(self._sized.reached, exp(-2 * theta[NOISE]), 0.0)
        return Sites(precision, precision * self._sized.y)

    def _bounds(self, theta: Array) -> Bounds:
        at = self._bounded
        return Bounds(at, np.ones(len(at)), self._sized.y[at], exp(theta[NOISE]))

    def _descend(self, theta: Array) -> Array:
        sites: Sites | None = None
        for iterations in _ITERATIONS:
            sites, cavities = self.sites(theta, sites)
            found = minimize(
                self._objective,
                theta,
                (sites, cavities),
                "L-BFGS-B",
                jac=True,
                options={"maxiter": iterations},
            )
            theta = self.shape.within(found.x)
        return theta

    def _objective(self, theta: Array, sites: Sites, cavities: Cavities) -> tuple[float, Array]:
        """Minus the log posterior of the parameters, and its gradient."""
        value, gradient = self.shape.penalty(theta)
        for part, by in (self._broken(theta), self._fit(theta, sites, cavities)):
            value, gradient = value + part, gradient + by
        return value, gradient

    def _fit(self, theta: Array, sites: Sites, cavities: Cavities) -> tuple[float, Array]:
        """Minus the log evidence of the steps."""
        at, reached = self.placed(theta), self._sized.reached
        amplitude, noise = exp(2 * theta[AMPLITUDE]), exp(theta[NOISE])
        correlation, slope = matern(squared_distances(at.features, at.features))
        kernel = amplitude * correlation + _size_kernel(at.b, at.b)
        edges = _edge_kernel(at.b, at.b)
        kernel += edges * at.by_edge[:, None] * at.by_edge[None]
        kernel[np.diag_indices_from(kernel)] += JITTER
        known = self._known(theta)
        sites = Sites(
            np.where(reached, known.precision, sites.precision),
            np.where(reached, known.shift, sites.shift),
        )
        mean = at.mean + self.offset
        posterior = Posterior(kernel, mean, sites)
        weights = posterior.weights
        value = 0.5 * float((sites.shift / sites.precision - mean) @ weights)
        value += posterior.half_log_determinant + float(reached.sum()) * theta[NOISE]
        by_kernel = 0.5 * (posterior.inverse() - weights[:, None] * weights[None])
        near = amplitude * by_kernel * slope
        by_features = 4 * (near.sum(1)[:, None] * at.features - near @ at.features)
        by_edge = 2 * (by_kernel * edges) @ at.by_edge
        gradient = at.gradient(-weights, by_features, np.zeros(len(weights)), by_edge)
        gradient[AMPLITUDE] += 2 * amplitude * float((by_kernel * correlation).sum())
        gradient[NOISE] += 2 * noise**2 * float(np.diag(by_kernel)[reached].sum())
        likely, by_noise = cavities.log_likelihood(self._bounds(theta), noise)
        gradient[NOISE] -= by_noise
        return value - likely, gradient

    def _broken(self, theta: Array) -> tuple[float, Array]:
        """Minus the log likelihood, by the shape alone, of what broke and what didn't."""
        at = Placed(self.shape, theta, self._settled.b, self._settled.x)
        works = at.works()
        breaks = np.log(-np.expm1(works.log))
        broke = self._settled.infeasible
        value = -float(np.where(broke, breaks, works.log).sum())
        by = np.where(broke, np.exp(works.log - breaks), -1.0)
        nothing = np.zeros(len(by))
        gradient = at.gradient(nothing, np.zeros_like(at.features), by * works.by_t, nothing)
        gradient[GAP] += float(by @ works.by_gap)
        return value, gradient

    def _unlikely(self, theta: Array) -> float:
        """Roughly minus the log posterior, the bounds taken one by one: for comparing
        parameters."""
        value = self.shape.penalty(theta)[0] + self._broken(theta)[0]
        at, reached = self.placed(theta), self._sized.reached
        kernel, mean = _own_kernel(at), at.mean + self.offset
        posterior = Posterior(kernel, mean, self._known(theta))
        value += 0.5 * float((self._sized.y - mean)[reached] @ posterior.weights[reached])
        value += posterior.half_log_determinant + float(reached.sum()) * theta[NOISE]
        open_ = self._bounded
        variance = posterior.variance(kernel[open_], kernel[open_, open_])
        above = posterior.mean(kernel[open_], mean[open_]) - self._sized.y[open_]
        value -= float(log_ndtr(above / np.sqrt(variance + exp(2 * theta[NOISE]))).sum())
        return float(value)


def _kernel(p: Placed, q: Placed) -> Array:
    """The prior covariance of log steps between points, [n, m]."""
    correlation, _ = matern(squared_distances(p.features, q.features))
    found: Array = exp(2 * p.theta[AMPLITUDE]) * correlation + _size_kernel(p.b, q.b)
    return found + _edge_kernel(p.b, q.b) * p.by_edge[:, None] * q.by_edge[None]


def _own_kernel(p: Placed) -> Array:
    found = _kernel(p, p)
    found[np.diag_indices_from(found)] += JITTER
    return found


def _size_kernel(a: Array, b: Array) -> Array:
    """Of the constant, and of what depends on the batch size alone."""
    apart = (a[:, None] - b[None]) / _SIZE_LENGTH
    found: Array = _LEVEL**2 + _BY_SIZE**2 * matern(apart**2)[0]
    return found


def _edge_kernel(a: Array, b: Array) -> Array:
    """Of how far the edge is off what its parameters say."""
    apart = (a[:, None] - b[None]) / _EDGE_LENGTH
    found: Array = _EDGE**2 * matern(apart**2)[0]
    return found
