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
    begin = curve.asked.perfect_from or first
    stretches = (
        (NEAR_PERFECT, begin, _known_until(perfect)),
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


@dataclass(frozen=True)
class Boundary:
    """Where the curve leaves a regime, as a figure and its key have it.

    at     -- the batch size, or the bound where it isn't known
    filled -- whether its mark is: the two are told apart by that
    """

    words: str
    end: Estimate
    at: float
    filled: bool

    @property
    def name(self) -> str:
        """What a key says: "useful up to at least 512"."""
        bound = "" if self.end.kind == "number" else f"{self.end.kind} "
        return f"{self.words} {bound}{size(self.at)}"

    @property
    def symbol(self) -> str:
        """Its mark, as Plotly calls it."""
        return f"{_SHAPES[self.end.kind].symbol}{'' if self.filled else '-open'}"

    @property
    def mark(self) -> str:
        """Its mark as SVG of 24 by 12."""
        line = "M0 6H24" if self.end.kind == "number" else ""
        drawn = f"{line}{_SHAPES[self.end.kind].path}"
        return f'<path d="{drawn}" class="end{"" if self.filled else " open"}"/>'


@dataclass(frozen=True)
class _Shape:
    symbol: str
    path: str


_SHAPES = {
    "number": _Shape("diamond-tall", "M12 1L15 6L12 11L9 6Z"),
    "at least": _Shape("triangle-right", "M9 2L16 6L9 10Z"),
    "at most": _Shape("triangle-left", "M15 2L8 6L15 10Z"),
}


def boundaries(curve: Curve, axis_range: Sequence[float]) -> list[Boundary]:
    """The ends of the regimes that lie within a horizontal axis, whose ends are powers of ten."""
    ends = {"near-perfect until": curve.perfect_until, "useful up to": curve.useful_until}
    left, right = (10.0**end for end in axis_range)
    found = []
    for row, (words, end) in enumerate(ends.items()):
        at = end.value or end.low or end.high
        if at is not None and left < at < right:
            found.append(Boundary(words, end, at, filled=row == 0))
    return found


def boundary_traces(curve: Curve, axis_range: Sequence[float], bottom: float) -> list[Trace]:
    """The ends of the regimes with their intervals, as bars along the bottom of the figure.

    axis_range -- the ends of the horizontal axis, as powers of ten
    bottom     -- the height at which the lower bar stands, in steps
    """
    axis = (10.0 ** axis_range[0], 10.0 ** axis_range[1])
    return [
        _bar(one, axis, bottom if one.filled else bottom * _ROW)
        for one in boundaries(curve, axis_range)
    ]


_ROW = 1.3
"""How much higher than the first bar the second one stands, as a factor of steps."""


def _bar(boundary: Boundary, axis: tuple[float, float], height: float) -> Trace:
    end, at = boundary.end, boundary.at
    low, high = (at, at) if end.value is None else (end.low or axis[0], end.high or axis[1])
    low, high = max(low, axis[0]), min(high, axis[1])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": boundary.name,
        "x": [rounded(at)],
        "y": [rounded(height)],
        "marker": {"symbol": boundary.symbol, "size": 9, "color": "var(--muted)"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - at)],
            "arrayminus": [rounded(at - low)],
            "color": "var(--muted)",
            "thickness": 1.5,
            "width": 0,
        },
        "hovertext": [f"{boundary.words} {estimate_text(end, size)}"],
        "hoverinfo": "text",
    }


def _line(batch_sizes: Iterable[float], steps: Iterable[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [rounded(float(size)) for size in batch_sizes],
        "y": [rounded(float(value)) for value in steps],
    }
