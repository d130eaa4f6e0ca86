"""What is taken for granted of a curve before its points are seen."""

from dataclasses import dataclass
from math import log

import numpy as np

from service.scaling.forms import ALPHAS, Array, Form, Shapes

TWO_PARAMETER_SHARE = 1 / 12
"""The weight of the two-parameter form; the rest is even over log α, so that the slow falls, whose
α differ by little, are not left out."""

SCALE_POWER = -0.75
"""The density of the noise's scale σ is σ to this power, between the two usual ones: with 1/σ the
intervals of six to eight points hold the truth a little too rarely, with an even one too often."""


@dataclass(frozen=True)
class Family:
    """One form, with the range of its α and the log of its density over log α."""

    form: Form
    alphas: tuple[float, float]
    log_density: float


FAMILIES = (
    Family(Form.TWO_PARAMETERS, (1.0, 1.0), log(TWO_PARAMETER_SHARE)),
    Family(
        Form.THREE_PARAMETERS, ALPHAS, log((1 - TWO_PARAMETER_SHARE) / log(ALPHAS[1] / ALPHAS[0]))
    ),
)


def log_jeffreys(shapes: Shapes, log_batch: Array) -> Array:
    """The log of Jeffreys' density over log B_c, (k,): of how much these batch sizes could tell
    about it, the height of the curve being unknown. It vanishes far outside them."""
    slopes = shapes.slopes(log_batch)
    found: Array = 0.5 * np.log(np.var(slopes, axis=1) + 1e-30)
    return found
