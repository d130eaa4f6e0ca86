"""One study of a workload, which the reader chooses: its trials, their curves and their table."""

from collections.abc import Sequence
from math import isfinite

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.next_commands import linked_report, open_dashboard
from batchfront.frontier.queries import Curves
from batchfront.report.data import Subject, chosen
from batchfront.report.html import DASHBOARD, Part, caption, place, with_code
from batchfront.report.plotly import Figure
from batchfront.report.sections.learning_curves import Lines, curves_figure
from batchfront.report.sections.study_figures import (
    coordinate_title,
    second_coordinates,
    trials_figure,
    trials_table,
)
from batchfront.report.table_files import Files, stem, table_files
from batchfront.report.text import count, escape
from batchfront.workload.search_space import dimensions


def study_part(subject: Subject) -> Part:
    """The choice of a study, both figures of each study, and the table of its trials."""
    frontier, key = subject.frontier, f"{subject.key}/{{study}}"
    figures: dict[str, Figure] = {}
    for point in frontier.points:
        figures |= _figures(subject, point)
    space = dimensions(frontier.points[0].space)
    across, up = (coordinate_title(name, space) for name in second_coordinates(space))
    said = caption(
        "Every trial of the study, by how it ended. Choose another study above to change both "
        "figures and the table; a click on an entry below a figure hides or shows its trials.",
        "On a diagonal line the effective learning rate is the same, as written there."
        * (second_coordinates(space) == ("learning_rate", "momentum")),
        _left_out(subject),
        _dashboard(subject),
    )
    curves = "{curves}" if len(_curves(subject)) > 1 else "goal"  # whose choice is in the controls
    html = (
        f"<h3>One study</h3>{_controls(subject)}"
        '<div class="pair">'
        f"<div><h4>Trials: {across} against {up}</h4>{place(f'{key}/trials', 'study')}</div>"
        f"<div><h4>Learning curves</h4>{place(f'{key}/{curves}', 'study')}</div></div>{said}"
        f'<h4 id="{subject.key}-trials" class="apart">Trials, the fewest steps first</h4>'
        f'<div class="scroll rows" role="region" aria-labelledby="{subject.key}-trials" '
        f'tabindex="0" data-table="{escape(f"{key}/trials")}"></div>'
        f'<p class="files" data-trials="{subject.key}-trials">{_file_links(subject)}</p>'
    )
    return Part(html, figures)


def _file_links(subject: Subject) -> str:
    """Links to the table as files, which the page's script makes with it."""
    label = f"{subject.key}-trials"
    return "".join(
        f'<a id="{label}-{ending}" aria-labelledby="{label}-{ending} {label}" '
        f'download="{label}-{{study}}.{ending}">.{ending}</a>'
        for ending in ("csv", "json")
    )


def trial_files(subjects: Sequence[Subject]) -> Files:
    """The same files of all studies, by name, with all of their trials."""
    return {
        f"{stem(one.frontier.workload) or one.key}-trials-{point.batch_size}.{file.ending}": file
        for one in subjects
        for point in one.frontier.points
        for file in table_files(trials_table(one.trials.get(point.study.id, ())))
    }


def _left_out(subject: Subject) -> str:
    limits = subject.limits
    if max(point.trials for point in subject.frontier.points) <= min(limits.trials, limits.curves):
        return ""
    return (
        f"At most {count(limits.trials)} trials and {count(limits.curves)} curves of a study are "
        "drawn and listed: the fastest, and others evenly over the search."
    )


def _dashboard(subject: Subject) -> str:
    """How to see the trials in the Optuna dashboard."""
    frontier, url = subject.frontier, subject.dashboard.url
    opens = with_code(escape(open_dashboard(frontier)))
    if url is None:
        links = with_code(escape(linked_report(frontier, DASHBOARD)))
        return (
            f"{opens} opens all trials in the Optuna dashboard; {links} writes this page with "
            "each of them linked to it."
        )
    return (
        "A click on a point, or on a trial’s number, opens the trial in the Optuna dashboard at "
        f"<code>{escape(url)}</code>, which has to be running: {opens} opens one."
    )


def _figures(subject: Subject, point: Point) -> dict[str, Figure]:
    frontier, study, limits = subject.frontier, point.study, subject.limits
    trials = subject.trials.get(study.id, ())
    measured = _lines(subject.goal_curves, study.id)
    drawn = chosen(point, [one for one in trials if one.number in measured], limits.curves)
    key = f"{subject.key}/{point.batch_size}"
    figures = {
        f"{key}/trials": trials_figure(frontier, point, chosen(point, trials, limits.trials))
    }
    few = {one.number for one in chosen(point, drawn, limits.of_each(len(subject.measures) or 1))}
    for name, (title, curves) in _curves(subject).items():
        lines = _lines(curves, study.id)
        beside = name not in ("goal", "loss")
        lines = {
            one.number: lines[one.number]
            for one in drawn
            if one.number in lines and (not beside or one.number in few)
        }
        goal = float(frontier.goal["value"]) if name == "goal" and lines else None
        figures[f"{key}/{name}"] = curves_figure(
            frontier, point, trials, lines, title, goal, plain=beside
        )
    return figures


def _curves(subject: Subject) -> dict[str, tuple[str, Curves]]:
    """What learning curves there are, by the end of their figures' names: what they are of, and
    those of each study."""
    shown = {"goal": (subject.frontier.metric_text, subject.goal_curves)}
    if subject.tells_loss:
        shown["loss"] = ("training loss", subject.loss_curves)
    in_words = subject.frontier.points[0].study.in_words
    for number, (name, curves) in enumerate(subject.measures.items(), 1):
        shown[f"measure{number}"] = (in_words(name), curves)
    return shown


def _lines(curves: Curves, study_id: int) -> Lines:
    """Number of a trial to its evaluations; a value is None where the metric was not finite."""
    if study_id not in curves:
        return {}
    return {
        number: [
            (step, value if isfinite(value) else None)
            for step, value in zip(steps.tolist(), values.tolist(), strict=True)
        ]
        for number, (steps, values) in curves[study_id].by_trial().items()
    }


def _controls(subject: Subject) -> str:
    """The choice of a study, and of what its curves are, where trials have told more than their
    goal metric."""
    frontier = subject.frontier
    options = "".join(_option(point, point is _shown_first(frontier)) for point in frontier.points)
    shown = _curves(subject)
    titles = "".join(
        f'<option value="{name}"{" selected" * (name == "goal")}>{escape(title)}</option>'
        for name, (title, _) in shown.items()
    )
    curves = f'<label>Curves <select name="curves" autocomplete="off">{titles}</select></label>'
    return (
        '<div class="controls">'
        f'<label>Study <select name="study" autocomplete="off">{options}</select></label>'
        f"{curves if len(shown) > 1 else ''}</div>"
    )


def _shown_first(frontier: Frontier) -> Point:
    return frontier.reached[0] if frontier.reached else frontier.points[0]


def _option(point: Point, selected: bool) -> str:
    steps = "goal not reached" if point.steps is None else f"{count(point.steps)} steps"
    chosen = " selected" if selected else ""
    return (
        f'<option value="{point.batch_size}"{chosen}>'
        f"batch size {count(point.batch_size)}: {steps}</option>"
    )
