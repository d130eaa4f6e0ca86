"""Several lines in one figure, by colour, and their key; hollow marks are bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchfront.report.html import key
from batchfront.report.plotly import Figure, figure, log2_axis
from batchfront.report.text import in_figure, rounded

COLORS = 8
"""So many lines are told apart by colour, more by dashes: --c0 to --c7 of the page."""

_DASHES = {"solid": "", "dash": "dash", "dot": "dot"}

TOLD_APART = COLORS * len(_DASHES)
"""The most lines that a figure can tell apart."""


@dataclass(frozen=True)
class Mark:
    """A point of a line. `said` is its hover label, escaped; `sure` is False for a bound; `trial`
    is the Optuna study and the number of the trial behind it."""

    x: float
    y: float
    said: str
    sure: bool = True
    trial: tuple[int, int] | None = None


@dataclass(frozen=True)
class Series:
    """A line: its name, which is not escaped, and its marks."""

    name: str
    marks: Sequence[Mark]


def lines_figure(
    label: str,
    lines: Sequence[Series],
    xaxis: Mapping[str, Any],
    yaxis: Mapping[str, Any],
    shapes: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    """The lines, each in a colour of its own, in their order."""
    traces = [_trace(number, line) for number, line in enumerate(lines) if line.marks]
    return figure(
        label,
        traces,
        xaxis=xaxis,
        yaxis=yaxis,
        shapes=list(shapes),
        margin={"l": 40, "r": 12, "t": 32, "b": 44},
    )


def batch_axis(batches: Sequence[int]) -> dict[str, Any]:
    """The horizontal axis of batch sizes, for a figure as wide as half of the page."""
    return log2_axis("batch size", min(batches), max(batches), ticks=12, pad=0.5, room=270)


def level(at: float) -> dict[str, Any]:
    """A horizontal line, such as that of the best."""
    return {
        "type": "line",
        "layer": "between",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": at,
        "y1": at,
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
    }


def lines_key(lines: Sequence[Series], bound: str = "") -> str:
    """The key of a figure; `bound` is what a hollow mark means there, if there is one."""
    marks = {
        in_figure(line.name): f'<path d="M0 6H24" class="series c{number % COLORS} '
        f'{_dash(number)}"/><circle cx="12" cy="6" r="3.5" class="c{number % COLORS} dotted"/>'
        for number, line in enumerate(lines)
        if line.marks
    }
    if bound and not all(mark.sure for line in lines for mark in line.marks):
        marks[bound] = '<circle cx="12" cy="6" r="3.5" class="hollow"/>'
    return key(marks)


def _dash(number: int) -> str:
    return list(_DASHES)[number // COLORS % len(_DASHES)]


def _trace(number: int, line: Series) -> dict[str, Any]:
    color = f"var(--c{number % COLORS})"
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": in_figure(line.name),
        "x": [rounded(mark.x) for mark in line.marks],
        "y": [rounded(mark.y) for mark in line.marks],
        "line": {"color": color, "width": 2, "dash": _dash(number)},
        "marker": {
            "symbol": ["circle" if mark.sure else "circle-open" for mark in line.marks],
            "color": color,
            "size": 8,
            "opacity": 1,
        },
        "hovertext": [f"<b>{in_figure(line.name)}</b><br>{mark.said}" for mark in line.marks],
        "hoverinfo": "text",
        "cliponaxis": False,
    }
    trials = [mark.trial for mark in line.marks]
    known = [trial for trial in trials if trial is not None]
    if len(known) == len(trials):
        trace["meta"] = {"studies": [study for study, _ in known]}
        trace["customdata"] = [trial for _, trial in known]
    return trace
