"""The curve through a frontier: from a workload's points to `batchfront.frontier.curve`, and plain
data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Any

from batchfront.frontier.curve import EXTRA, SHARE
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.curve import fit_curve as fit
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Fit, Observation
from batchfront.frontier.frontier import Frontier, Point

QUANTITIES: Mapping[str, str] = {
    "perfect_until": "near-perfect up to batch size",
    "useful_until": "useful up to batch size",
    "half_efficiency": "half-efficiency batch size, B_c",
    "s_min": "steps of large batches, S_min",
    "e_min": "examples, E_min",
}
"""What a curve is asked for: the field of `Curve` to its name for a person."""

BATCH_SIZES = ("perfect_until", "useful_until", "half_efficiency")
"""Of these, the ones that are batch sizes."""


def fit_curve(frontier: Frontier, extra: float = EXTRA, share: float = SHARE) -> Curve:
    """The curve through the points that have reached the goal, told of those that have not.

    extra, share -- as of EXTRA and SHARE

    Points that don't determine a curve are no error: it then says why, in `refusal`. Where larger
    batch sizes than those have not reached the goal, no answer lies beyond the smallest of them.
    Raises UsageError for a share that can't be.
    """
    tried = (*frontier.reached, *frontier.unreached)
    curve = _through(tuple(map(_observation, tried)), extra, share)
    if curve.refusal or not frontier.unreached_beyond:
        return curve
    within = partial(
        _short_of, frontier.unreached_beyond[0].batch_size, frontier.reached[-1].batch_size
    )
    return replace(
        curve,
        perfect_until=within(curve.perfect_until),
        useful_until=within(curve.useful_until),
    )


@lru_cache(maxsize=64)  # a page asks again and again, mostly of the same points
def _through(observations: tuple[Observation, ...], extra: float, share: float) -> Curve:
    return fit(observations, extra, share)


def _observation(point: Point) -> Observation:
    seeds = point.seeds if len(point.seeds) > 1 else ()
    steps = math.inf if point.steps is None else point.steps
    return Observation(point.batch_size, steps, point.steps_lower, seeds)


def _short_of(failed: int, last: int, until: Estimate) -> Estimate:
    """An estimate of how far something holds, where batch size `failed` has not reached the goal:
    no more than a bound beyond `last`, the largest that has."""
    if max(until.value or 0, until.low or 0) <= last:
        return replace(until, high=min(until.high, failed)) if until.high else until
    why = f"batch size {failed:,} has not reached the goal"
    low = None if until.low is None else float(min(until.low, last))
    return replace(until, value=None, low=low, high=None if low else float(failed), reason=why)


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
