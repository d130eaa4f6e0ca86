"""The winners' metaparameters: one panel each, beside the scaling rules."""

from collections.abc import Sequence

from service.frontier import Frontier
from service.report.part import Part, caption, key, place
from service.report.subject import Subject
from service.report.winner_figures import EFFECTIVE, winner_panels

_KEY = {
    "winner": '<circle cx="12" cy="6" r="4" class="winner"/>',
    "winner at an edge of the search space": '<path d="M12 0 18 6 12 12 6 6Z" class="edge"/>',
    "linear scaling, ∝ batch size": '<path d="M0 6H24" class="line dash"/>',
    "square-root scaling": '<path d="M0 6H24" class="line dot"/>',
    "searched range": '<rect width="24" height="12" class="band"/>',
}


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
    scaling = _scaling(frontier, headings)
    said = caption(
        "A winner is one draw of a search: read the trend, not a single point.",
        "Both scaling rules start from the winner of the smallest batch size." * scaling,
        "The effective learning rate is learning rate / (1\u00a0−\u00a0momentum)."
        * (EFFECTIVE in headings),
    )
    html = (
        f"<h3>Winners’ metaparameters</h3>{_key(frontier, scaling)}"
        f'<div class="panels">{placed}</div>{said}'
    )
    return Part(html, figures)


def _scaling(frontier: Frontier, headings: Sequence[str]) -> bool:
    return "learning rate" in headings and len(frontier.points) > 1


def _key(frontier: Frontier, scaling: bool) -> str:
    edged = any(point.edges for point in frontier.points)
    absent = [name for name in _KEY if (" scaling" in name and not scaling)]
    absent += [name for name in _KEY if " edge " in name and not edged]
    return key({name: mark for name, mark in _KEY.items() if name not in absent})
