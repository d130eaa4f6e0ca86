"""A weighted sample of the curves that the points allow, of which intervals are quantiles.

Two or three parameters, the noise and the choice of the form are all estimated from few points, and
some of them hardly at all, which a bootstrap of the best fit understates. So curves are drawn from
their posterior distribution. A sixth of the prior weight is on the two-parameter form, the rest
even over α; over log B_c it is Jeffreys' prior, which vanishes where no batch size measured could
tell one B_c from another; over log S_min it is even. How often such intervals hold the truth is
measured by `tests/benchmarks/curve_coverage.py`, beside those of the bootstrap.

The draws are importance samples on a low-discrepancy sequence: the same points give the same.
"""

from dataclasses import dataclass, fields
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from service.scaling.fits import BEYOND, Box, Side, grid
from service.scaling.forms import ALPHAS, Array, Shapes
from service.scaling.noise import FINEST, FREEDOM, lift, log_likelihood, pulls

DRAWS = 4096

TWO_PARAMETER_SHARE = 1 / 6
"""The prior weight of the two-parameter form."""

SCALE_POWER = -0.75
"""The prior over the noise's scale σ is σ to this power, between the two usual ones: with 1/σ the
intervals of six to eight points hold the truth a little too rarely, with an even one too often."""

_COUNTS = (40, 12)  # nodes of a form's grid over log B_c and α
_ZOOMS = 3
_FAR = 9.0  # nodes this much less likely than the best are left out, in log likelihood
_PROPOSAL = 5.0  # degrees of freedom of the proposals, whose tails must not be lighter
_WIDER = 1.3  # than the target's


@dataclass(frozen=True)
class Sample:
    """Weighted curves; all arrays have the length DRAWS, `pulls` (DRAWS, n).

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

    def quantiles(self, values: Array, levels: tuple[float, ...]) -> Array:
        """Weighted quantiles of a value per curve, (DRAWS,), or of several, (DRAWS, m)."""
        table = values.reshape(len(values), -1)
        found = np.empty((len(levels), table.shape[1]))
        for column, ranked in enumerate(np.argsort(table, axis=0).T):
            weights = self.weights[ranked]
            middles = np.cumsum(weights) - weights / 2
            found[:, column] = np.interp(levels, middles, table[ranked, column])
        return found.reshape(len(levels), *values.shape[1:])

    def influence(self, values: Array) -> Array:
        """How the mean of a value would move with the log steps of each point, (n,): its
        covariance with their pulls."""
        return (self.weights * (values - self.weights @ values)) @ self.pulls


@dataclass(frozen=True)
class _Nodes:
    """Nodes of a grid and the cells around them; arrays of one shape (k,).

    density  -- log of the prior over the form, and over α within it
    height   -- of log S_min and log_scale: the likeliest at the node
    log_mass -- log of the posterior mass of the cell, roughly
    """

    log_half: Array
    alpha: Array
    side_half: Array
    side_alpha: Array
    density: Array
    height: Array
    log_scale: Array
    log_mass: Array

    @property
    def shapes(self) -> Shapes:
        return Shapes(self.log_half, self.alpha)

    def take(self, chosen: NDArray[np.intp]) -> "_Nodes":
        return _Nodes(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @staticmethod
    def join(first: "_Nodes", second: "_Nodes") -> "_Nodes":
        pairs = ((getattr(first, f.name), getattr(second, f.name)) for f in fields(first))
        return _Nodes(*(np.concatenate(pair) for pair in pairs))


def draw(log_batch: Array, log_steps: Array) -> Sample:
    """Curves by how well they fit these points."""
    per_alpha = (1 - TWO_PARAMETER_SHARE) / (ALPHAS[1] - ALPHAS[0])
    nodes = _Nodes.join(
        _nodes(log_batch, log_steps, (1.0, 1.0), TWO_PARAMETER_SHARE),
        _nodes(log_batch, log_steps, ALPHAS, per_alpha),
    )
    share = np.exp(0.9 * (nodes.log_mass - nodes.log_mass.max()))
    share /= share.sum()
    uniform = _low_discrepancy(DRAWS, 6)
    chosen = np.searchsorted(np.cumsum(share)[:-1], uniform[:, 0])
    cell = nodes.take(chosen)
    shapes = Shapes(
        cell.log_half + cell.side_half * (uniform[:, 1] - 0.5),
        cell.alpha + cell.side_alpha * (uniform[:, 2] - 0.5),
    )
    bends = shapes.log_steps(log_batch)
    moved = (bends - cell.shapes.log_steps(log_batch)).mean(axis=1)
    t_scale, t_height = (stdtrit(_PROPOSAL, uniform[:, axis]) for axis in (3, 4))
    n = len(log_steps)
    log_scale = cell.log_scale + _WIDER * t_scale * np.sqrt((FREEDOM + 3) / (2 * FREEDOM * (n - 1)))
    width = _WIDER * np.sqrt((FREEDOM + 3) / ((FREEDOM + 1) * n)) * np.exp(log_scale)
    log_s_min = cell.height - moved + width * t_height
    scaled = (log_steps - bends - log_s_min[:, None]) / np.exp(log_scale)[:, None]
    target = (
        log_likelihood(scaled, log_scale)
        + _log_jeffreys(shapes, log_batch)
        + cell.density
        + (SCALE_POWER + 1) * log_scale
    )
    tails = np.log1p(t_scale**2 / _PROPOSAL) + np.log1p(t_height**2 / _PROPOSAL)
    volume = cell.side_half * np.where(cell.side_alpha > 0, cell.side_alpha, 1.0)
    proposal = np.log(share[chosen] / volume) - (_PROPOSAL + 1) / 2 * tails - log_scale
    log_weights = np.where(log_scale >= log(FINEST), target - proposal, -np.inf)
    weights = np.exp(log_weights - log_weights.max())
    return Sample(
        shapes,
        log_s_min,
        log_scale,
        weights / weights.sum(),
        stdtrit(FREEDOM, uniform[:, 5]) * np.exp(log_scale),
        pulls(scaled, log_scale),
    )


def _nodes(log_batch: Array, log_steps: Array, alphas: Side, prior: float) -> _Nodes:
    """A grid over one form, zoomed in to where the points leave it some likelihood."""
    reach = log(BEYOND)
    box: Box = (log_batch[0] - reach, log_batch[-1] + reach), alphas
    counts = (_COUNTS[0], _COUNTS[1] if alphas[1] > alphas[0] else 1)
    for zoom in range(_ZOOMS):
        shapes = grid(box, counts)
        heights = lift(log_steps - shapes.log_steps(log_batch))
        log_mass = heights.log_likelihood + heights.log_scale + _log_jeffreys(shapes, log_batch)
        cell = _cell_side(box[0], counts[0]), _cell_side(box[1], counts[1])
        if zoom < _ZOOMS - 1:
            near = log_mass > log_mass.max() - _FAR
            box = (
                _spanned(shapes.log_half[near], cell[0], box[0]),
                _spanned(shapes.alpha[near], cell[1], box[1]),
            )
    ones = np.ones_like(log_mass)
    return _Nodes(
        shapes.log_half,
        shapes.alpha,
        cell[0] * ones,
        cell[1] * ones,
        log(prior) * ones,
        heights.log_s_min,
        heights.log_scale,
        log_mass + log(prior * cell[0] * (cell[1] or 1.0)),
    )


def _cell_side(side: Side, count: int) -> float:
    return (side[1] - side[0]) / max(count - 1, 1)


def _spanned(values: Array, margin: float, limits: Side) -> Side:
    return max(values.min() - margin, limits[0]), min(values.max() + margin, limits[1])


def _log_jeffreys(shapes: Shapes, log_batch: Array) -> Array:
    """Log of how much the points could tell about log B_c, were the height unknown."""
    slopes = shapes.slopes(log_batch)
    found: Array = 0.5 * np.log(np.var(slopes, axis=1) + 1e-30)
    return found


def _low_discrepancy(count: int, dimensions: int) -> Array:
    """Points in the open unit cube, (count, dimensions): Kronecker's sequence over the powers of
    the root of x^(d+1) = x + 1."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    points: Array = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1
    return points
