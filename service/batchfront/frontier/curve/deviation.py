"""Where the points leave the curve together: what neighbours share of their distances from it.

Noise is each point's own. Where neighbouring points lie to one side, the form of the curve is wrong
there, and between them a new point is to be looked for beside them rather than on the curve. So the
distances are split into noise and a process whose correlation falls off exponentially with the
distance in log batch size (Ornstein and Uhlenbeck; its best guess between two points is close to
the straight line through them). How much of the variance is shared, and over which distance, is
averaged by restricted likelihood (Patterson and Thompson 1971), which allows for what the curve's
parameters have already taken up.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log, sqrt

import numpy as np

from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Array
from batchfront.frontier.curve.noise import FINEST
from batchfront.median import median, variance_of_median

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


@dataclass(frozen=True)
class Replicates:
    """How repeated measurements differ.

    error   -- the standard error of a point's log steps
    freedom -- the measurements beyond the first of each batch size, which the spread is known by
    """

    error: float
    freedom: int


def replicates(observations: Sequence[Observation]) -> Replicates | None:
    """The spread of repeated measurements; None where there are none."""
    groups: dict[int, list[float]] = defaultdict(list)
    for seen in observations:
        groups[seen.batch_size] += _finite_logs(seen.seeds) or [log(seen.middle)]
    freedom = sum(len(group) - 1 for group in groups.values())
    if freedom == 0:
        return None
    variance = sum(len(group) * float(np.var(group)) for group in groups.values()) / freedom
    of_points = np.mean([variance_of_median(max(len(seen.seeds), 1)) for seen in observations])
    return Replicates(sqrt(variance * float(of_points)), freedom)


def _finite_logs(seeds: Sequence[float]) -> list[float]:
    """Log steps, those that did not reach the goal as far above the median as the fastest lie
    below it."""
    steps = [log(one) if isfinite(one) else one for one in sorted(seeds)]
    middle = median(steps) if steps else 0.0
    pairs = zip(steps, reversed(steps), strict=True)
    return [one if isfinite(one) else 2 * middle - mirrored for one, mirrored in pairs]


_SIGNIFICANT = 16.0  # how much better rising steps fit, in units of the noise's variance

_LEAST_RISE = log(1.1)  # what less would hardly matter

_MATTERS = _LEAST_RISE / 2  # of a batch size that is to count as worse than the best


def rises_from(log_steps: Array, noise: float) -> int | None:
    """The index of the first batch size that is worse than the best; None where none is.

    log_steps -- at rising batch sizes, (m,)
    noise     -- the standard deviation of each
    """
    fits = [
        np.concatenate([_falling(log_steps[:split]), -_falling(-log_steps[split:])])
        for split in range(1, len(log_steps) + 1)
    ]
    squares = [float(np.sum((log_steps - fit) ** 2)) for fit in fits]
    best = fits[int(np.argmin(squares))]
    better = squares[-1] - min(squares)
    if better < _SIGNIFICANT * noise**2 or best[-1] - best.min() < _LEAST_RISE:
        return None
    higher = best > best.min() + max(noise / 2, _MATTERS)
    return int(np.flatnonzero(~higher)[-1]) + 1


def own_noise(log_batch: Array, log_steps: Array) -> float:
    """The standard deviation of log steps, at four batch sizes or more, by how far each point lies
    from the straight line through its neighbours (Gasser, Sroka and Jennen-Steinmetz 1986). Their
    median, so that a step in one place is none; a little more where there are few."""
    width = log_batch[2:] - log_batch[:-2]
    before, after = np.diff(log_batch)[1:] / width, np.diff(log_batch)[:-1] / width
    line = before * log_steps[:-2] + after * log_steps[2:]
    found = np.abs(log_steps[1:-1] - line) / np.sqrt(1 + before**2 + after**2)
    return max(float(np.median(found)) / 0.6745 * (1 + 2 / len(found)), FINEST)


def _falling(values: Array) -> Array:
    """The falling values nearest to these, by least squares."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (low, few), (high, many) = blocks[-2:]
            blocks[-2:] = [((low * few + high * many) / (few + many), few + many)]
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
