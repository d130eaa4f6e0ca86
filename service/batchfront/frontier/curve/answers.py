"""The curve through a frontier: from a workload's points to `batchfront.frontier.curve`, and plain
data."""

import math
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from batchfront.frontier.curve import EXTRA, SHARE, USUAL, Asked
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.curve import fit_curve as fit
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Fit, Observation
from batchfront.frontier.curve.quantities import BATCH_SIZES as BATCH_SIZES
from batchfront.frontier.curve.quantities import QUANTITIES as QUANTITIES
from batchfront.frontier.curve.quantities import quantities as quantities
from batchfront.frontier.expected import enough
from batchfront.frontier.frontier import Frontier, Point


def fit_curve(
    frontier: Frontier,
    extra: float = EXTRA,
    share: float = SHARE,
    perfect_from: int | None = None,
) -> Curve:
    """The curve through the points that have reached the goal, told of those that have not.

    extra, share -- as of EXTRA and SHARE
    perfect_from -- the batch size that near-perfect scaling is measured from; by default the
                    smallest that has reached the goal

    It goes through the expected steps where these are more to be trusted than those of the fastest
    trials (`ExpectedFrontier.trusted`).

    Points that don't determine a curve are no error: it then says why, in `refusal`. Where larger
    batch sizes than those have not reached the goal, no answer lies beyond the smallest of them.
    Raises UsageError for a share, or a batch size, that can't be.
    """
    asked = Asked(extra, share, perfect_from)
    if by_expected_steps(frontier):
        seen = tuple(Observation(one.batch_size, one.steps) for one in frontier.expected.points)
        curve = through(seen, asked, frontier.expected.covariance)
        unreached = tuple(point.batch_size for point in frontier.unreached)
        curve = replace(curve, unreached=unreached)
    else:
        tried = (*frontier.reached, *frontier.unreached)
        curve = through(tuple(map(_observation, tried)), asked)
    beyond = frontier.unreached_beyond
    return not_beyond(curve, beyond[0].batch_size) if beyond else curve


def not_beyond(curve: Curve, failed: int) -> Curve:
    """The curve, none of whose answers lies beyond a batch size larger than all that it is drawn
    through, which has not reached the goal."""
    if curve.refusal:
        return curve
    within = partial(_short_of, failed, curve.observations[-1].batch_size)
    return replace(
        curve,
        perfect_until=within(curve.perfect_until),
        useful_until=within(curve.useful_until),
    )


def ask_curve(frontier: Frontier, asked: Asked = USUAL) -> Curve:
    """The same, asked as the options of a command say."""
    return fit_curve(frontier, asked.extra, asked.share, asked.perfect_from)


def by_expected_steps(frontier: Frontier) -> bool:
    """Whether the curve of a frontier goes through its expected steps. Where too few trials have
    reached the goal for that, no surrogate is fitted."""
    return enough(p.in_time for p in frontier.reached) and frontier.expected.trusted


@lru_cache(maxsize=64)  # a page asks again and again, mostly of the same points
def through(
    observations: tuple[Observation, ...],
    asked: Asked,
    covariance: tuple[tuple[float, ...], ...] = (),
) -> Curve:
    """The curve through observations, of whose log steps the covariance may be known."""
    errors = np.array(covariance) if covariance else None
    return fit(observations, asked.extra, asked.share, errors, asked.perfect_from)


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


def estimate_records(curve: Curve) -> list[dict[str, Any]]:
    """A record for each quantity of a curve."""
    found = []
    for name in QUANTITIES:
        estimate = _estimate(curve, name)
        evidence = " ".join(map(str, estimate["evidence"]))
        shown = {field: estimate[field] for field in ("kind", "value", "low", "high")}
        why = estimate["reason"]
        found.append({"quantity": name, **shown, "evidence": evidence, "reason": why})
    return found


def _estimate(curve: Curve, name: str) -> dict[str, Any]:
    estimate = getattr(curve, name)
    return {"kind": estimate.kind, **asdict(estimate)}


def _fit(fit: Fit) -> dict[str, Any]:
    plain = {**asdict(fit), "form": fit.form.value}
    return {k: v if isinstance(v, str) or math.isfinite(v) else None for k, v in plain.items()}
