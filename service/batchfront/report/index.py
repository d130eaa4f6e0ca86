"""The page that lists all workloads of a database, each with its answers and a page of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from batchfront.frontier.curve import USUAL, Asked
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.queries import Progress
from batchfront.report.html import Dashboard, Part, rendered, scrolled
from batchfront.report.page import ALONE, Where, framed
from batchfront.report.scripts import Scripts
from batchfront.report.sections.compare import TITLES, compared, estimates
from batchfront.report.sections.header import listed
from batchfront.report.series import TOLD_APART
from batchfront.report.text import Fitted, count, notes
from batchfront.table import Column, Table

COMPARED = TOLD_APART
"""So many workloads are drawn in one figure."""

_LABEL = "workloads"

_ASKED = ("useful_until", "perfect_until")  # of a curve's TITLES


@dataclass(frozen=True)
class Answers:
    """What the index says of a workload.

    estimates -- how far a larger batch is useful, and how far scaling is near-perfect; None where
                 there is no curve
    notes     -- how many sentences on its page are about what to know before trusting it
    left_out  -- of its studies that can't be read, which and why
    frontier  -- to compare it with others

    Empty of a workload without a study that can be read.
    """

    goal: str | None = None
    estimates: tuple[str | None, ...] = (None,) * len(_ASKED)
    notes: int = 0
    left_out: tuple[str, ...] = ()
    frontier: Frontier | None = None

    @classmethod
    def of(
        cls, frontier: Frontier, fitted: Fitted, left_out: tuple[str, ...], *, compared: bool
    ) -> "Answers":
        """Those of a workload that has been read. Only if it is to be compared is all of that
        kept."""
        known = len(left_out) + len(notes(frontier)) + len(fitted.warnings)
        shown = tuple(estimates(fitted.curve, _ASKED))
        kept = frontier if compared else None
        return cls(frontier.goal_text, shown, known, left_out, kept)


def index_page(
    workloads: Mapping[str, Progress],
    answers: Mapping[str, Answers],
    owed: int,
    address: Callable[[str], str],
    scripts: Scripts,
    dashboard: Dashboard,
    where: Where = ALONE,
    asked: Asked = USUAL,
) -> str:
    """The index of these workloads.

    answers -- those that have been worked out; `owed` are still to be, as far as they were before
               their workload changed or not at all
    address -- of a workload's page
    asked   -- what their curves were asked
    """
    title = f"{count(len(workloads))} workloads"
    found = [answers[name].frontier for name in workloads if name in answers]
    there = [frontier for frontier in found if frontier is not None]
    figure = compared(there) if len(there) == len(workloads) else Part()
    left_out = [one for name in workloads for one in answers.get(name, Answers()).left_out]
    body = rendered(
        "index.html",
        label=_LABEL,
        title=title,
        owed=owed,
        figure=Markup(figure.html),
        left_out=Markup(listed(left_out)),
        table=scrolled(_LABEL, _table(workloads, answers, address)),
    )
    part = Part(body, figure.figures)
    soon = len(found) < len(workloads)
    return framed(title, Markup(), part, scripts, dashboard, where, soon, asked)


def _table(
    workloads: Mapping[str, Progress],
    answers: Mapping[str, Answers],
    address: Callable[[str], str],
) -> Table:
    def link(workload: str) -> Markup:
        return Markup('<a href="{}">{}</a>').format(address(workload), workload)

    columns = (
        Column("workload", link, True),
        Column("goal", words=True),
        *(Column(TITLES[name], words=True) for name in _ASKED),
        Column("trials done", _done),
        Column("state", _state, True),
        Column("notes", count),
    )
    rows = []
    for name, progress in workloads.items():
        known = answers.get(name, Answers())
        said = (known.goal, *known.estimates, progress, progress, known.notes or None)
        rows.append((name, *said))
    return Table(columns, rows)


def _done(progress: Progress) -> str:
    return f"{count(progress.done)} of {count(progress.total)}"


def _state(progress: Progress) -> str:
    """What is going on with a workload's trials, in a word or two."""
    failed = f", {count(progress.failed)} failed" if progress.failed else ""
    if progress.done == progress.total:
        return f"done{failed}"
    return f"{f'{count(progress.running)} running' if progress.running else 'waiting'}{failed}"
