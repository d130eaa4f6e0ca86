"""The curve through the points of the steps figure: its band, and the regimes behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import estimate_text, size
from batchfront.report.text import WINNER, rounded


@dataclass(frozen=True)
class Regime:
    """A stretch of batch sizes: what it is called, and its colour among the page's."""

    name: str
    css: str

    @property
    def color(self) -> str:
        return f"var(--{self.css})"


NEAR_PERFECT = Regime("near-perfect scaling", "near")

DIMINISHING = Regime("diminishing returns", "some")

NO_MORE = Regime("no more gain", "none")

Trace = dict[str, Any]

_POINTS = 60


def curve_traces(curve: Curve, first: float, last: float) -> list[Trace]:
    """The band, as two lines with the space between them filled, and the curve in it."""
    sizes = np.geomspace(first, last, _POINTS)
    found = curve.predict(sizes)
    edge: Trace = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    band = {"fill": "tonexty", "fillcolor": "var(--interval)", "name": "90 % interval"}
    return [
        {**_line(sizes, found.low), **edge},
        {**_line(sizes, found.high), **edge, **band, "showlegend": True},
        {
            **_line(sizes, found.median),
            "name": "fitted curve",
            "line": {"color": WINNER, "width": 2.5},
            "hoverinfo": "skip",
        },
    ]


def regimes(curve: Curve, first: float, last: float) -> list[tuple[Regime, float, float]]:
    """The regimes that the curve shows between two batch sizes, with their ends.

    A stretch that is not known to belong to one is left out.
    """
    perfect, useful = curve.perfect_until, curve.useful_until
    stretches = (
        (NEAR_PERFECT, first, _known_until(perfect)),
        (DIMINISHING, _known_from(perfect), _known_until(useful)),
        (NO_MORE, _known_from(useful), last),
    )
    found = []
    for regime, start, end in stretches:
        if start is not None and end is not None:
            start, end = max(start, first), min(end, last)
            if end > start:
                found.append((regime, start, end))
    return found


def _known_until(end: Estimate) -> float | None:
    return end.low if end.value is None else end.value


def _known_from(end: Estimate) -> float | None:
    return end.high if end.value is None else end.value


def regime_shapes(found: Sequence[tuple[Regime, float, float]]) -> list[Trace]:
    """The regimes, shaded from the bottom of the figure to its top."""
    return [
        {
            "type": "rect",
            "layer": "below",
            "name": regime.name,
            "x0": rounded(start),
            "x1": rounded(end),
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "fillcolor": regime.color,
            "line": {"width": 0},
        }
        for regime, start, end in found
    ]


def boundary_traces(curve: Curve, axis_range: Sequence[float], bottom: float) -> list[Trace]:
    """The ends of the regimes with their intervals, as bars along the bottom of the figure.

    axis_range -- the ends of the horizontal axis, as powers of ten
    bottom     -- the height at which the lower bar stands, in steps
    """
    ends = {"near-perfect until": curve.perfect_until, "useful up to": curve.useful_until}
    left, right = (10.0**end for end in axis_range)
    traces = []
    for row, (name, end) in enumerate(ends.items()):
        at = end.value or end.low or end.high
        if at is not None and left < at < right:
            traces.append(_bar(name, end, at, (left, right), bottom * _ROW**row))
    return traces


_ROW = 1.3
"""How much higher than the first bar the second one stands, as a factor of steps."""

_SYMBOLS = {"number": "diamond-tall", "at least": "triangle-right", "at most": "triangle-left"}


def _bar(name: str, end: Estimate, at: float, axis: tuple[float, float], height: float) -> Trace:
    low, high = (at, at) if end.value is None else (end.low or axis[0], end.high or axis[1])
    low, high = max(low, axis[0]), min(high, axis[1])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(at)],
        "y": [rounded(height)],
        "marker": {"symbol": _SYMBOLS[end.kind], "size": 9, "color": "var(--muted)"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - at)],
            "arrayminus": [rounded(at - low)],
            "color": "var(--muted)",
            "thickness": 1.5,
            "width": 0,
        },
        "hovertext": [f"{name} {estimate_text(end, size)}"],
        "hoverinfo": "text",
        "showlegend": False,
    }


def _line(batch_sizes: Iterable[float], steps: Iterable[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [rounded(float(size)) for size in batch_sizes],
        "y": [rounded(float(value)) for value in steps],
    }
