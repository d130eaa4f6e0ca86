"""Time against the number of devices, and money against time, as figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from batchfront.advice.advise import Advice
from batchfront.advice.answers import comparable, spent
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.advice.text import where
from batchfront.advice.units import Unit, seconds_text, spread, time_spread, unit_of
from batchfront.frontier.curve.text import number as shortened
from batchfront.report.plotly import Figure, figure, log2_axis, log_axis
from batchfront.report.series import COLORS
from batchfront.report.text import count, in_figure, rounded

CHOSEN = "as many devices as pay"


@dataclass(frozen=True)
class Line:
    """The choices on one kind of device, in one kind of machine, by number of devices.

    name -- of the machine, or else of the device
    """

    name: str
    advice: Advice
    choices: Sequence[Choice]

    @property
    def knee(self) -> Choice | None:
        """The one of as many devices as pay, if it is among these."""
        return self.advice.knee if self.advice.knee in self.choices else None


def lines_of(advices: Sequence[Advice]) -> list[Line]:
    """What is drawn in a colour of its own."""
    return [
        Line(machine or advice.device, advice, _of(advice.choices, machine))
        for advice in advices
        for machine in dict.fromkeys(one.machine for one in advice.choices)
    ]


def _of(choices: Sequence[Choice], machine: str | None) -> list[Choice]:
    mine = (one for one in choices if one.machine == machine)
    return sorted(mine, key=lambda one: one.devices)


def paid_in(lines: Sequence[Line]) -> str:
    """What the choices are compared by: "cost" or "device-hours"."""
    priced = any(one.cost is not None for line in lines for one in line.choices)
    return "cost" if priced else "device-hours"


@dataclass(frozen=True)
class _Point:
    """A choice as it is drawn, with a number beside it."""

    choice: Choice
    x: Interval
    y: Interval
    beside: int


def time_figure(workload: str, lines: Sequence[Line]) -> Figure:
    """The time to the goal against the number of devices, with 90 % intervals; each point with its
    batch size beside it, and a dashed line for twice the devices in half the time."""
    choices = [one for line in lines for one in line.choices]
    unit = _unit(choices)
    first = min(choices, key=lambda one: (one.devices, one.hours.median))
    last = max(one.devices for one in choices)
    start = unit.of(first.hours.median)
    end = start * first.devices / last
    ideal = {
        "type": "line",
        "layer": "between",
        "x0": first.devices,
        "y0": rounded(start),
        "x1": last,
        "y1": rounded(end),
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
    }
    drawn = [
        [_Point(c, Interval.around(c.devices), _in(unit, c), c.batch_size) for c in line.choices]
        for line in lines
    ]
    times = [value for points in drawn for one in points for value in _ends(one.y)]
    return figure(
        f"Time to the goal against the number of devices, {workload}",
        [trace for n, line in enumerate(lines) for trace in _traces(n, line, drawn[n], "lines+")],
        xaxis=log2_axis("devices", first.devices, last, ticks=8, pad=0.4, room=270),
        # The dashed line may leave below: all else would be pressed together.
        yaxis=log_axis(unit.name, [*times, max(end, min(times) / 2)]),
        margin={"l": 40, "r": 36, "t": 32, "b": 44},  # room for what stands beside the last point
        shapes=[ideal] if last > first.devices else [],
    )


def money_figure(workload: str, lines: Sequence[Line]) -> Figure:
    """What each choice costs against its time. A line joins those than which no other of the same
    advice is both faster and cheaper; beside each point stands its number of devices."""
    choices = comparable([one for line in lines for one in line.choices])
    unit = _unit(choices)
    drawn = [
        [_Point(c, _in(unit, c), spent(c), c.devices) for c in line.choices if c in choices]
        for line in lines
    ]
    points = [one for mine in drawn for one in mine]
    fronts = {id(line.advice): _front(line.advice, unit) for line in lines}
    money = paid_in(lines)
    return figure(
        f"{money.capitalize()} against the time to the goal, {workload}",
        [
            *fronts.values(),
            *(trace for n, line in enumerate(lines) for trace in _traces(n, line, drawn[n])),
        ],
        xaxis=log_axis(unit.name, [value for one in points for value in _ends(one.x)]),
        yaxis=log_axis(money, [value for one in points for value in _ends(one.y)]),
    )


def _unit(choices: Sequence[Choice]) -> Unit:
    """The unit of the one in the middle."""
    return unit_of([median_low(one.hours.median for one in choices)])


def _in(unit: Unit, choice: Choice) -> Interval:
    return choice.hours.times(1 / unit.hours)


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _traces(
    number: int, line: Line, points: Sequence[_Point], joined: str = ""
) -> list[dict[str, Any]]:
    """The points of a line, and a ring around the one of as many devices as pay.

    joined -- "lines+" where a line joins them
    """
    color = f"var(--c{number % COLORS})"
    ring = [one for one in points if one.choice is line.knee]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": CHOSEN,
            "x": [rounded(one.x.median) for one in ring],
            "y": [rounded(one.y.median) for one in ring],
            "marker": {"symbol": "circle-open", "size": 18, "color": "var(--ink)"},
            "cliponaxis": False,
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": f"{joined}markers+text",
            "name": in_figure(line.name),
            "x": [rounded(one.x.median) for one in points],
            "y": [rounded(one.y.median) for one in points],
            "error_x": _bars(color, [one.x for one in points]),
            "error_y": _bars(color, [one.y for one in points]),
            "line": {"color": color, "width": 2},
            "marker": {
                "symbol": ["circle" if one.choice.measured else "circle-open" for one in points],
                "color": color,
                "size": 8,
                "opacity": 1,
            },
            # Clear of the ring.
            "text": ["\u00a0\u00a0" * (one in ring) + count(one.beside) for one in points],
            "textposition": "top right",
            "textfont": {"size": 12, "color": "var(--ink)"},
            "cliponaxis": False,
            "hovertext": [_said(line, one.choice) for one in points],
            "hoverinfo": "text",
        },
    ][0 if ring else 1 :]


def _front(advice: Advice, unit: Unit) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [rounded(_in(unit, one).median) for one in advice.pareto],
        "y": [rounded(spent(one).median) for one in advice.pareto],
        "line": {"color": "var(--muted)", "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _bars(color: str, intervals: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded(one.high - one.median) for one in intervals],
        "arrayminus": [rounded(one.median - one.low) for one in intervals],
        "color": color,
        "thickness": 1.25,
        "width": 0,
    }


def _said(line: Line, one: Choice) -> str:
    lines = [
        f"<b>{in_figure(where(one, line.advice.device))}</b>",
        f"batch size {count(one.batch_size)}, {count(one.layout.per_device)} on each device",
        time_spread(one.hours),
        "" if one.cost is None else f"cost {spread(one.cost)}",
        f"{shortened(one.steps.median)} steps of {seconds_text(one.seconds_per_step.median)}",
        "" if one.measured else "not all of it measured",
    ]
    return "<br>".join(filter(None, lines))
