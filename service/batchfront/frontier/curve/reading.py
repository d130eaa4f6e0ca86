"""The likely curves through the points, and how the points lie around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from batchfront.frontier.curve.deviation import Deviation, deviation, own_noise
from batchfront.frontier.curve.fit import Fit, Observation, by_batch_size, fit_both, logs
from batchfront.frontier.curve.forms import Array, Shapes
from batchfront.frontier.curve.noise import FINEST, SCALE_TO_DEVIATION, STANDS_OUT
from batchfront.frontier.curve.posterior import Sample, draw

_DROP = log(3)  # of a point, more than luck or a bad search explains

BAND = (0.5, 0.05, 0.95)
"""The median and the ends of a 90 % interval."""


@dataclass(frozen=True)
class Reading:
    """Curves through the points, which they fit as far as such curves do.

    around     -- what a point is told to stand out by
    scatter    -- the standard deviation of log steps around the likely curves
    noise      -- of one point by itself, which what neighbours share is no part of
    log_batch  -- the different batch sizes, (m,)
    measured   -- log steps at each
    log_steps  -- the same, a point that stands out alone being brought to where its neighbours are
    followed   -- whether such curves hardly go through the points, so that predictions follow them
    """

    fits: tuple[Fit, ...]
    sample: Sample
    around: float
    scatter: float
    noise: float
    deviation: Deviation
    log_batch: Array
    measured: Array
    log_steps: Array
    followed: bool = False

    @property
    def margin(self) -> float:
        """What log steps of two points may differ by from noise alone."""
        return STANDS_OUT * sqrt(2) * self.noise

    def steps(self, log_batch: Array) -> tuple[Array, Array]:
        """Quantiles, as of BAND, of log steps at some batch sizes and of a new point there: twice
        (3, q). Between the points a curve bends to where both neighbours lie beside it, by as
        much as they have been found to do so together."""
        sample = self.sample
        curve = sample.median(self.log_batch)
        weights, left = self.deviation.guess(log_batch)
        moved = weights @ (self.log_steps - curve)
        if self.followed:  # what stands out from a curve that is wrong may well be right
            moved = np.interp(log_batch, self.log_batch, self.measured - curve)
        curves = sample.log_steps(log_batch) + moved
        new = sample.new[:, None]
        if self.followed:  # the scatter may be that of the falling part alone
            new = new * max(self.deviation.total / self.scatter, 1.0)
        return (
            sample.quantiles(curves + new * np.sqrt(left), BAND),
            sample.quantiles(curves + new, BAND),
        )


def read(
    fitted: Sequence[Observation],
    seen: Sequence[Observation],
    error: float,
    errors: Array | None = None,
) -> Reading:
    """The curves through some of the points, and all points beside them.

    error  -- the standard error of a point, as its repeated measurements show, or as its
              evaluations leave it open; 0 where nothing tells
    errors -- the covariance of the fitted points' log steps, where that is known
    """
    finest = max(FINEST, error / SCALE_TO_DEVIATION)
    fits, sample = fit_both(*logs(fitted), finest), draw(*logs(fitted), finest, errors)
    scatter = SCALE_TO_DEVIATION * exp(sample.quantiles(sample.log_scale, (0.5,))[0])
    log_batch, log_steps = by_batch_size(seen)
    curve = sample.median(log_batch)
    # Where the scatter is of few points, the simpler form's own says more.
    around = max(scatter, SCALE_TO_DEVIATION * fits[0].scale)
    distances = _steadied(log_steps - curve, around)
    likeliest = int(np.argmax(sample.weights))
    one = slice(likeliest, likeliest + 1)
    shape = Shapes(sample.shapes.log_half[one], sample.shapes.alpha[one])
    # Not by α: at the end of its range a curve that bends too little is free to bend no more.
    tangents = np.column_stack([np.ones_like(log_batch), shape.slopes(log_batch)[0]])
    beside = deviation(log_batch, distances, tangents, error)
    count = len({one.batch_size for one in fitted})
    near = own_noise(log_batch[:count], distances[:count])
    noise = max(min(near, scatter), error)
    settled = curve + distances
    return Reading(fits, sample, around, scatter, noise, beside, log_batch, log_steps, settled)


def _steadied(distances: Array, scatter: float) -> Array:
    """The distances from a curve, each that stands out alone brought to between its neighbours' (at
    an end: to its neighbour's). But where the largest takes twice the steps, that may be no bad
    point: it is where a rise would begin; and where most of the fall is before the second batch
    size or after the last but one, the end is where a drop is."""
    far = np.abs(distances) > STANDS_OUT * scatter
    beside = np.concatenate([[False], far, [False]])
    alone = far & ~beside[:-2] & ~beside[2:]
    alone[-1] &= -_DROP < distances[-1] < log(2)
    alone[0] &= distances[0] < _DROP
    near = np.concatenate([[distances[1]], distances, [distances[-2]]])
    return np.where(alone, (near[:-2] + near[2:]) / 2, distances)
