"""The likeliest curve of each form, and the choice between them."""

from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
from scipy.optimize import minimize

from service.scaling.forms import ALPHAS, BEYOND, Array, Form, Places, Shapes
from service.scaling.noise import FINEST, lift, pulls

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
