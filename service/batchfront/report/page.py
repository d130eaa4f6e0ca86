"""The page itself: everything in one file that asks for nothing else, or served with its parts."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from batchfront import __version__
from batchfront.errors import UsageError
from batchfront.frontier.curve import EXTRA, SHARE
from batchfront.frontier.curve.text import percent
from batchfront.frontier.queries import require, workload_names
from batchfront.printable import LINES, printable
from batchfront.report.data import Subject, load_subjects
from batchfront.report.html import DASHBOARD, Dashboard, Part, joined, rendered
from batchfront.report.plotly import Figure
from batchfront.report.scripts import Scripts, asset, inline_scripts
from batchfront.report.sections.budget import budget_part
from batchfront.report.sections.compare import compare_part
from batchfront.report.sections.curve import curve_part
from batchfront.report.sections.effects import effects_part
from batchfront.report.sections.frontier import frontier_part
from batchfront.report.sections.header import answer, head
from batchfront.report.sections.lr_rules import rules_part
from batchfront.report.sections.other_goals import goals_part
from batchfront.report.sections.study import study_part
from batchfront.report.sections.uncertainty import uncertainty_part
from batchfront.report.sections.winners import winners_part
from batchfront.report.text import OUTCOME_STYLES
from batchfront.store.snapshot import Source, snapshot
from batchfront.whole_file import writing


def section(subject: Subject) -> Part:
    """The section of a workload."""
    key = subject.key
    inner = joined(
        (
            head(subject),
            curve_part(subject),
            uncertainty_part(subject),
            winners_part(subject),
            rules_part(subject),
            budget_part(subject),
            goals_part(subject),
            effects_part(subject),
            study_part(subject),
            frontier_part(subject),
        )
    )
    html = (
        f'<section class="workload" id="{key}" aria-labelledby="{key}-name">\n'
        f"{inner.html}\n</section>"
    )
    return Part(html, inner.figures)


NOTICE = Markup("<!-- notice -->")
"""Where a served page says what is wrong with it. No name can bring a second one: they are
escaped."""

_TITLE = "steps to target by batch size"


def write_report(
    source: Source, workloads: Sequence[str], path: Path, dashboard: str = DASHBOARD
) -> Path:
    """Write the page of these workloads, or of all in the database when none are named.

    dashboard -- the URL of the Optuna dashboard that the page's trials are linked to

    Returns the path. Raises UsageError for an unknown workload or a dashboard at no http URL, and
    as `require_place` and `write_page` do.
    """
    require_place(path)
    linked = Dashboard(dashboard)
    with snapshot(source) as moment:
        require(moment, workloads)
        if not workload_names(moment):
            raise UsageError("this database holds no studies to report")
        subjects = load_subjects(moment, workloads, linked)
    return write_page(subjects, path, linked)


def require_place(path: Path, told: str = "report") -> None:
    """Raise UsageError if a page can't be written there, before what it shows is read or run.

    told -- what the path is called
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{told} {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"{told} {path}: is a folder; name a file")


def write_page(subjects: Sequence[Subject], path: Path, dashboard: Dashboard) -> Path:
    """Write the page of workloads that have been read.

    An existing file is replaced in one step, so that a reader never sees half a page. Returns the
    path. Raises BatchfrontError where the file can't be written.
    """
    text = page(subjects, inline_scripts(), dashboard)
    with writing(path, "report") as file:
        file.write_text(text, encoding="utf-8")
    return path


def page(subjects: Sequence[Subject], scripts: Scripts, dashboard: Dashboard) -> str:
    """The page of these workloads."""
    body = joined((compare_part(subjects), *map(section, subjects)))
    names = [subject.frontier.workload for subject in subjects]
    made = datetime.now().astimezone()
    text = rendered(
        "page.html",
        title=f"{names[0] if len(names) == 1 else f'{len(names)} workloads'}: {_TITLE}",
        policy=Markup(scripts.policy),
        notice=NOTICE,
        made=f"{made.day} {made:%B %Y, %H:%M}",
        made_iso=made.isoformat(timespec="seconds"),
        freshness=scripts.freshness,
        version=__version__,
        studies=dashboard.studies,
        numbers=json.dumps({k: n for one in subjects for k, n in one.dashboard.numbers.items()}),
        subjects=[] if len(subjects) < 2 else subjects,
        answer=answer,
        sections=Markup(body.html),
        extra=percent(EXTRA),
        share=percent(SHARE),
        outcomes=OUTCOME_STYLES,
        style=Markup(asset("page.css")),
        figures=Markup(_embedded(body.figures)),
        scripts=Markup(scripts.html),
    )
    return f"{text}\n"


def _embedded(figures: Mapping[str, Figure]) -> str:
    """JSON that can stand inside a script element, whatever the names in it."""
    seen = _seen(figures)
    text = json.dumps(seen, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _seen(data: Any) -> Any:
    """Plain data in whose texts all can be seen."""
    if isinstance(data, str):
        return printable(data, LINES)
    if isinstance(data, Mapping):
        return {printable(key, LINES): _seen(value) for key, value in data.items()}
    return list(map(_seen, data)) if isinstance(data, list | tuple) else data
