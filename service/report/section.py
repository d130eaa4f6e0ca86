"""One workload's part of the page: its HTML, and the figures that go into it."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from service.frontier import Frontier, Point, Trial
from service.report.axes import Figure
from service.report.notation import count
from service.report.reading import (
    batch_sizes_text,
    goal_text,
    notes,
    reading,
    trials_text,
)
from service.report.steps_figure import VISIBLE, steps_figure, widest_interval
from service.report.study_figures import (
    Curves,
    coordinate_title,
    curves_figure,
    second_coordinates,
    trials_figure,
)
from service.report.table import frontier_table
from service.report.winner_figures import EFFECTIVE, winner_panels
from service.search_space import dimensions

TRAINING_LOSS = ("train", "loss")


def section(
    key: str,
    frontier: Frontier,
    trials_of: Callable[[int], Sequence[Trial]],
    curves_of: Callable[[int], Curves],
) -> tuple[str, dict[str, Figure]]:
    """The section of a workload and its figures, by the names that the HTML refers to.

    key       -- the section's id on the page
    trials_of -- a study's id to its trials
    curves_of -- a study's id to its kept measurements
    """
    figures = {f"{key}/steps": steps_figure(frontier)} if frontier.reached else {}
    panels = winner_panels(frontier)
    figures |= {f"{key}/winner/{n}": panel.figure for n, panel in enumerate(panels)}
    for point in frontier.points:
        trials, curves = trials_of(point.study.id), curves_of(point.study.id)
        figures |= _study(f"{key}/{point.batch_size}", frontier, point, trials, curves)
    parts = [
        f'<section class="workload" id="{key}" aria-labelledby="{key}-name">',
        _head(key, frontier),
        _steps(key, frontier),
        _winners(key, frontier, [panel.heading for panel in panels]) if panels else "",
        _one_study(key, frontier),
        _table(key, frontier),
        "</section>",
    ]
    return "\n".join(filter(None, parts)), figures


def _study(
    key: str, frontier: Frontier, point: Point, trials: Sequence[Trial], curves: Curves
) -> dict[str, Figure]:
    metric = point.study.metric
    return {
        f"{key}/trials": trials_figure(frontier, point, trials),
        f"{key}/goal": curves_figure(frontier, point, trials, curves, "validation", metric),
        f"{key}/loss": curves_figure(frontier, point, trials, curves, *TRAINING_LOSS),
    }


def _head(key: str, frontier: Frontier) -> str:
    facts: Mapping[str, str] = {
        "Goal": goal_text(frontier),
        "Batch sizes": batch_sizes_text(frontier),
        "Trials": trials_text(frontier),
    }
    rows = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    found = "".join(f"<li>{escape(note)}</li>" for note in notes(frontier))
    return (
        f'<h2 id="{key}-name">{escape(frontier.workload)}</h2>'
        f'<p class="reading">{escape(reading(frontier))}</p><dl class="facts">{rows}</dl>'
        + (f'<ul class="notes">{found}</ul>' if found else "")
    )


def _steps(key: str, frontier: Frontier) -> str:
    if not frontier.reached:
        return ""
    caption = [f"{_fastest_of(frontier)}; another search would find somewhat other points."]
    if len(frontier.points) > 1:
        caption.append("On the dashed line, twice the batch takes half the steps.")
    widest = widest_interval(frontier.reached)
    if widest >= VISIBLE:
        caption.append("Bars reach down to the first step at which the goal may have been passed.")
    elif widest > 1:
        before = math.ceil(1000 * (1 - 1 / widest)) / 10
        caption.append(
            f"The goal was passed at most {before:g}\u00a0% before the step shown, which is too "
            "narrow to draw."
        )
    return (
        f"<h3>Steps to target</h3>{_figure(f'{key}/steps', 'tall')}"
        f'<p class="caption">{" ".join(caption)}</p>'
    )


def _fastest_of(frontier: Frontier) -> str:
    trials = {point.trials for point in frontier.points}
    if max(trials) == 1:
        return "Each point is a single trial"
    return f"Each point is the fastest of {'up to ' if len(trials) > 1 else ''}{max(trials)} trials"


_KEY = {
    "winner": '<circle cx="12" cy="6" r="4" class="winner"/>',
    "winner at an edge of the search space": '<path d="M12 0 18 6 12 12 6 6Z" class="edge"/>',
    "linear scaling, ∝ batch size": '<path d="M0 6H24" class="line dash"/>',
    "square-root scaling": '<path d="M0 6H24" class="line dot"/>',
    "searched range": '<rect width="24" height="12" class="band"/>',
}


def _winners(key: str, frontier: Frontier, headings: list[str]) -> str:
    """`headings` are escaped already, as the figures' text."""
    panels = "".join(
        f"<div><h4>{heading}</h4>{_figure(f'{key}/winner/{n}', 'panel')}</div>"
        for n, heading in enumerate(headings)
    )
    scaling = "learning rate" in headings and len(frontier.points) > 1
    edged = any(point.edges for point in frontier.points)
    absent = [name for name in _KEY if (" scaling" in name and not scaling)]
    absent += [name for name in _KEY if " edge " in name and not edged]
    entries = "".join(
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true">{mark}</svg>{name}</li>'
        for name, mark in _KEY.items()
        if name not in absent
    )
    caption = ["A winner is one draw of a search: read the trend, not a single point."]
    if scaling:
        caption.append("Both scaling rules start from the winner of the smallest batch size.")
    if EFFECTIVE in headings:
        caption.append("The effective learning rate is learning rate / (1\u00a0−\u00a0momentum).")
    return (
        f'<h3>Winners’ metaparameters</h3><ul class="key" aria-label="key">{entries}</ul>'
        f'<div class="panels">{panels}</div><p class="caption">{" ".join(caption)}</p>'
    )


def _one_study(key: str, frontier: Frontier) -> str:
    options = "".join(_option(point, point is _shown_first(frontier)) for point in frontier.points)
    space = dimensions(frontier.points[0].space)
    across, up = (coordinate_title(name, space) for name in second_coordinates(space))
    metric = escape(str(frontier.goal["metric"]))
    return (
        "<h3>One study</h3>"
        '<div class="controls">'
        f'<label>Study <select name="study" autocomplete="off">{options}</select></label>'
        '<label>Curves <select name="curves" autocomplete="off">'
        f'<option value="goal" selected>validation {metric}</option>'
        '<option value="loss">training loss</option></select></label></div>'
        '<div class="pair">'
        f"<div><h4>Trials: {across} against {up}</h4>{_figure(f'{key}/{{study}}/trials', 'study')}"
        "</div><div><h4>Learning curves</h4>"
        f"{_figure(f'{key}/{{study}}/{{curves}}', 'study')}</div></div>"
        '<p class="caption">Every trial of the study, by how it ended. Choose another study above '
        "to change both figures; a click on an entry below a figure hides or shows its trials.</p>"
    )


def _shown_first(frontier: Frontier) -> Point:
    return frontier.reached[0] if frontier.reached else frontier.points[0]


def _option(point: Point, selected: bool) -> str:
    steps = "no winner" if point.steps is None else f"{count(point.steps)} steps"
    chosen = " selected" if selected else ""
    return (
        f'<option value="{point.batch_size}"{chosen}>'
        f"batch size {count(point.batch_size)}: {steps}</option>"
    )


def _table(key: str, frontier: Frontier) -> str:
    return (
        f'<h3 id="{key}-table">Frontier</h3>'
        f'<div class="scroll" role="region" aria-labelledby="{key}-table" tabindex="0">'
        f"{frontier_table(frontier)}</div>"
    )


def _figure(name: str, kind: str) -> str:
    return f'<div class="figure {kind}" role="img" data-figure="{escape(name)}"></div>'
