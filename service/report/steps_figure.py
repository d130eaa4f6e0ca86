"""Steps to target against batch size, beside perfect scaling."""

from collections.abc import Sequence
from typing import Any

from service.frontier import Frontier, Point
from service.report.axes import Figure, figure, log2_axis
from service.report.confirmed import Confirmations, confirmed_trace, highest
from service.report.curve_traces import boundary_traces, curve_traces, regime_shapes, regimes
from service.report.notation import count, earliest, interval, params_in_figure, short_count
from service.report.outcomes import WINNER
from service.scaling import Curve

VISIBLE = 1.05
"""An interval is drawn from this ratio of its ends on; a narrower one is hidden by its mark."""


def steps_figure(
    frontier: Frontier, curve: Curve | None = None, confirmations: Confirmations | None = None
) -> Figure:
    """The points with their values beside them, the perfect-scaling line, and the curve.

    confirmations -- winners run again, which stand beside the points

    At least one batch size must have reached the goal. Without a curve a line joins the points, and
    perfect scaling starts from the first of them instead of from the curve.
    """
    reached = frontier.reached
    batches = [point.batch_size for point in frontier.points]
    first, last = reached[0], batches[-1]
    begin = float(first.steps or 0)
    traces = []
    if curve is not None:
        # Not where the goal was tried in vain: nobody could ever measure it there.
        until = reached[-1].batch_size if frontier.unreached_beyond else last
        traces = curve_traces(curve, batches[0], until)
        begin = float(curve.predict([first.batch_size]).median[0])
    again = confirmed_trace(frontier, confirmations or {})
    end = begin * first.batch_size / last
    steps = [point.steps or 0 for point in reached]
    drawn = [value for trace in traces for value in trace["y"]]
    drawn += highest(again)
    low, high = min(*steps, end, *drawn), max(*steps, begin, *drawn)
    # Room for the line's name below its end, and for the marks of the curve below that.
    low *= (low / high) ** (0.06 if curve is None else 0.16)
    across = log2_axis("batch size", batches[0], last, ticks=16, pad=0.5, room=280)
    up = log2_axis("steps to target", low, high, ticks=9, pad=0.6)
    shapes = [_perfect_line(first.batch_size, begin, last, end)] if len(batches) > 1 else []
    if curve is not None:
        bottom = 10 ** (up["range"][0] + 0.04 * (up["range"][1] - up["range"][0]))
        traces += boundary_traces(curve, across["range"], bottom)
        shapes = [*regime_shapes(regimes(curve, *(10**side for side in across["range"]))), *shapes]
    return figure(
        f"Steps to target against batch size, {frontier.workload}",
        [*traces, *again, _points(frontier, curve)],
        xaxis=across,
        yaxis=up,
        # The last value may stand to the right of its point.
        margin={"l": 40, "r": 12 if steps[-1] < 1000 else 28, "t": 32, "b": 44},
        shapes=shapes,
    )


def perfect_steps(first: Point, batch_size: int) -> float:
    """The steps at a batch size if it needed as many examples as the first point does."""
    return (first.examples or 0) / batch_size


def widest_interval(points: Sequence[Point]) -> float:
    """The largest ratio of a point's steps to the first step at which it may have passed."""
    return max((point.steps / earliest(point) for point in points if point.steps), default=1.0)


def points_name(frontier: Frontier) -> str:
    """What the points are, in a word or two."""
    if not frontier.measured_elsewhere:
        return "fastest trial"
    return (
        "median of the seeds" if any(point.trials > 1 for point in frontier.points) else "measured"
    )


def _points(frontier: Frontier, curve: Curve | None) -> dict[str, Any]:
    reached = frontier.reached
    off = {outlier.batch_size for outlier in curve.outliers} if curve else set()
    symbols = ["circle-open" if point.batch_size in off else "circle" for point in reached]
    steps = [point.steps or 0 for point in reached]
    below = [_drawn_interval(point) for point in reached]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers+text" if curve is None else "markers+text",
        "name": points_name(frontier),
        "x": [point.batch_size for point in reached],
        "y": steps,
        "text": [short_count(found) for found in steps],
        "textposition": _label_places(steps) if curve is None else _beside(reached, curve),
        "textfont": {"size": 12, "color": "var(--ink)"},
        "cliponaxis": False,
        "line": {"color": WINNER, "width": 2.5},
        "marker": {
            "symbol": symbols,
            "color": WINNER,
            "size": 8,
            "line": {
                "color": [WINNER if s == "circle-open" else "var(--paper)" for s in symbols],
                "width": 1.5,
            },
        },
        "meta": {"studies": [point.study.id for point in reached]},
        "customdata": [point.best.number for point in reached if point.best],
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


def _label_places(steps: Sequence[float]) -> list[str]:
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


def _beside(reached: Sequence[Point], curve: Curve) -> list[str]:
    """Where each value stands beside its point: on the side away from the curve."""
    fitted = curve.predict([point.batch_size for point in reached]).median
    above = [(point.steps or 0) >= on for point, on in zip(reached, fitted, strict=True)]
    return ["top center" if up else "bottom center" for up in above]


def _drawn_interval(point: Point) -> float:
    return (point.steps or 0) - earliest(point) if widest_interval([point]) >= VISIBLE else 0


def _hover(point: Point) -> str:
    lines = [
        f"<b>batch size {count(point.batch_size)}</b>",
        f"{count(point.steps or 0)} steps{_first_passed(point)}",
        f"{count(point.examples or 0)} examples",
        "" if point.trial is None else f"trial {point.trial}",
        params_in_figure(dict(point.params)),
    ]
    return "<br>".join(line for line in lines if line)


def _first_passed(point: Point) -> str:
    known = interval(point)
    return "" if known == "–" else f" (first passed at {known})"


def _perfect_line(first: float, begin: float, last: float, end: float) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "perfect scaling",
        "layer": "between",
        "x0": first,
        "y0": begin,
        "x1": last,
        "y1": end,
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
        "label": {
            "text": "perfect scaling",
            "textposition": "end",
            "yanchor": "top",
            "padding": 8,
            "font": {"size": 12, "color": "var(--muted)"},
        },
    }
