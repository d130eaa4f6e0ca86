"""The shape of log steps to target over batch size and metaparameters: a prior mean, and the
coordinates of what departs from it.

Far below the largest rate that training bears, steps times effective learning rate is constant,
whatever the batch size (gradient flow). That largest rate, the *edge*, grows with the batch size
and levels off (Shallue et al. 2018, section 4.7; McCandlish et al. 2018, section 2); beyond it
training slows down and breaks. With z the log effective rate and t = z - edge(log B),

    log steps = c - left z + (left + right) blend softplus(t / blend) + a Gaussian process over
                (log B, t, the other coordinates, each of which may drift with log B).

With momentum z is log rate - log(1 - momentum); in general it is the log rate plus a *tilt* times
each other coordinate. All of it is estimated, from priors that are wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr, ndtr, ndtri

from batchfront.surrogate.coordinates import Column, Coordinates
from batchfront.surrogate.process import mills
from batchfront.workload.search_space import Log, SearchSpace, dimensions

Array = NDArray[np.float64]

EDGE, PACE, LEVELLING, LEFT, RIGHT, BLEND, GAP, AMPLITUDE, NOISE, ALONG_B, ALONG_T = range(11)
"""Places in the vector of parameters: the edge at the middle batch size; how fast it grows with log
B, and at which log B it levels off; the logarithms of the slopes on both sides and of the blend
between them; how far beyond the edge training breaks; the logarithms of the amplitude of what
departs from the shape, of the noise, and of the length scales along log B and t."""

_FIXED = 11  # after these: tilt, drift and log length scale of each column beside the axis

_CENTRED = 0.8  # of the prior's deviation of the edge: that of the first points about it

_LAPSE = 0.05  # of training that breaks wherever it is
_SHARP = 0.6  # e-folds within which training breaks beyond the edge
_SLOW, _SLOWLY = 6.0, 1.5  # e-folds below the edge where too little may be learnt, and within which


@dataclass(frozen=True)
class Shape:
    """The prior of the parameters, for the coordinates of a workload.

    middle -- of the logarithms of the batch sizes
    sd     -- standard deviations, [parameters], like `mean`
    """

    coordinates: Coordinates
    middle: float
    mean: Array
    sd: Array

    @classmethod
    def of(cls, coordinates: Coordinates, batch_sizes: Sequence[int]) -> "Shape":
        """Make it for the batch sizes that are searched."""
        b = np.log(np.asarray(batch_sizes, float))
        columns, axis = coordinates.columns, coordinates.axis
        others = [columns[at] for at in coordinates.others]
        reach = sum(_tilt(column)[0] * column.width for column in others)
        reach += columns[axis].width if axis is not None else 0.0
        prior = [
            (0.0, max(reach / 5, 1.0)),
            (0.7, 0.25),
            (float(b.max()), 1.5),
            (log(0.9), 0.2),
            (log(0.7), 0.25),
            (log(0.5), 0.4),
            (0.8, 0.5),
            (log(0.35), 0.4),
            (log(0.28), 0.25),
            (log(2.5), 0.5),
            (log(1.5), 0.5),
        ]
        for column in others:
            prior += [_tilt(column), (0.0, 0.06 * column.width), (log(0.5 * column.width), 0.6)]
        mean, sd = (np.array(values) for values in zip(*prior, strict=True))
        return cls(coordinates, float((b.min() + b.max()) / 2), mean, sd)

    def penalty(self, theta: Array) -> tuple[float, Array]:
        """Minus the log density of the prior, up to a constant, and its gradient."""
        rest = (theta - self.mean) / self.sd
        return 0.5 * float(rest @ rest), rest / self.sd

    def about_the_edge(self, batch_size: int, space: SearchSpace, positions: Array) -> Array:
        """Positions in the unit cube of a space [n, dimensions], moved along the axis so that they
        are dense where the prior expects the edge at a batch size."""
        names, axis = list(dimensions(space)), self.coordinates.axis
        column = None if axis is None else self.coordinates.columns[axis]
        if column is None or not isinstance(space.get(column.name), Log):
            return positions
        along, found = names.index(column.name), positions.copy()
        ends = []
        for end in (0.0, 1.0):
            found[:, along] = end
            b = np.full(len(found), log(batch_size))
            t = Placed(self, self.mean, b, self.coordinates.at(space, found)).t
            ends.append(ndtr(t / (_CENTRED * self.sd[EDGE])))
        low, high = ends
        aimed = ndtri(low + positions[:, along] * (high - low)) * _CENTRED * self.sd[EDGE]
        found[:, along] = 0.0
        lowest = Placed(self, self.mean, b, self.coordinates.at(space, found)).t
        width = log(space[column.name].high / space[column.name].low)  # type: ignore[union-attr]
        found[:, along] = np.clip((aimed - lowest) / width, 0.0, 1.0)
        return found

    def within(self, theta: Array) -> Array:
        """The parameters, no further off than four standard deviations."""
        return np.clip(theta, self.mean - 4 * self.sd, self.mean + 4 * self.sd)


def _tilt(column: Column) -> tuple[float, float]:
    """How much a coordinate is thought to count on the axis of the learning rate: mean and
    deviation."""
    if column.kind != "reverse":
        return 0.0, 0.1
    return (1.0, 0.25) if column.name == "momentum" else (0.4, 0.4)


class Works(NamedTuple):
    """The log probability that training works by the shape alone, [n], and its derivatives by t
    and by the gap."""

    log: Array
    by_t: Array
    by_gap: Array


class Placed:
    """Points in the coordinates of the shape that parameters describe.

    b -- log batch sizes [n]
    x -- coordinates [n, columns]

    mean     -- [n], of log steps, but for the constant
    features -- [n, 1 + columns]: log B, t and the others, in units of their length scales
    by_edge  -- [n], the derivative of the mean by the edge
    """

    def __init__(self, shape: Shape, theta: Array, b: Array, x: Array) -> None:
        self.shape, self.theta, self.b = shape, theta, b
        self._others = x[:, shape.coordinates.others]
        tilts, drifts, lengths = theta[_FIXED:].reshape(-1, 3).T
        self._lengths = np.exp(lengths)
        levels, middle = theta[LEVELLING], shape.middle
        self._grown = np.logaddexp(-middle, -levels) - np.logaddexp(-b, -levels)
        self._by_levels = theta[PACE] * (expit(b - levels) - expit(middle - levels))
        edge = theta[EDGE] + theta[PACE] * self._grown
        axis = shape.coordinates.axis
        self.has_axis = axis is not None
        self._z = edge if axis is None else x[:, axis] + self._others @ tilts
        self.t = self._z - edge
        self._left, self._right, self._blend = np.exp(theta[[LEFT, RIGHT, BLEND]])
        self._bent = expit(self.t / self._blend)
        self._soft = self._blend * np.logaddexp(0.0, self.t / self._blend)
        slope = self._left + self._right
        self.mean: Array = -self._left * self._z + slope * self._soft
        self.by_edge: Array = -slope * self._bent if self.has_axis else np.zeros(len(b))
        along_b, self._along_t = np.exp(theta[[ALONG_B, ALONG_T]])
        drifted = self._others - drifts * (b[:, None] - middle)
        self.features = np.column_stack(
            [b / along_b, self.t / self._along_t, drifted / self._lengths]
        )

    def gradient(self, by_mean: Array, by_features: Array, by_t: Array, by_edge: Array) -> Array:
        """The derivatives of a function by the parameters, from those by mean, features, t and
        `by_edge`."""
        slope = self._left + self._right
        curved = by_edge * self._bent * (1 - self._bent) * slope / self._blend
        bent = by_edge * self._bent
        if not self.has_axis:
            curved, bent = np.zeros(len(curved)), np.zeros(len(bent))
        dt = by_features[:, 1] / self._along_t + by_mean * slope * self._bent + by_t - curved
        dz = dt - self._left * by_mean
        dedge = -dt if self.has_axis else -self._left * by_mean
        found = np.zeros_like(self.theta)
        found[EDGE] = dedge.sum()
        found[PACE] = dedge @ self._grown
        found[LEVELLING] = dedge @ self._by_levels
        found[LEFT] = self._left * (by_mean @ (self._soft - self._z) - bent.sum())
        found[RIGHT] = self._right * (by_mean @ self._soft - bent.sum())
        found[BLEND] = slope * (by_mean @ (self._soft - self.t * self._bent)) + curved @ self.t
        along = (by_features * self.features).sum(0)
        found[ALONG_B], found[ALONG_T] = -along[0], -along[1]
        by_others = by_features[:, 2:] / self._lengths
        tilts = self._others.T @ dz if self.has_axis else np.zeros(len(self._lengths))
        drifts = -((self.b - self.shape.middle) @ by_others)
        found[_FIXED:] = np.column_stack([tilts, drifts, -along[2:]]).ravel()
        return found

    def works(self) -> Works:
        """How likely training works, by the shape alone."""
        if not self.has_axis:
            nothing = np.zeros(len(self.t))
            return Works(nothing + log(0.8), nothing, nothing)
        ahead = (self.theta[GAP] - self.t) / _SHARP
        behind = (self.t + _SLOW) / _SLOWLY
        by_gap = mills(ahead) / _SHARP
        return Works(
            log(1 - _LAPSE) + log_ndtr(ahead) + log_ndtr(behind),
            mills(behind) / _SLOWLY - by_gap,
            by_gap,
        )
