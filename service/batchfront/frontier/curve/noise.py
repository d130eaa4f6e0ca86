"""How log steps scatter around a curve: Student's t with four degrees of freedom.

The best of a study's trials is sometimes lucky, and a study sometimes badly tuned. With this noise
a point that lies far off loses its weight instead of bending the curve (Lange, Little and Taylor
1989), while five points that scatter normally count as much as four and a half would.
"""

from dataclasses import dataclass
from math import log

import numpy as np

from batchfront.frontier.curve.forms import Array

STANDS_OUT = 3.0
"""In standard deviations of log steps."""

FREEDOM = 4.0
"""Degrees of freedom of the noise."""

SCALE_TO_DEVIATION = 1.2038
"""The standard deviation of normal noise in units of the scale that this noise gives it."""

FINEST = 0.003
"""The least scale: the goal was passed somewhere between two evaluations 1 % apart, 0.01/√12."""

_ROUNDS = 16


@dataclass(frozen=True)
class Heights:
    """Curves lifted to where they fit the points best: arrays of one shape (k,)."""

    log_s_min: Array
    log_scale: Array
    log_likelihood: Array


def lift(residuals: Array, finest: float = FINEST) -> Heights:
    """The likeliest height and scale, at least `finest`, for each row of log steps minus
    log(S/S_min), (k, n).

    By expectation and maximization, with parameters expanded so that it takes few rounds (Liu,
    Rubin and Wu 1998).
    """
    height = np.median(residuals, axis=1)
    centred = residuals - height[:, None]
    scale = np.maximum(np.std(residuals, axis=1), finest)
    for _ in range(_ROUNDS):
        weight = 1 / (FREEDOM + (centred / scale[:, None]) ** 2)
        total = np.einsum("ij->i", weight)
        height = np.einsum("ij,ij->i", weight, residuals) / total
        centred = residuals - height[:, None]
        spread = np.einsum("ij,ij,ij->i", weight, centred, centred) / total
        scale = np.maximum(np.sqrt(spread), finest)
    log_scale = np.log(scale)
    return Heights(height, log_scale, log_likelihood(centred / scale[:, None], log_scale))


def log_likelihood(scaled: Array, log_scale: Array) -> Array:
    """Of rows of residuals in units of their scale, (k, n); normalized, for AICc."""
    norm = log(0.375)  # the density of t with 4 degrees of freedom at 0
    tails: Array = np.log1p(scaled**2 / FREEDOM).sum(axis=1)
    found: Array = scaled.shape[1] * (norm - log_scale) - (FREEDOM + 1) / 2 * tails
    return found


def pulls(scaled: Array, log_scale: Array) -> Array:
    """How the log likelihood changes with each log steps, (k, n): small for far points."""
    return -(FREEDOM + 1) * scaled / (FREEDOM + scaled**2) / np.exp(log_scale)[:, None]
