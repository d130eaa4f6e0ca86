"""Whether training works: a second latent Gaussian process, of which only signs are seen."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from batchfront.surrogate.process import (
    JITTER,
    Bounds,
    Posterior,
    Sites,
    matern,
    propagate,
    squared_distances,
)
from batchfront.surrogate.shape import Placed

Array = NDArray[np.float64]

_AMPLITUDE = 0.8

_SURE = 1e-4  # the shape alone is never surer than this


class Feasibility:
    """The probability that training works, after trials that reached the goal or broke.

    Its mean is the probit of what the shape of log steps says, whose coordinates it shares: where
    training breaks lies near where it is fastest, and moves with the batch size alike. A trial
    that was capped says nothing of whether it would have worked.
    """

    def __init__(self, trials: Placed, infeasible: NDArray[np.bool_]) -> None:
        self._at = trials
        count = len(infeasible)
        kernel = _kernel(trials, trials)
        kernel[np.diag_indices_from(kernel)] += JITTER
        sign = np.where(infeasible, -1.0, 1.0)
        signs = Bounds(np.arange(count), sign, np.zeros(count), 1.0)
        nothing = Sites(np.zeros(count), np.zeros(count))
        mean = _mean(trials)
        sites, _ = propagate(kernel, mean, nothing, signs)
        self._posterior = Posterior(kernel, mean, sites)

    def log_probability(self, points: Placed) -> Array:
        """[n]"""
        cross = _kernel(points, self._at)
        mean = self._posterior.mean(cross, _mean(points))
        variance = self._posterior.variance(cross, np.full(len(mean), _AMPLITUDE**2))
        found: Array = log_ndtr(mean / np.sqrt(1.0 + variance))
        return np.maximum(found, -30.0)


def _kernel(p: Placed, q: Placed) -> Array:
    return _AMPLITUDE**2 * matern(squared_distances(p.features, q.features))[0]


def _mean(points: Placed) -> Array:
    works = np.clip(np.exp(points.works().log), _SURE, 1 - _SURE)
    found: Array = ndtri(works) * np.sqrt(1 + _AMPLITUDE**2)
    return found
