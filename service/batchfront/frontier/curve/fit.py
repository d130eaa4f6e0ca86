"""The likeliest curve of each form, and the choice between them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from scipy.optimize import minimize

from batchfront.errors import UsageError
from batchfront.frontier.curve.forms import ALPHAS, BEYOND, Array, Form, Places, Shapes
from batchfront.frontier.curve.noise import FINEST, lift, pulls

_COUNTS = (48, 13)  # nodes of the grid over the place of B_c and α

Side = tuple[float, float]

Box = tuple[Side, Side]

EVERYWHERE: Side = (-1.0, 1.0)
"""All places of B_c."""


@dataclass(frozen=True)
class Fit:
    """A curve S(B) = s_min·(1 + (half_efficiency/B)^alpha) fitted to log steps.

    form           -- which; with two parameters alpha is 1
    scale          -- of the noise of log steps, as fitted: too small where points are few
    log_likelihood -- of Student's t with four degrees of freedom
    aicc           -- Akaike's criterion corrected for few points (Hurvich and Tsai 1989); infinite
                      where the points are no more than the form's parameters and one
    """

    form: Form
    s_min: float
    half_efficiency: float
    alpha: float
    scale: float
    log_likelihood: float
    aicc: float

    @property
    def shapes(self) -> Shapes:
        """The curve's shape, as an array of one."""
        return Shapes(np.array([log(self.half_efficiency)]), np.array([self.alpha]))

    def log_steps(self, log_batch: Array) -> Array:
        """log S(B), of the shape of `log_batch`."""
        bend: Array = self.shapes.log_steps(log_batch)[0]
        return bend + log(self.s_min)


def aicc(log_likelihood: float, parameters: int, points: int) -> float:
    """2k - 2·log L + 2k(k+1)/(n-k-1)."""
    left = points - parameters - 1
    if left <= 0:
        return inf
    return 2 * parameters * (1 + (parameters + 1) / left) - 2 * log_likelihood


def fit(form: Form, log_batch: Array, log_steps: Array, finest: float = FINEST) -> Fit:
    """The likeliest curve of this form: from the best node of a grid, by L-BFGS within its box.

    finest -- the least scale of the noise
    """
    places = Places(float(log_batch[0]), float(log_batch[-1]))
    box: Box = EVERYWHERE, (1.0, 1.0) if form is Form.TWO_PARAMETERS else ALPHAS

    def unlikely(at: Array) -> tuple[float, Array]:
        place, alpha = at[:1], at[1:]
        shapes = Shapes(places.log_half(place, alpha), alpha)
        residuals = log_steps - shapes.log_steps(log_batch)
        heights = lift(residuals, finest)
        scaled = (residuals - heights.log_s_min) / np.exp(heights.log_scale)
        pull = pulls(scaled, heights.log_scale)[0]
        by_half = shapes.slopes(log_batch)[0]
        by_place = by_half * places.stretch(alpha)
        by_alpha = shapes.slopes_by_alpha(log_batch)[0] - by_half * place * log(BEYOND) / alpha**2
        return -float(heights.log_likelihood[0]), np.array([pull @ by_place, pull @ by_alpha])

    place, alpha = grid(box, (_COUNTS[0], 1 if form is Form.TWO_PARAMETERS else _COUNTS[1]))
    nodes = Shapes(places.log_half(place, alpha), alpha)
    likely = lift(log_steps - nodes.log_steps(log_batch), finest).log_likelihood
    start = np.array([place[np.argmax(likely)], alpha[np.argmax(likely)]])
    precise = {"ftol": 1e-13, "gtol": 1e-7}
    found = minimize(unlikely, start, jac=True, method="L-BFGS-B", bounds=box, options=precise).x
    best = Shapes(places.log_half(found[:1], found[1:]), found[1:])
    heights = lift(log_steps - best.log_steps(log_batch), finest)
    likelihood = float(heights.log_likelihood[0])
    return Fit(
        form,
        exp(heights.log_s_min[0]),
        exp(best.log_half[0]),
        float(best.alpha[0]),
        exp(heights.log_scale[0]),
        likelihood,
        aicc(likelihood, form.parameters, len(log_batch)),
    )


def fit_both(log_batch: Array, log_steps: Array, finest: float = FINEST) -> tuple[Fit, ...]:
    """Both forms, the one that AICc prefers first; where it has no opinion, the simpler one."""
    fits = [fit(form, log_batch, log_steps, finest) for form in Form]
    return tuple(sorted(fits, key=lambda fit: fit.aicc))


def grid(box: Box, counts: tuple[int, int]) -> tuple[Array, Array]:
    """The nodes of a grid over a box of places and α, the ends included: two arrays (k,)."""
    sides = (np.linspace(low, high, count) for (low, high), count in zip(box, counts, strict=True))
    place, alpha = np.meshgrid(*sides, indexing="ij")
    return place.ravel(), alpha.ravel()


@dataclass(frozen=True)
class Observation:
    """The steps of the best trial at a batch size, or the median of repeated measurements.

    steps       -- infinite where the goal was not reached
    steps_lower -- the goal was passed in (steps_lower, steps]; None where every step was looked
                   at, or where nothing is known about it
    seeds       -- all repeated measurements, infinite where one did not reach the goal; empty
                   where there is one measurement, or the best of a search
    """

    batch_size: int
    steps: float
    steps_lower: float | None = None
    seeds: tuple[float, ...] = ()

    @property
    def middle(self) -> float:
        """The mean of the steps at which the goal may first have been passed."""
        return self.steps if self.steps_lower is None else (self.steps_lower + 1 + self.steps) / 2

    @property
    def log_width(self) -> float:
        """How far apart the logarithms of these steps lie: 0 where it is known at which."""
        if self.steps_lower is None:
            return 0.0
        return log(max(self.steps / (self.steps_lower + 1), 1.0))


def in_order(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """By batch size. Raises UsageError for one that can't be."""
    found = sorted(observations, key=lambda seen: (seen.batch_size, seen.steps))
    for seen in found:
        if seen.batch_size < 1 or not seen.steps > 0 or not all(one > 0 for one in seen.seeds):
            raise UsageError(
                f"batch size {seen.batch_size} with {seen.steps} steps: both must be positive"
            )
        if seen.steps_lower is not None and not 0 <= seen.steps_lower < seen.steps:
            raise UsageError(
                f"batch size {seen.batch_size}: the goal can't have been passed between "
                f"{seen.steps_lower} and {seen.steps} steps"
            )
    return tuple(found)


def logs(observations: Iterable[Observation]) -> tuple[Array, Array]:
    """log batch size and log steps of each, (n,)."""
    pairs = np.log([(float(seen.batch_size), seen.middle) for seen in observations])
    return pairs[:, 0], pairs[:, 1]


def interval_error(observations: Sequence[Observation]) -> float:
    """The standard deviation of log steps that comes of evaluations lying apart: as if the goal had
    been passed anywhere between two of them, even in the logarithm. 0 where they lie no further
    apart than ours do, which is the least noise in any case."""
    found = sqrt(sum(seen.log_width**2 for seen in observations) / len(observations) / 12)
    return found if found > FINEST else 0.0


def by_batch_size(observations: Sequence[Observation]) -> tuple[Array, Array]:
    """log batch size of the different ones, and the mean of log steps at each, (m,)."""
    log_batch, log_steps = logs(observations)
    sizes, index = np.unique(log_batch, return_inverse=True)
    return sizes, np.bincount(index, log_steps) / np.bincount(index)
