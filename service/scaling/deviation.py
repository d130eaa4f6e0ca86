"""Where the points leave the curve together: what neighbours share of their distances from it.

Noise is each point's own. Where neighbouring points lie to one side, the form of the curve is wrong
there, and between them a new point is to be looked for beside them rather than on the curve. So the
distances are split into noise and a process whose correlation falls off exponentially with the
distance in log batch size (Ornstein and Uhlenbeck; its best guess between two points is close to
the straight line through them). How much of the variance is shared, and over which distance, is
averaged by restricted likelihood (Patterson and Thompson 1971), which allows for what the curve's
parameters have already taken up.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from service.scaling.forms import Array
from service.scaling.noise import FINEST

_SHARES = (0.5, 0.9, 0.98)  # of the variance, that neighbours share
_RANGES = (4.0, 12.0)  # over which it is shared, in median distances of neighbours
_NONE = 0.1  # how likely it is beforehand that nothing is: no form is quite right


@dataclass(frozen=True)
class _Sharing:
    """One split, with its probability, and the inverse of the correlation of the points."""

    share: float
    reach: float
    belief: float
    inverse: Array


@dataclass(frozen=True)
class Deviation:
    """How the points leave the curve.

    total    -- the standard deviation of log steps around the curve
    evidence -- how much likelier the points are if neighbours share some of it (Bayes' factor)
    share    -- the part of the variance that they share, on average
    """

    total: float
    evidence: float
    share: float
    _at: Array
    _sharings: tuple[_Sharing, ...]

    @property
    def shared(self) -> float:
        """The standard deviation of what neighbours share."""
        return self.total * sqrt(self.share)

    def guess(self, log_batch: Array) -> tuple[Array, Array]:
        """How to weigh the points' distances at q batch sizes, (q, m), and the variance that is
        left there of what neighbours share, (q,), as a part of the total one."""
        weights = np.zeros((len(log_batch), len(self._at)))
        left = np.zeros(len(log_batch))
        for one in self._sharings:
            near = one.share * _correlation(log_batch, self._at, one.reach)
            some = near @ one.inverse
            weights += one.belief * some
            left += one.belief * np.maximum(one.share - np.einsum("ij,ij->i", some, near), 0)
        return weights, left


def deviation(log_batch: Array, distances: Array, tangents: Array, error: float) -> Deviation:
    """Split the distances of log steps from a curve, (m,), at distinct rising batch sizes.

    tangents -- how the curve would move with each of its parameters, (m, p)
    error    -- the part of the noise that is known; 0 if nothing is
    """
    count = len(log_batch)
    basis, sizes, _ = np.linalg.svd(tangents, full_matrices=False)
    basis = basis[:, sizes > 1e-6 * sizes[0]]
    freedom = count - basis.shape[1]
    left = distances - basis @ (basis.T @ distances)
    total = max(sqrt(float(left @ left) / max(freedom, 1)), FINEST, error)
    if freedom < 2:
        return Deviation(total, 1.0, 0.0, log_batch, ())
    most = 1 - (error / total) ** 2
    step = float(np.median(np.diff(log_batch)))
    splits = [(s, r * step) for s in _SHARES if s <= most for r in _RANGES]
    likely = [_log_likelihood(np.eye(count), basis, distances, freedom)]
    found: list[Array] = []
    for share, reach in splits:
        matrix = (1 - share) * np.eye(count) + share * _correlation(log_batch, log_batch, reach)
        likely.append(_log_likelihood(matrix, basis, distances, freedom))
        found.append(np.asarray(np.linalg.inv(matrix), dtype=np.float64))
    prior = np.array([_NONE, *[(1 - _NONE) / max(len(splits), 1)] * len(splits)])
    likelihoods = np.exp(np.array(likely) - max(likely))
    weights = prior * likelihoods
    beliefs = [float(one) for one in weights[1:] / weights.sum()]
    sharings = tuple(
        _Sharing(share, reach, belief, inverse)
        for (share, reach), belief, inverse in zip(splits, beliefs, found, strict=True)
    )
    shared = sum(one.belief * one.share for one in sharings)
    evidence = float(likelihoods[1:].mean() / likelihoods[0]) if splits else 1.0
    return Deviation(total, evidence, shared, log_batch, sharings)


def _correlation(log_batch: Array, others: Array, reach: float) -> Array:
    found: Array = np.exp(-np.abs(log_batch[:, None] - others) / reach)
    return found


def _log_likelihood(matrix: Array, basis: Array, distances: Array, freedom: int) -> float:
    """The restricted log likelihood of a correlation, the variance being integrated out."""
    root = np.linalg.cholesky(matrix)
    of_basis, size = np.linalg.qr(np.linalg.solve(root, basis))
    left = np.linalg.solve(root, distances)
    left -= of_basis @ (of_basis.T @ left)
    squares = float(left @ left) + len(distances) * FINEST**2
    determinants = np.log(np.diag(root)).sum() + np.log(np.abs(np.diag(size))).sum()
    return -float(determinants) - freedom / 2 * log(squares)
