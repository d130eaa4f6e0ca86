"""Log steps as a parabola in metaparameters, of one curvature and a bottom at each batch size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR = 2
"""A trial weighs as this power of the fewest steps over its own: far from the best, the steps go
with metaparameters in another way, if at all."""


@dataclass(frozen=True)
class Parabola:
    """Its bottoms at B batch sizes in D coordinates, by weighted least squares.

    bottoms      -- [B, D]
    bowl         -- whether it is curved upwards in every direction, so that there are bottoms
    t_statistics -- of each coordinate, how many standard errors the curvature in it is above 0:
                    with the others at their best, if it is a bowl, and else with the others as
                    they are
    jacobian     -- of the bottoms by the fitted parameters, [B, D, P]
    errors       -- covariance of these, [P, P], whatever the errors of single trials are like
                    (White 1980, with the leverage taken out, HC3)
    """

    bottoms: Array
    bowl: bool
    t_statistics: list[float]
    jacobian: Array
    errors: Array

    def covariance(self, coordinate: int) -> Array:
        """Of the bottoms' errors in a coordinate, [B, B]: they share the curvature."""
        mine = self.jacobian[:, coordinate]
        return mine @ self.errors @ mine.T


def fit_parabola(samples: Sequence[tuple[Array, Array]]) -> Parabola | None:
    """Fit it to the samples of each batch size: coordinates [n, D] and log steps [n].

    log S = s_B + d_B z + z Q z / 2, so that the bottom is -Q^-1 d_B. Returns None where Q can't be
    told, as coordinates take too few values.
    """
    sizes, dims = len(samples), samples[0][0].shape[1]
    z = np.concatenate([coordinates for coordinates, _ in samples])
    middle, spread = z.mean(axis=0), z.std(axis=0)
    if not np.all(spread > 0):
        return None
    z = (z - middle) / spread
    y = np.concatenate([steps for _, steps in samples])
    group = np.repeat(np.arange(sizes), [len(steps) for _, steps in samples])
    weights = np.concatenate([np.exp(NEAR * (s.min() - s)) for _, s in samples])
    member = np.eye(sizes)[group]
    pairs = [(i, j) for i in range(dims) for j in range(i, dims)]
    bent = np.column_stack([z[:, i] * z[:, j] * (0.5 if i == j else 1.0) for i, j in pairs])
    slopes = (member[:, :, None] * z[:, None, :]).reshape(len(y), -1)
    design = np.column_stack([member, slopes, bent])
    if len(y) <= design.shape[1]:
        return None
    root = np.sqrt(weights)[:, None]
    if np.linalg.matrix_rank(design * root) < design.shape[1]:
        return None
    solve = np.linalg.pinv(design * root) * root.T  # [P, n]
    fitted = solve @ y
    leverage = np.einsum("np,pn->n", design, solve)
    left = (y - design @ fitted) / np.maximum(1 - leverage, 0.1)
    errors = (solve * left**2) @ solve.T
    first = sizes * (1 + dims)
    curvature = _symmetric(fitted[first:], pairs, dims)
    if np.linalg.cond(curvature) > 1e12:
        return None
    inverse = np.linalg.inv(curvature)
    units = [_symmetric(unit, pairs, dims) for unit in np.eye(len(pairs))]
    bottoms = -fitted[sizes:first].reshape(sizes, dims) @ inverse
    jacobian = np.zeros((sizes, dims, len(fitted)))
    for n, bottom in enumerate(bottoms):
        jacobian[n][:, sizes + n * dims : sizes + (n + 1) * dims] = -inverse
        for k, unit in enumerate(units):
            jacobian[n][:, first + k] = -inverse @ unit @ bottom
    bowl = bool(np.all(np.linalg.eigvalsh(curvature) > 0))
    ways = inverse / np.diag(inverse) if bowl else np.eye(dims)
    t_statistics = [_t_statistic(way, curvature, units, errors[first:, first:]) for way in ways.T]
    jacobian = jacobian * spread[:, None]
    return Parabola(bottoms * spread + middle, bowl, t_statistics, jacobian, errors)


def _symmetric(upper: Array, pairs: Sequence[tuple[int, int]], dims: int) -> Array:
    found = np.zeros((dims, dims))
    for value, (i, j) in zip(upper, pairs, strict=True):
        found[i, j] = found[j, i] = value
    return found


def _t_statistic(way: Array, curvature: Array, units: Sequence[Array], errors: Array) -> float:
    """The curvature along a way in its standard errors."""
    gradient = np.array([way @ unit @ way for unit in units])
    error = float(np.sqrt(max(gradient @ errors @ gradient, 0.0)))
    return float(way @ curvature @ way) / max(error, 1e-300)
