"""How closely steps to target are known: the goal was passed between two evaluations."""

from collections.abc import Sequence

from batchfront.frontier.curve.text import count
from batchfront.frontier.frontier import Frontier, Point
from batchfront.phrases import percent

WIDE = 1.05
"""From this ratio of its ends on, an interval is to be drawn, and to be told of."""


def earliest(point: Point) -> float:
    """The first step at which the goal may have been passed: after the evaluation before."""
    steps = point.steps or 0
    return steps if point.steps_lower is None else min(point.steps_lower + 1, steps)


def interval(point: Point) -> str:
    """The steps at one of which the goal was first passed: 1,824–1,841; "–" where nobody knows."""
    if point.steps is None or (point.measured_elsewhere and point.steps_lower is None):
        return "–"
    first = earliest(point)
    return count(first) if first == point.steps else f"{count(first)}–{count(point.steps)}"


def widest(points: Sequence[Point]) -> float:
    """The largest ratio of a point's steps to the first step at which it may have passed."""
    return max((point.steps / earliest(point) for point in points if point.steps), default=1.0)


def how_far_apart(frontier: Frontier) -> str:
    """How far apart the evaluations lie between which the goal was passed: "up to 12 % of the steps
    apart where the goal was passed"; empty while none has passed it."""
    if not frontier.reached:
        return ""
    share = 1 - 1 / widest(frontier.reached)
    most = percent(share) if share < 0.01 else f"up to {percent(share)}"
    return f"{most} of the steps apart where the goal was passed"


def apart(frontier: Frontier) -> str | None:
    """Where evaluations lie so far apart that the steps are not known closely, in a sentence; None
    where they don't."""
    ratio = widest(frontier.reached)
    if ratio < WIDE:
        return None
    where = next(p.batch_size for p in frontier.reached if widest([p]) == ratio)
    return (
        f"Evaluations lie {how_far_apart(frontier)} (at batch size {where:,}): steps are known "
        "only to within that."
    )
