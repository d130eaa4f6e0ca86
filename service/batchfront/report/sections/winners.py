"""The winners' metaparameters: one panel each, beside the scaling rules."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

from batchfront.frontier.frontier import Frontier, Point
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, key, place, scrolled
from batchfront.report.plotly import Figure, Scale, figure, log2_axis, log_axis, scale_of
from batchfront.report.text import WINNER, count, in_figure, rounded, significant, words
from batchfront.table import Column, Table
from batchfront.workload.scaling_rules import RULES, effective_rate, optimizer_of
from batchfront.workload.search_space import Choice, Dimension, dimensions

EFFECTIVE = "effective learning rate"


@dataclass(frozen=True)
class Panel:
    """One metaparameter's figure. The heading says what its vertical axis is."""

    name: str
    heading: str
    figure: Figure


def winner_panels(frontier: Frontier) -> list[Panel]:
    """A panel per searched metaparameter, learning rate and momentum first."""
    reached = frontier.reached
    if not reached:
        return []
    searched: dict[str, Dimension] = {}
    for point in frontier.points:
        searched |= dimensions(point.space)
    first = [name for name in ("learning_rate", "momentum") if name in searched]
    names = first + [name for name in searched if name not in first]
    panels = [_panel(frontier, name, searched[name]) for name in names]
    if first and all(effective_rate(point.params) is not None for point in reached):
        panels.insert(
            len(first), Panel(EFFECTIVE.replace(" ", "_"), EFFECTIVE, _effective_figure(frontier))
        )
    return panels


def _panel(frontier: Frontier, name: str, dimension: Dimension) -> Panel:
    scale = scale_of(name, dimension)
    drawn = [point for point in frontier.reached if name in point.params]
    shown = [scale.shown(point.params[name]) for point in drawn]
    band = _band(frontier, name, scale)
    ruled = scale.log or name == "learning_rate"
    lines = _rule_lines(frontier, name, drawn, shown) if ruled else []
    edges = [point.edges.get(name) for point in drawn]
    values = [significant(point.params[name]) for point in drawn]
    winners = _winners(drawn, shown, edges, words(name), values)
    ends = [value for trace in band for value in trace["y"]]
    axis = scale.axis([*shown, *ends]) | {"title": {"text": ""}}
    drawn_figure = _drawn(frontier, words(name), [*band, *lines, winners], axis)
    return Panel(name, scale.title, drawn_figure)


def _effective_figure(frontier: Frontier) -> Figure:
    drawn = list(frontier.reached)
    shown = [value for point in drawn if (value := effective_rate(point.params)) is not None]
    edges = [_first_edge(point) for point in drawn]
    winners = _winners(drawn, shown, edges, EFFECTIVE, [significant(value) for value in shown])
    axis = log_axis("", [min(shown) / 2, *shown, max(shown) * 2])
    lines = _rule_lines(frontier, "learning_rate", drawn, shown)
    return _drawn(frontier, EFFECTIVE, [*lines, winners], axis)


def _first_edge(point: Point) -> str | None:
    edges = point.edges
    found = [f"{end} in {words(n)}" for n, end in edges.items() if n in _PARTS]
    return found[0] if found else None


_PARTS = ("learning_rate", "momentum")


def _drawn(
    frontier: Frontier, name: str, traces: Sequence[dict[str, Any]], axis: dict[str, Any]
) -> Figure:
    batches = [point.batch_size for point in frontier.points]
    marks = axis.get("categoryarray") or axis.get("ticktext") or ["0.00"]
    room = 260 - 6.4 * max(map(len, marks))  # what a panel's labels leave of its least width
    return figure(
        f"Winners' {name} against batch size, {frontier.workload}",
        traces,
        xaxis=log2_axis("batch size", batches[0], batches[-1], ticks=6, pad=0.5, room=room),
        yaxis=axis,
        margin={"l": 40, "r": 8, "t": 8, "b": 44},
    )


def _winners(
    drawn: Sequence[Point],
    shown: Sequence[Any],
    edges: Sequence[str | None],
    name: str,
    values: Sequence[str],
) -> dict[str, Any]:
    hover = [
        f"<b>batch size {count(point.batch_size)}</b><br>{in_figure(f'{name} {value}')}"
        + (f"<br>at an edge of the search space: {in_figure(edge)}" if edge else "")
        for point, value, edge in zip(drawn, values, edges, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "winner",
        "x": [point.batch_size for point in drawn],
        "y": [rounded(y) if isinstance(y, float) else y for y in shown],
        "line": {"color": WINNER, "width": 1.5},
        "marker": {
            "symbol": ["diamond" if edge else "circle" for edge in edges],
            "color": ["var(--edge)" if edge else WINNER for edge in edges],
            "size": [11 if edge else 8 for edge in edges],
            "opacity": 1,
            "line": {"color": "var(--paper)", "width": 1.5},
        },
        "meta": {"studies": [point.study.id for point in drawn]},
        "customdata": [point.best.number for point in drawn if point.best],
        "hovertext": hover,
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _rule_lines(
    frontier: Frontier, name: str, drawn: Sequence[Point], shown: Sequence[float]
) -> list[dict[str, Any]]:
    """What the rules for a metaparameter make of its value at the smallest batch size that has a
    winner; one line for those that say the same."""
    if not drawn or frontier.points[-1].batch_size == drawn[0].batch_size:
        return []
    start, anchor = drawn[0].batch_size, float(shown[0])
    params = drawn[0].params
    optimizer = optimizer_of(drawn[0].study.identity, params)
    powers: dict[float, str] = {}
    for rule in RULES.values():
        if rule.speaks_of(optimizer, params) and rule.power_of(name):
            powers.setdefault(rule.power_of(name), rule.name)
    lines = []
    for power, rule_name in powers.items():
        batches = [start, float(frontier.points[-1].batch_size)]
        most = RULES[rule_name].powers[name].quantity.most
        if 0 < anchor < most < anchor * (batches[1] / start) ** power:
            batches[1] = start * (most / anchor) ** (1 / power)
        values = [anchor * (batch / start) ** power for batch in batches]
        dash = "dash" if power == 1 else "dot"
        lines.append({**_line(batches, values, dash), "name": f"{rule_name} scaling"})
    return lines


def _line(batches: Sequence[float], values: list[float], dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [rounded(batch) for batch in batches],
        "y": [rounded(value) for value in values],
        "line": {"color": "var(--muted)", "width": 1.5, "dash": dash},
        "hoverinfo": "skip",
    }


def _band(frontier: Frontier, name: str, scale: Scale) -> list[dict[str, Any]]:
    """The searched range at each batch size, as two lines with the space between them filled."""
    ranges = []
    for point in frontier.points:
        dimension = dimensions(point.space).get(name)
        if dimension is not None and not isinstance(dimension, Choice):
            ends = sorted(scale.shown(dimension.at(position)) for position in (0.0, 1.0))
            ranges.append((point.batch_size, *ends))
    if not ranges:
        return []
    # Half an octave beyond the outer batch sizes, as the axis does, also for a single one.
    batches = [ranges[0][0] / 2**0.5, *(batch for batch, _, _ in ranges), ranges[-1][0] * 2**0.5]
    traces = []
    for end, fill in ((1, "none"), (2, "tonexty")):
        values = [ranges[0][end], *(entry[end] for entry in ranges), ranges[-1][end]]
        trace = _line([], [], "solid")
        trace |= {"x": [rounded(b) for b in batches], "y": [rounded(v) for v in values]}
        trace |= {"line": {"width": 0}, "fill": fill, "fillcolor": "var(--band)"}
        traces.append(trace)
    traces[-1]["name"] = "searched range"
    return traces


_KEY = {
    "winner": '<circle cx="12" cy="6" r="4" class="winner"/>',
    "winner at an edge of the search space": '<path d="M12 0 18 6 12 12 6 6Z" class="edge"/>',
    "linear scaling, ∝ batch size": '<path d="M0 6H24" class="line dash"/>',
    "square-root scaling": '<path d="M0 6H24" class="line dot"/>',
    "searched range": '<rect width="24" height="12" class="band"/>',
}
_SCALING = {"linear scaling, ∝ batch size": "dash", "square-root scaling": "dot"}


def winners_part(subject: Subject) -> Part:
    """The panels under their key; nothing where there is no winner or nothing was searched."""
    frontier = subject.frontier
    panels = winner_panels(frontier)
    if not panels:
        return Part()
    figures = {f"{subject.key}/winner/{n}": panel.figure for n, panel in enumerate(panels)}
    headings = [panel.heading for panel in panels]  # escaped already, as the figures' text
    placed = "".join(
        f"<div><h4>{heading}</h4>{place(name, 'panel')}</div>"
        for heading, name in zip(headings, figures, strict=True)
    )
    traces = [trace for panel in panels for trace in panel.figure["data"]]
    dashes = {t["line"]["dash"] for t in traces if t.get("name", "").endswith(" scaling")}
    said = caption(
        "A winner is one sample of a search: read the trend, not a single point.",
        "Scaling rules start from the winner of the smallest batch size." * bool(dashes),
        "The effective learning rate is learning rate / (1\u00a0−\u00a0momentum)."
        * (EFFECTIVE in headings),
    )
    html = (
        f"<h3>Winners’ metaparameters</h3>{_key(frontier, dashes)}"
        f'<div class="panels">{placed}</div>{said}{_measures(subject)}'
    )
    return Part(html, figures)


def _measures(subject: Subject) -> str:
    """A table of what else was measured of each winner; nothing where nothing was."""
    frontier, label = subject.frontier, f"{subject.key}-measures"
    names = list(dict.fromkeys(name for point in frontier.reached for name in point.measures))
    if not names:
        return ""
    columns = (
        Column("batch size", count),
        Column("steps", count),
        Column(frontier.metric_text, significant),
        *(Column(frontier.points[0].study.in_words(name), _finite) for name in names),
    )
    rows = [
        (
            point.batch_size,
            point.steps,
            point.best.metric if point.best else None,
            *(_value(point, name) for name in names),
        )
        for point in frontier.reached
    ]
    heading = f'<h4 id="{label}" class="apart">Winners’ measures where they passed the goal</h4>'
    return f"{heading}{scrolled(label, Table(columns, rows))}"


def _value(point: Point, name: str) -> float | None:
    """A measure of the winner, NaN if it wasn't finite; None if it wasn't measured."""
    value = point.measures.get(name)
    return nan if value is None and name in point.measures else value


def _finite(value: float) -> str:
    return "not finite" if isnan(value) else significant(value)


def _key(frontier: Frontier, dashes: Collection[str]) -> str:
    """Of what is drawn; `dashes` are those of the lines of scaling rules."""
    edged = any(point.edges for point in frontier.points)
    absent = [name for name in _KEY if " edge " in name and not edged]
    absent += [name for name, dash in _SCALING.items() if dash not in dashes]
    return key({name: mark for name, mark in _KEY.items() if name not in absent})
