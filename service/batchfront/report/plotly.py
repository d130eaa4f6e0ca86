"""Layouts and axes, as plain Plotly data. Colours are CSS variables that the page fills in."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from sys import float_info
from typing import Any

from batchfront.report.scripts import asset
from batchfront.report.text import in_figure, power, significant, words
from batchfront.workload.search_space import Choice, Dimension, Integer, Log, ReverseLog, Value

Figure = dict[str, Any]
"""`data` and `layout` as Plotly takes them, and `label`, the figure's name for a screen reader."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def figure(label: str, data: Sequence[dict[str, Any]], **layout: Any) -> Figure:
    """A figure in the report's style."""
    base: dict[str, Any] = {
        "font": {"family": _FONT, "size": 12, "color": "var(--muted)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 40, "r": 12, "t": 32, "b": 44},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--paper)",
            "bordercolor": "var(--rule)",
            "font": {"family": _FONT, "size": 12, "color": "var(--ink)"},
            "align": "left",
        },
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--muted)",
            "activecolor": "var(--ink)",
        },
        "showlegend": False,
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "font": {"color": "var(--ink)"},
            "itemsizing": "constant",
        },
    }
    return {"label": label, "data": list(data), "layout": _titled_above({**base, **layout})}


def _titled_above(layout: dict[str, Any]) -> dict[str, Any]:
    """The vertical axis's title above it: upright, and a phone's width is left to the data."""
    axis = dict(layout["yaxis"])
    text = axis.pop("title", {}).get("text", "")
    notes = [*layout.get("annotations", ()), *([standing_above(text)] if text else [])]
    return {**layout, "yaxis": axis, "annotations": notes}


def standing_above(text: str) -> dict[str, Any]:
    """The annotation of a text that stands above a figure's left end."""
    return {
        "text": text,
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
    }


def nothing(label: str, message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    note = {
        "text": message,
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
        "font": {"size": 13, "color": "var(--muted)"},
    }
    hidden = {"visible": False, "range": [0, 1]}
    axes = {"xaxis": hidden, "yaxis": hidden}
    return figure(label, (), **axes, annotations=[note], plot_bgcolor="var(--soft)")


def plain_axis(title: str) -> dict[str, Any]:
    """An axis that finds its own range."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 12}},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zeroline": False,
        "automargin": True,
        "tickangle": 0,
        "tickfont": {"size": 11},
    }


def whole_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """An axis of whole numbers."""
    found = list(values) or [0]
    return {**plain_axis(title), "dtick": math.ceil((max(found) - min(found)) / 7) or 1}


def log2_axis(
    title: str, low: float, high: float, *, ticks: int, pad: float, room: float = math.inf
) -> dict[str, Any]:
    """A logarithmic axis with marks at powers of two.

    ticks -- the most marks
    pad   -- octaves beyond the ends, at least
    room  -- the axis's width on the narrowest screen, where marks must not run together
    """
    pad = max(pad, 0.06 * math.log2(high / low))
    bottom, top = math.log2(low) - pad, math.log2(high) + pad
    powers = range(max(0, math.ceil(bottom)), math.floor(top) + 1)
    # The smallest batch size keeps its mark when marks are skipped.
    start = powers.index(round(math.log2(low))) if round(math.log2(low)) in powers else 0
    every = max(1, math.ceil(len(powers) / ticks))
    marks = [2**power for power in powers[start % every :: every]]
    while _crowded(marks, room * every / (top - bottom)):
        every += 1
        marks = [2**power for power in powers[start % every :: every]]
    return {
        **plain_axis(title),
        "type": "log",
        "range": [bottom * math.log10(2), top * math.log10(2)],
        "tickvals": marks,
        "ticktext": [f"{mark:,}" for mark in marks],
    }


def _crowded(marks: Sequence[int], spacing: float) -> bool:
    """Whether two neighbours' labels, each centred on its mark, would touch."""
    widths = [6.2 * len(f"{mark:,}") for mark in marks]
    return any((a + b) / 2 + 2 > spacing for a, b in pairwise(widths))


def log_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis that holds all values, with a few marks at 1, 2 and 5."""
    found = [value for value in values if value > 0] or [1.0]
    bottom, top = math.log10(min(found)), math.log10(max(found))
    pad = max(0.06 * (top - bottom), (0.8 - (top - bottom)) / 2)  # room for two marks at least
    bottom, top = bottom - pad, top + pad
    decades = range(math.floor(bottom), min(math.ceil(top), float_info.max_10_exp) + 1)
    marks: list[float] = []
    for multiples in ((1,), (1, 3), (1, 2, 5)):
        every = math.ceil(len(decades) / 7) if len(multiples) == 1 else 1
        tens = [10.0**decade for decade in decades[::every]]
        denser = [float(f"{n * ten:.3g}") for ten in tens for n in multiples]
        denser = [mark for mark in denser if mark > 0 and bottom <= math.log10(mark) <= top]
        if marks and len(denser) > 7:
            break
        marks = denser
    return {
        **plain_axis(title),
        "type": "log",
        "range": [bottom, top],
        "tickvals": marks,
        "ticktext": [_mark(mark) for mark in marks],
    }


def _mark(value: float) -> str:
    return f"{value:,g}" if 1e-4 <= value < 1e6 else power(f"{value:g}")


@dataclass(frozen=True)
class Scale:
    """How a metaparameter is drawn: as `shown(value)`, on `axis(values)`."""

    title: str
    shown: Callable[[Value], Any]
    axis: Callable[[Iterable[Any]], dict[str, Any]]
    log: bool


def scale_of(name: str, dimension: Dimension | None) -> Scale:
    """The scale of a metaparameter in the coordinates in which it is searched."""
    title = in_figure(words(name))
    if isinstance(dimension, ReverseLog) or (dimension is None and name == "momentum"):
        title = f"1 − {title}"
        return Scale(title, lambda v: 1 - float(v), lambda vs: log_axis(title, vs), log=True)
    if isinstance(dimension, Log) or (dimension is None and name == "learning_rate"):
        return Scale(title, float, lambda vs: log_axis(title, vs), log=True)
    if isinstance(dimension, Integer) and dimension.log:
        return Scale(title, float, lambda vs: log_axis(title, vs), log=True)
    if isinstance(dimension, Choice):
        named = [in_figure(significant(value)) for value in dimension.values]
        axis = {
            **plain_axis(title),
            "type": "category",
            "categoryorder": "array",
            "categoryarray": named,
            "range": [-0.5, len(named) - 0.5],
        }
        return Scale(title, lambda v: in_figure(significant(v)), lambda _: axis, log=False)
    if isinstance(dimension, Integer):
        return Scale(title, float, lambda vs: whole_axis(title, vs), log=False)
    return Scale(title, float, lambda _: plain_axis(title), log=False)


def in_light_colours(value: Any) -> Any:
    """Plotly data with its colours by name, `var(--ink)`, as the colours themselves."""
    colours = dict(re.findall(r"(--[\w-]+): ([^;]+);", asset("page.css").partition("}")[0]))
    return _coloured(value, colours)


def _coloured(value: Any, colours: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(entry, colours) for key, entry in value.items()}
    if isinstance(value, list):
        return [_coloured(entry, colours) for entry in value]
    named = re.fullmatch(r"var\((--[\w-]+)\)", value) if isinstance(value, str) else None
    return colours[named[1]] if named else value
