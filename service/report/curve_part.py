"""Steps to target against batch size: the points, and the curve through them."""

import math
from collections.abc import Iterable
from html import escape

from service.frontier import Frontier
from service.report.axes import Figure
from service.report.curve_traces import regimes
from service.report.part import Part, caption, key, place, scrolled, table
from service.report.reading import reading
from service.report.steps_figure import VISIBLE, points_name, steps_figure, widest_interval
from service.report.subject import Subject


def curve_part(subject: Subject) -> Part:
    """The figure, what it shows, and the curve's numbers; nothing where no batch size has reached
    the goal."""
    frontier, fitted = subject.frontier, subject.fitted
    if not frontier.reached:
        return Part()
    name = f"{subject.key}/steps"
    figure = steps_figure(frontier, fitted.curve, subject.confirmations)
    html = (
        f"<h3>Steps to target</h3>{_key(subject, figure)}{place(name, 'tall')}"
        f"{caption(*_sentences(subject))}{_facts(subject)}"
    )
    return Part(html, {name: figure})


def _sentences(subject: Subject) -> Iterable[str]:
    frontier, fitted = subject.frontier, subject.fitted
    yield _what_points_are(frontier)
    if len(frontier.points) > 1:
        yield "On the dashed line, twice the batch takes half the steps."
    yield _interval_text(frontier)
    if fitted.curve is not None:
        yield (
            "The marks at the bottom are where the curve leaves a regime, with 90\u00a0% intervals."
        )
        alone = reading(frontier)
        yield f"By the points alone: {escape(alone[0].lower() + alone[1:])}"
    elif fitted.refusal:
        yield f"No curve is drawn: {escape(fitted.refusal)}."


_POINT = '<circle cx="12" cy="6" r="4" class="winner"/>'
_LINES = {
    "fitted curve and its 90 % interval": '<rect width="24" height="12" class="interval"/>'
    '<path d="M0 6H24" class="curve"/>',
    "perfect scaling": '<path d="M0 6H24" class="line dash"/>',
}
_OFF = {"off the curve": '<circle cx="12" cy="6" r="3.5" class="off"/>'}
_AGAIN = {"winner run again: median and range": '<path d="M12 0V12M6 6H18" class="again"/>'}


def _key(subject: Subject, figure: Figure) -> str:
    curve = subject.fitted.curve
    again = any(trace.get("name") in _AGAIN for trace in figure["data"])
    if curve is None:
        return key(_AGAIN) if again else ""
    shades = {
        regime.name: f'<rect width="24" height="12" class="{regime.css}"/>'
        for regime, _, _ in regimes(curve, 0.0, math.inf)
    }
    off = _OFF if curve.outliers else {}
    points = {points_name(subject.frontier): _POINT}
    return key(points | _LINES | off | (_AGAIN if again else {}) | shades)


def _facts(subject: Subject) -> str:
    if subject.fitted.curve is None:
        return ""
    rows = [
        [fact.name, *map(escape, (fact.value, fact.interval, fact.evidence))]
        for fact in subject.fitted.facts
    ]
    label = f"{subject.key}-curve"
    heads = ("", "value", "90 % interval", "decided by batch sizes")
    return f'<h4 id="{label}" class="apart">The curve in numbers</h4>' + scrolled(
        label, table(heads, rows, text=(0, 3))
    )


def _interval_text(frontier: Frontier) -> str:
    widest = widest_interval(frontier.reached)
    if widest >= VISIBLE:
        return "Bars reach down to the first step at which the goal may have been passed."
    if widest == 1:
        return ""
    before = math.ceil(1000 * (1 - 1 / widest)) / 10
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
