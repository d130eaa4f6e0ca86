"""The page itself: everything in one file that asks for nothing else, or served with its parts."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from service import __version__
from service.database import Storage
from service.errors import BatchfrontError, UsageError
from service.frontier import load_frontiers, require, workload_names
from service.report.axes import Figure
from service.report.compare_part import compare_part
from service.report.head import answer
from service.report.links import DASHBOARD, Dashboard
from service.report.outcomes import OUTCOMES
from service.report.part import joined
from service.report.scripts import Scripts, asset, inline_scripts
from service.report.section import section
from service.report.subject import Subject, load_subject
from service.report.thinning import Limits

NOTICE = "<!-- notice -->"
"""Where a served page says what is wrong with it. No name can bring a second one: they are
escaped."""

_TITLE = "steps to target by batch size"


def write_report(
    storage: Storage, workloads: Sequence[str], path: Path, dashboard: str = DASHBOARD
) -> Path:
    """Write the page of these workloads, or of all in the database when none are named.

    dashboard -- the URL of the Optuna dashboard that the page's trials are linked to

    An existing file is replaced in one step, so that a reader never sees half a page. Raises
    UsageError for a path in no folder, an unknown workload or a dashboard at no http URL,
    BatchfrontError where the file can't be written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"report {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"report {path}: is a folder; name a file")
    require(storage, workloads)
    if not workload_names(storage):
        raise UsageError("this database holds no studies to report")
    text = page(storage, workloads, inline_scripts(), Dashboard(dashboard))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BatchfrontError(f"report {path}: can't be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def page(storage: Storage, workloads: Sequence[str], scripts: Scripts, dashboard: Dashboard) -> str:
    """The page of these workloads, or of all, as they are now."""
    frontiers = load_frontiers(storage, workloads)
    limits = Limits.for_page(sum(len(frontier.points) for frontier in frontiers))
    subjects = [
        load_subject(storage, f"w{number}", frontier, dashboard, limits)
        for number, frontier in enumerate(frontiers, 1)
    ]
    body = joined((compare_part(subjects), *map(section, subjects)))
    names = [frontier.workload for frontier in frontiers]
    made = datetime.now().astimezone()
    return Template(asset("page.html")).substitute(
        title=escape(f"{names[0] if len(names) == 1 else f'{len(names)} workloads'}: {_TITLE}"),
        policy=scripts.policy,
        notice=NOTICE,
        made=f"{made.day} {made:%B %Y, %H:%M}",
        made_iso=made.isoformat(timespec="seconds"),
        freshness=scripts.freshness,
        version=escape(__version__),
        studies=escape(dashboard.studies),
        index=_index(subjects),
        sections=body.html or '<p class="reading">There are no studies yet.</p>',
        outcomes="".join(f"<dt>{look.name}</dt><dd>{look.meaning}</dd>" for look in OUTCOMES),
        style=asset("page.css"),
        figures=_embedded(body.figures),
        scripts=scripts.html,
    )


def _index(subjects: Sequence[Subject]) -> str:
    if len(subjects) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{subject.key}">{escape(subject.frontier.workload)}</a> '
        f"<span>{escape(answer(subject))}</span></li>"
        for subject in subjects
    )
    return f'<nav aria-label="workloads"><ol>{items}</ol></nav>'


def _embedded(figures: Mapping[str, Figure]) -> str:
    """JSON that can stand inside a script element, whatever the names in it."""
    text = json.dumps(figures, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
