"""The likeliest curve of each form, and the choice between them."""

from dataclasses import dataclass
from math import exp, inf, log

import numpy as np

from service.scaling.forms import ALPHAS, Array, Form, Shapes
from service.scaling.noise import lift

BEYOND = 64.0
"""B_c is looked for up to this many times outside the measured batch sizes."""

_ZOOMS = 30
_KEEP = 0.5
_FIRST, _GRID = 66, 11  # nodes along a side, the first time and later

Side = tuple[float, float]
Box = tuple[Side, Side]


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


def fit(form: Form, log_batch: Array, log_steps: Array) -> Fit:
    """The likeliest curve of this form.

    A grid over log B_c and α, whose box moves to the best node and shrinks around it: it depends
    on no start, does not fail, and finds a curve without noise to eight digits.
    """
    two = form is Form.TWO_PARAMETERS
    reach = log(BEYOND)
    limits: Box = ((log_batch[0] - reach, log_batch[-1] + reach), (1.0, 1.0) if two else ALPHAS)
    box = limits
    for zoom in range(_ZOOMS):
        shapes = grid(box, (_FIRST if zoom == 0 else _GRID, 1 if two else _GRID))
        heights = lift(log_steps - shapes.log_steps(log_batch))
        best = int(np.argmax(heights.log_likelihood))
        at = float(shapes.log_half[best]), float(shapes.alpha[best])
        box = _around(at[0], box[0], limits[0]), _around(at[1], box[1], limits[1])
    likelihood = float(heights.log_likelihood[best])
    return Fit(
        form,
        exp(heights.log_s_min[best]),
        exp(at[0]),
        at[1],
        exp(heights.log_scale[best]),
        likelihood,
        aicc(likelihood, form.parameters, len(log_batch)),
    )


def fit_both(log_batch: Array, log_steps: Array) -> tuple[Fit, ...]:
    """Both forms, the one that AICc prefers first; where it has no opinion, the simpler one."""
    fits = [fit(form, log_batch, log_steps) for form in Form]
    return tuple(sorted(fits, key=lambda fit: fit.aicc))


def grid(box: Box, counts: tuple[int, int]) -> Shapes:
    """The nodes of a grid over a box of log B_c and α, the ends included."""
    sides = (np.linspace(low, high, count) for (low, high), count in zip(box, counts, strict=True))
    log_half, alpha = np.meshgrid(*sides, indexing="ij")
    return Shapes(log_half.ravel(), alpha.ravel())


def _around(centre: float, side: Side, limits: Side) -> Side:
    half = _KEEP * (side[1] - side[0]) / 2
    return max(centre - half, limits[0]), min(centre + half, limits[1])
