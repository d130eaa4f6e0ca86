"""A weighted sample of the curves that the points allow, of which intervals are quantiles.

Two or three parameters, the noise and the choice of the form are all estimated from few points, and
some of them hardly at all, which a bootstrap of the best fit understates. So curves are drawn from
their posterior distribution. A twelfth of the prior weight is on the two-parameter form, the rest
even over log α; over log B_c it is Jeffreys' prior, which vanishes where no batch size measured
could tell one B_c from another; over log S_min it is even. How often such intervals hold the truth
is measured by `tests/benchmarks/curve_coverage.py`, beside those of the bootstrap.

The draws are importance samples on a low-discrepancy sequence: the same points give the same.
"""

from dataclasses import dataclass, fields, replace
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from batchfront.frontier.curve.fit import EVERYWHERE, Box, Side, grid
from batchfront.frontier.curve.forms import (
    ALPHAS,
    FAMILIES,
    SCALE_POWER,
    Array,
    Family,
    Form,
    Places,
    Shapes,
    log_jeffreys,
)
from batchfront.frontier.curve.noise import FINEST, FREEDOM, lift, log_likelihood, pulls

_COUNTS = (40, 12)  # nodes of a form's grid over the place of B_c and α

# The least noise at each zoom but the last: a peak finer than a cell would be missed.
_FLOORS = (0.2, 0.06, 0.02, 0.006, 0.0)

_FAR = 9.0  # nodes this much less likely than the best are left out, in log likelihood

_FLATTER = 0.75  # than the target, and with heavier tails, so that no draw gets a great weight

_TAILS = 5.0  # degrees of freedom

_WIDER = 1.3


@dataclass(frozen=True)
class Proposal:
    """Curves drawn near the likely ones, arrays of one shape (k,).

    log_prior   -- of the density there
    log_density -- of the drawing itself
    log_ratio   -- of the density there over that of the drawing, of the shapes alone
    """

    shapes: Shapes
    log_s_min: Array
    log_scale: Array
    log_prior: Array
    log_density: Array
    log_ratio: Array


@dataclass(frozen=True)
class _Nodes:
    """Nodes of a grid and the cells around them; arrays of one shape (k,).

    height   -- log S_min, the likeliest at the node, like log_scale
    density  -- the log of the prior's density over the form, and over log α within it
    tilt     -- how the middle of a cell's side in place moves with α: likely curves trade one
                for the other
    log_mass -- the log of the posterior mass of the cell, roughly
    """

    place: Array
    alpha: Array
    side_place: Array
    side_alpha: Array
    height: Array
    log_scale: Array
    density: Array
    tilt: Array
    log_mass: Array

    @property
    def log_volume(self) -> Array:
        return np.log(self.side_place) + np.log(np.where(self.side_alpha > 0, self.side_alpha, 1.0))

    def take(self, chosen: NDArray[np.intp]) -> "_Nodes":
        return _Nodes(*(getattr(self, field.name)[chosen] for field in fields(self)))


def propose(log_batch: Array, log_steps: Array, uniform: Array, finest: float) -> Proposal:
    """A curve for each row of `uniform`, (k, 5): which cell, where in it by B_c and by α, and how
    far from the likeliest scale and height."""
    places = Places(float(log_batch[0]), float(log_batch[-1]))
    parts = [_nodes(family, places, log_batch, log_steps, finest) for family in FAMILIES]
    nodes = _Nodes(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(_Nodes))
    )
    share = np.exp(_FLATTER * (nodes.log_mass - nodes.log_mass.max()))
    share /= share.sum()
    chosen = np.searchsorted(np.cumsum(share)[:-1], uniform[:, 0])
    cell = nodes.take(chosen)
    alpha = np.maximum(cell.alpha + cell.side_alpha * (uniform[:, 2] - 0.5), ALPHAS[0] / 2)
    place = cell.place + cell.tilt * (alpha - cell.alpha)
    place += cell.side_place * (uniform[:, 1] - 0.5)
    shapes = Shapes(places.log_half(place, alpha), alpha)
    middle = Shapes(places.log_half(cell.place, cell.alpha), cell.alpha)
    moved = shapes.log_steps(log_batch) - middle.log_steps(log_batch)
    points = len(log_steps)
    far_scale, far_height = (stdtrit(_TAILS, uniform[:, axis]) for axis in (3, 4))
    # By the information of t: what the scale and the height would vary by, were the shape known.
    log_scale = cell.log_scale + far_scale * _WIDER * sqrt(
        (FREEDOM + 3) / (2 * FREEDOM * (points - 1))
    )
    width = _WIDER * sqrt((FREEDOM + 3) / ((FREEDOM + 1) * points)) * np.exp(log_scale)
    log_s_min = cell.height - moved.mean(axis=1) + width * far_height
    tails = np.log1p(far_scale**2 / _TAILS) + np.log1p(far_height**2 / _TAILS)
    log_prior = cell.density - np.log(alpha) + log_jeffreys(shapes, log_batch)
    log_density = np.log(share[chosen] / places.stretch(alpha)) - cell.log_volume
    return Proposal(
        shapes,
        log_s_min,
        log_scale,
        log_prior + (SCALE_POWER + 1) * log_scale,
        log_density - (_TAILS + 1) / 2 * tails - log_scale,
        log_prior - log_density,
    )


def _nodes(
    family: Family, places: Places, log_batch: Array, log_steps: Array, finest: float
) -> _Nodes:
    """A grid over one form, zoomed in to where the points leave it some likelihood."""
    box: Box = EVERYWHERE, family.alphas
    counts = (_COUNTS[0], 1 if family.form is Form.TWO_PARAMETERS else _COUNTS[1])
    tilt = 0.0
    for floor in _FLOORS:
        upright, alpha = grid(box, counts)
        place = upright + tilt * alpha
        shapes = Shapes(places.log_half(place, alpha), alpha)
        heights = lift(log_steps - shapes.log_steps(log_batch), max(floor, finest))
        log_mass = heights.log_likelihood + heights.log_scale + log_jeffreys(shapes, log_batch)
        log_mass += np.log(places.stretch(alpha) / alpha)
        cell = _cell_side(box[0], counts[0]), _cell_side(box[1], counts[1])
        if floor:
            near = log_mass > log_mass.max() - _FAR
            now = tilt + _tilt(upright[near], alpha[near], log_mass[near])
            margin = cell[0] + abs(now - tilt) * cell[1]
            box = (
                _spanned(place[near] - now * alpha[near], margin),
                _spanned(alpha[near], cell[1], family.alphas),
            )
            tilt = now
    ones = np.ones_like(log_mass)
    nodes = _Nodes(
        place,
        alpha,
        cell[0] * ones,
        cell[1] * ones,
        heights.log_s_min,
        heights.log_scale,
        family.log_density * ones,
        tilt * ones,
        log_mass + family.log_density,
    )
    return replace(nodes, log_mass=nodes.log_mass + nodes.log_volume)


def _cell_side(side: Side, count: int) -> float:
    return (side[1] - side[0]) / max(count - 1, 1)


def _spanned(values: Array, margin: float, limits: Side = (-inf, inf)) -> Side:
    return max(values.min() - margin, limits[0]), min(values.max() + margin, limits[1])


def _tilt(place: Array, alpha: Array, log_mass: Array) -> float:
    """The slope of place over α among likely nodes; 0 where α is one."""
    weights = np.exp((log_mass - log_mass.max()) / 2)
    away = alpha - np.average(alpha, weights=weights)
    spread = float(weights @ away**2)
    return float(weights @ (away * place)) / spread if spread > 0 else 0.0


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


def draw(
    log_batch: Array, log_steps: Array, finest: float = FINEST, errors: Array | None = None
) -> Sample:
    """Curves by how well they fit these points, whose noise has at least the scale `finest`; or
    whose errors are known, as the covariance of their log steps, (n, n)."""
    for count, coarser in _HARDER:
        if errors is None:
            sample = _draw(count, log_batch, log_steps, coarser * finest)
        else:
            sample = _draw_by(errors, count, log_batch, log_steps, coarser * finest)
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


def _draw_by(
    errors: Array, count: int, log_batch: Array, log_steps: Array, finest: float
) -> Sample:
    """Curves to which points lie as their known errors allow, and normal noise beyond these.

    The noise has the prior that it has elsewhere, from FINEST on, up to a scale at which it is all
    that the points differ by; the height is integrated over.
    """
    uniform = _low_discrepancy(count, 6)
    drawn = propose(log_batch, log_steps, uniform[:, :5], finest)
    most = max(float(np.std(log_steps)), 2 * FINEST)
    log_noise = np.log(FINEST) + uniform[:, 3] * np.log(most / FINEST)
    spread, turn = np.linalg.eigh((errors + errors.T) / 2)
    precision = 1 / (np.maximum(spread, 0) + np.exp(2 * log_noise)[:, None])
    residuals = (log_steps - drawn.shapes.log_steps(log_batch)) @ turn
    ones = turn.sum(axis=0)
    known = precision @ ones**2
    height = (precision * residuals) @ ones / known
    rest = residuals - height[:, None] * ones
    log_weights = (
        0.5 * (np.log(precision).sum(axis=1) - np.log(known))
        - 0.5 * np.einsum("ij,ij,ij->i", precision, rest, rest)
        + (SCALE_POWER + 1) * log_noise
        + drawn.log_ratio
    )
    alpha = drawn.shapes.alpha
    log_weights = np.where((alpha >= ALPHAS[0]) & (alpha <= ALPHAS[1]), log_weights, -np.inf)
    weights = np.exp(log_weights - log_weights.max())
    moved = ndtri(uniform[:, 4]) / np.sqrt(known)
    own = rest - moved[:, None] * ones
    scale = np.sqrt(np.exp(2 * log_noise) + error_of(errors) ** 2)
    return Sample(
        drawn.shapes,
        height + moved,
        np.log(scale),
        weights / weights.sum(),
        ndtri(uniform[:, 5]) * scale,
        -(precision * own) @ turn.T,
    )


def error_of(errors: Array) -> float:
    """The standard error of a point beside the others, where all are known with these errors: what
    they have in common moves the curve up or down, and bends it no more."""
    beside = errors - errors.mean(axis=0) - errors.mean(axis=1)[:, None] + errors.mean()
    return sqrt(max(float(np.trace(beside)) / max(len(errors) - 1, 1), 0.0))


def _low_discrepancy(count: int, dimensions: int) -> Array:
    """Points in the open unit cube, (count, dimensions): Kronecker's sequence over the powers of
    the root of x^(d+1) = x + 1."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    points: Array = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1
    return points
