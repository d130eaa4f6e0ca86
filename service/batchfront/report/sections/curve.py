"""Steps to target against batch size: the points, and the curve through them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.text import number
from batchfront.frontier.expected import ExpectedFrontier, ExpectedPoint
from batchfront.frontier.expected_table import interval as expected_interval
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import WIDE, earliest, interval, widest
from batchfront.frontier.reruns import Confirmation, Confirmations
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, key, place
from batchfront.report.plotly import Figure, figure, log2_axis
from batchfront.report.sections.curve_traces import (
    boundaries,
    boundary_traces,
    curve_traces,
    regime_shapes,
    regimes,
)
from batchfront.report.text import (
    WINNER,
    count,
    escape,
    params_in_figure,
    rounded,
    short_count,
)


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


EXPECTED = "expected steps and their 90 % interval"


def expected_trace(expected: ExpectedFrontier) -> list[dict[str, Any]]:
    """What a run at the recommended metaparameters takes, on the steps figure; none, no trace."""
    points = expected.points
    if not points:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": EXPECTED,
            "x": [point.batch_size for point in points],
            "y": [rounded(point.steps) for point in points],
            "marker": {"symbol": "diamond-open", "size": 9, "line": _INK, "color": "var(--ink)"},
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [rounded(point.high - point.steps) for point in points],
                "arrayminus": [rounded(point.steps - point.low) for point in points],
                "color": "var(--ink)",
                "thickness": 1.25,
                "width": 0,
            },
            "hovertext": [_expected_text(point) for point in points],
            "hoverinfo": "text",
        }
    ]


def _expected_text(point: ExpectedPoint) -> str:
    return (
        f"<b>batch size {count(int(point.batch_size))}, expected</b><br>{number(point.steps)} "
        f"steps (90\u00a0% interval {expected_interval(point)})<br>"
        f"{params_in_figure(dict(point.metaparameters))}"
    )


def highest(traces: Sequence[Mapping[str, Any]]) -> list[float]:
    """The upper ends of what such traces have, in steps."""
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


def steps_figure(
    frontier: Frontier,
    curve: Curve | None = None,
    confirmations: Confirmations | None = None,
    expected: ExpectedFrontier | None = None,
) -> Figure:
    """The points with their values beside them, the perfect-scaling line, and the curve.

    confirmations -- winners run again, which stand beside the points
    expected      -- the expected steps, which do so, too

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
    expected = expected or ExpectedFrontier()
    again += expected_trace(expected)
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
        [*traces, *again, _points(frontier, curve, expected)],
        xaxis=across,
        yaxis=up,
        # The last value may stand to the right of its point.
        margin={"l": 40, "r": 12 if steps[-1] < 1000 else 28, "t": 32, "b": 44},
        shapes=shapes,
    )


def points_name(frontier: Frontier) -> str:
    """What the points are, in a word or two."""
    if not frontier.measured_elsewhere:
        return "fastest trial"
    return (
        "median of the seeds" if any(point.trials > 1 for point in frontier.points) else "measured"
    )


def _points(frontier: Frontier, curve: Curve | None, expected: ExpectedFrontier) -> dict[str, Any]:
    reached = frontier.reached
    # Those of the points that it goes through.
    through = curve is not None and not by_expected_steps(frontier)
    off = {outlier.batch_size for outlier in curve.outliers} if curve and through else set()
    symbols = ["circle-open" if point.batch_size in off else "circle" for point in reached]
    steps = [point.steps or 0 for point in reached]
    below = [_drawn_interval(point) for point in reached]
    places = _label_places(steps) if curve is None else _beside(reached, curve)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers+text" if curve is None else "markers+text",
        "name": points_name(frontier),
        "x": [point.batch_size for point in reached],
        "y": steps,
        "text": [short_count(found) for found in steps],
        "textposition": _clear_of(expected, reached, places),
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


def _clear_of(
    expected: ExpectedFrontier, reached: Sequence[Point], places: Sequence[str]
) -> list[str]:
    """The places, but below a point above which its expected steps are drawn."""
    over = {one.batch_size for one in expected.points}
    pairs = zip(reached, places, strict=True)
    return ["bottom center" if one.batch_size in over else place for one, place in pairs]


def _drawn_interval(point: Point) -> float:
    return (point.steps or 0) - earliest(point) if widest([point]) >= WIDE else 0


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


def curve_part(subject: Subject) -> Part:
    """The figure, and what its points are; nothing where no batch size has reached the goal."""
    frontier, fitted = subject.frontier, subject.fitted
    if not frontier.reached:
        return Part()
    name = f"{subject.key}/steps"
    figure = steps_figure(frontier, fitted.curve, subject.confirmations, frontier.expected)
    html = (
        f"<h3>Steps to target</h3>{_key(subject, figure)}{place(name, 'tall')}"
        f"{caption(*_sentences(subject))}"
    )
    return Part(html, {name: figure})


def _sentences(subject: Subject) -> Iterable[str]:
    frontier, fitted = subject.frontier, subject.fitted
    yield _what_points_are(frontier)
    if len(frontier.points) > 1:
        yield "On the dashed line, twice the batch takes half the steps."
    yield _interval_text(frontier)
    if fitted.curve is not None:
        if by_expected_steps(frontier):
            yield "The curve goes through the expected steps, and not through the fastest trials."
        yield (
            "The marks at the bottom are where the curve leaves a regime, with 90\u00a0% intervals."
        )
    elif fitted.refusal:
        yield f"No curve is drawn: {escape(fitted.refusal)}."


_POINT = '<circle cx="12" cy="6" r="4" class="winner"/>'

_LINES = {
    "fitted curve and its 90 % interval": '<rect width="24" height="12" class="interval"/>'
    '<path d="M0 6H24" class="curve"/>',
    "perfect scaling": '<path d="M0 6H24" class="line dash"/>',
}

_OFF = {"off the curve": '<circle cx="12" cy="6" r="3.5" class="off"/>'}

_BESIDE = {
    "winner run again: median and range": '<path d="M12 0V12M6 6H18" class="again"/>',
    EXPECTED: '<path d="M12 0V12M8 6L12 2L16 6L12 10Z" class="again"/>',
}


def _key(subject: Subject, figure: Figure) -> str:
    curve = subject.fitted.curve
    names = [trace.get("name") for trace in figure["data"]]
    beside = {name: mark for name, mark in _BESIDE.items() if name in names}
    if curve is None:
        return key(beside) if beside else ""
    shades = {
        regime.name: f'<rect width="24" height="12" class="{regime.css}"/>'
        for regime, _, _ in regimes(curve, 0.0, math.inf)
    }
    off = _OFF if curve.outliers and not by_expected_steps(subject.frontier) else {}
    points = {points_name(subject.frontier): _POINT}
    ends = boundaries(curve, figure["layout"]["xaxis"]["range"])
    return key(points | _LINES | off | beside | shades | {one.name: one.mark for one in ends})


def _interval_text(frontier: Frontier) -> str:
    ratio = widest(frontier.reached)
    if ratio >= WIDE:
        return "Bars reach down to the first step at which the goal may have been passed."
    if ratio == 1:
        return ""
    before = math.ceil(1000 * (1 - 1 / ratio)) / 10
    return (
        f"The goal was passed at most {before:g}\u00a0% before the step shown, which is too "
        "narrow to draw."
    )


def _what_points_are(frontier: Frontier) -> str:
    trials = {point.trials for point in frontier.points}
    most = f"{'up to ' if len(trials) > 1 else ''}{max(trials)}"
    if frontier.measured_elsewhere:
        each = "one run" if max(trials) == 1 else f"the median of {most} seeds"
        return f"Each point is {each}, measured elsewhere."
    each = "a single trial" if max(trials) == 1 else f"the fastest of {most} trials"
    return f"Each point is {each}; another search would find somewhat other points."
