"""The curve through a frontier: from a workload's points to `service.scaling`, and plain data."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service import scaling
from service.frontier import Frontier
from service.scaling import Curve, Fit, Observation

EXTRA = 0.2
"""Examples beyond those of the smallest batch size that still count as near-perfect scaling."""

SHARE = 0.1
"""Of the steps, which doubling a useful batch size saves at least."""

QUANTITIES: Mapping[str, str] = {
    "perfect_until": "near-perfect up to batch size",
    "useful_until": "useful up to batch size",
    "half_efficiency": "half-efficiency batch size, B_c",
    "s_min": "steps of large batches, S_min",
    "e_min": "examples, E_min",
}
"""What a curve is asked for: the field of `Curve` to its name for a person."""


def fit_curve(frontier: Frontier, extra: float = EXTRA, share: float = SHARE) -> Curve:
    """The curve through the points that have reached the goal.

    extra, share -- as of EXTRA and SHARE

    Points that don't determine a curve are no error: it then says why, in `refusal`. Raises
    UsageError for a share that can't be.
    """
    points = [
        Observation(point.batch_size, point.steps or 0, point.steps_lower)
        for point in frontier.reached
    ]
    return scaling.fit_curve(points, extra, share)


def curve_dict(curve: Curve) -> dict[str, Any]:
    """A curve as plain data, with None for what is not finite."""
    return {
        "refusal": curve.refusal,
        "noise": curve.noise,
        "estimates": {name: _estimate(curve, name) for name in QUANTITIES},
        "fits": [_fit(fit) for fit in curve.fits],
        "outliers": [asdict(outlier) for outlier in curve.outliers],
        "rises": [asdict(rise) for rise in curve.rises],
        "warnings": list(curve.warnings),
    }


def _estimate(curve: Curve, name: str) -> dict[str, Any]:
    estimate = getattr(curve, name)
    return {"kind": estimate.kind, **asdict(estimate)}


def _fit(fit: Fit) -> dict[str, Any]:
    plain = {**asdict(fit), "form": fit.form.value}
    return {k: v if isinstance(v, str) or math.isfinite(v) else None for k, v in plain.items()}
