"""Steps to target against batch size, beside perfect scaling."""

from collections.abc import Sequence
from typing import Any

from service.frontier import Frontier, Point
from service.report.axes import Figure, figure, log2_axis
from service.report.notation import count, earliest, interval, params_in_figure, short_count
from service.report.outcomes import WINNER

VISIBLE = 1.05
"""An interval is drawn from this ratio of its ends on; a narrower one is hidden by its mark."""


def steps_figure(frontier: Frontier) -> Figure:
    """The points with their values beside them, and the perfect-scaling line.

    At least one batch size must have a winner.
    """
    reached = frontier.reached
    first = reached[0]
    last_batch = frontier.points[-1].batch_size
    ideal = perfect_steps(first, last_batch)
    batches = [point.batch_size for point in frontier.points]
    steps = [point.steps or 0 for point in reached]
    low, high = min(*steps, ideal), max(steps)
    low *= (low / high) ** 0.06  # room for the line's name below its end
    return figure(
        f"Steps to target against batch size, {frontier.workload}",
        [_winners(reached)],
        xaxis=log2_axis("batch size", batches[0], batches[-1], ticks=16, pad=0.5, room=280),
        yaxis=log2_axis("steps to target", low, high, ticks=9, pad=0.6),
        # The last value may stand to the right of its point.
        margin={"l": 40, "r": 12 if steps[-1] < 1000 else 28, "t": 32, "b": 44},
        shapes=[_perfect_line(first, last_batch)] if len(batches) > 1 else [],
    )


def perfect_steps(first: Point, batch_size: int) -> float:
    """The steps at a batch size if it needed as many examples as the first point does."""
    return (first.examples or 0) / batch_size


def widest_interval(points: Sequence[Point]) -> float:
    """The largest ratio of a point's steps to the first step at which it may have passed."""
    return max((point.steps / earliest(point) for point in points if point.steps), default=1.0)


def _winners(reached: Sequence[Point]) -> dict[str, Any]:
    below = [_drawn_interval(point) for point in reached]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [point.batch_size for point in reached],
        "y": [point.steps for point in reached],
        "text": [short_count(point.steps or 0) for point in reached],
        "textposition": _label_places([point.steps or 0 for point in reached]),
        "textfont": {"size": 12, "color": "var(--ink)"},
        "cliponaxis": False,
        "line": {"color": WINNER, "width": 2.5},
        "marker": {"color": WINNER, "size": 8, "line": {"color": "var(--paper)", "width": 1.5}},
        "hovertext": [_hover(point) for point in reached],
        "hoverinfo": "text",
    }
    if any(below):
        zero = [0] * len(below)
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": zero,
            "arrayminus": below,
            "color": WINNER,
            "thickness": 1.5,
            "width": 4,
        }
    return trace


def _label_places(steps: Sequence[int]) -> list[str]:
    """Where each value stands beside its point, clear of the line to the next one."""
    places = []
    for before, here, after in zip(
        [steps[0], *steps], steps, [*steps[1:], steps[-1]], strict=False
    ):
        if after > here:
            places.append("top left" if before < here else "bottom center")
        else:
            places.append("top center" if before < here else "top right")
    return places


def _drawn_interval(point: Point) -> int:
    return (point.steps or 0) - earliest(point) if widest_interval([point]) >= VISIBLE else 0


def _hover(point: Point) -> str:
    number = point.best.number if point.best else 0
    lines = [
        f"<b>batch size {count(point.batch_size)}</b>",
        f"{count(point.steps or 0)} steps (first passed at {interval(point)})",
        f"{count(point.examples or 0)} examples",
        f"trial {number}",
        params_in_figure(dict(point.params)),
    ]
    return "<br>".join(line for line in lines if line)


def _perfect_line(first: Point, last_batch: int) -> dict[str, Any]:
    return {
        "type": "line",
        "layer": "below",
        "x0": first.batch_size,
        "y0": first.steps,
        "x1": last_batch,
        "y1": perfect_steps(first, last_batch),
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
        "label": {
            "text": "perfect scaling",
            "textposition": "end",
            "yanchor": "top",
            "padding": 8,
            "font": {"size": 12, "color": "var(--muted)"},
        },
    }
