"""Winners run again, as the steps figure shows them beside the single best."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.answers import number
from service.confirmation import Confirmation
from service.frontier import Frontier
from service.report.notation import count

Confirmations = Mapping[int, Sequence[Confirmation]]
"""Batch size to the trials that were run again, the best one of the search first."""


def confirmed_trace(frontier: Frontier, found: Confirmations) -> list[dict[str, Any]]:
    """The winners run again, on the steps figure: medians with their ranges; none, no trace."""
    drawn = list(_medians(frontier, found))
    if not drawn:
        return []
    ups = [(one.high or one.steps[-1]) - median for _, one, median in drawn]
    downs = [median - one.steps[0] for _, one, median in drawn]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "winner run again: median and range",
            "x": [size for size, _, _ in drawn],
            "y": [median for _, _, median in drawn],
            "marker": {"symbol": "line-ew-open", "size": 14, "line": _INK, "color": "var(--ink)"},
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": ups,
                "arrayminus": downs,
                "color": "var(--ink)",
                "thickness": 1.25,
                "width": 3,
            },
            "hovertext": [_said(size, one) for size, one, _ in drawn],
            "hoverinfo": "text",
        }
    ]


def highest(traces: Sequence[Mapping[str, Any]]) -> list[float]:
    """The upper ends of what `confirmed_trace` gave, in steps."""
    return [
        median + up
        for trace in traces
        for median, up in zip(trace["y"], trace["error_y"]["array"], strict=True)
    ]


_INK = {"width": 2, "color": "var(--ink)"}


def _medians(frontier: Frontier, found: Confirmations) -> Iterable[tuple[int, Confirmation, float]]:
    """The winners' that have a median, by batch size."""
    for point in frontier.reached:
        for one in found.get(point.batch_size, ()):
            if point.best and one.trial == point.best.number and one.median is not None:
                yield point.batch_size, one, one.median


def _said(size: int, one: Confirmation) -> str:
    return (
        f"<b>batch size {count(size)}, run again</b><br>median {number(one.median or 0)} "
        f"steps, {span(one)}<br>{len(one.steps)} of {one.seeds} seeds reached the goal"
    )


def span(one: Confirmation) -> str:
    """The fewest and the most steps: "54–71", "54–never"."""
    if one.low is None:
        return "–"
    return f"{count(one.low)}–{'never' if one.high is None else count(one.high)}"
