"""How steps to target depend on the batch size: a curve through the frontier, and what it says.

    curve = fit_curve([Observation(2, 1841), Observation(4, 1149), ...])
    curve.useful_until, curve.half_efficiency, curve.predict([48, 96])

It knows numbers alone: no database, no workload.
"""

from service.scaling.curve import Curve, Prediction, fit_curve
from service.scaling.estimate import REACH, Estimate
from service.scaling.fits import Fit, aicc
from service.scaling.forms import Form
from service.scaling.observation import Observation
from service.scaling.oddities import Outlier, Rise

__all__ = [
    "REACH",
    "Curve",
    "Estimate",
    "Fit",
    "Form",
    "Observation",
    "Outlier",
    "Prediction",
    "Rise",
    "aicc",
    "fit_curve",
]
