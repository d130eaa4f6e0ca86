"""The page itself: everything in one file that asks for nothing else, or served with its parts."""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from html import escape
from pathlib import Path
from string import Template

from service import __version__
from service.database import Storage
from service.errors import BatchfrontError, UsageError
from service.frontier import (
    Frontier,
    load_curves,
    load_frontiers,
    load_trials,
    require,
    workload_names,
)
from service.report.axes import Figure
from service.report.outcomes import OUTCOMES
from service.report.reading import goal_text, reading
from service.report.scripts import Scripts, asset, inline_scripts
from service.report.section import section

NOTICE = "<!-- notice -->"
"""Where a served page says what is wrong with it. No name can bring a second one: they are
escaped."""

_TITLE = "steps to target by batch size"


def write_report(storage: Storage, workloads: Sequence[str], path: Path) -> Path:
    """Write the page of these workloads, or of all in the database when none are named.

    An existing file is replaced in one step, so that a reader never sees half a page. Raises
    UsageError for a path in no folder or an unknown workload, BatchfrontError where the file
    can't be written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"report {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"report {path}: is a folder; name a file")
    require(storage, workloads)
    if not workload_names(storage):
        raise UsageError("this database holds no studies to report")
    text = page(storage, workloads, inline_scripts())
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BatchfrontError(f"report {path}: can't be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def page(storage: Storage, workloads: Sequence[str], scripts: Scripts) -> str:
    """The page of these workloads, or of all, as they are now."""
    frontiers = load_frontiers(storage, workloads)
    sections: list[str] = []
    figures: dict[str, Figure] = {}
    for number, frontier in enumerate(frontiers, 1):
        html, drawn = section(
            f"w{number}", frontier, partial(load_trials, storage), partial(load_curves, storage)
        )
        sections.append(html)
        figures |= drawn
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
        index=_index(frontiers),
        sections="\n".join(sections) or '<p class="reading">There are no studies yet.</p>',
        outcomes="".join(f"<dt>{look.name}</dt><dd>{look.meaning}</dd>" for look in OUTCOMES),
        style=asset("page.css"),
        figures=_embedded(figures),
        scripts=scripts.html,
    )


def _index(frontiers: Sequence[Frontier]) -> str:
    if len(frontiers) < 2:
        return ""
    items = "".join(
        f'<li><a href="#w{number}">{escape(frontier.workload)}</a> '
        f"<span>{escape(goal_text(frontier))}. {escape(reading(frontier))}</span></li>"
        for number, frontier in enumerate(frontiers, 1)
    )
    return f'<nav aria-label="workloads"><ol>{items}</ol></nav>'


def _embedded(figures: dict[str, Figure]) -> str:
    """JSON that can stand inside a script element, whatever the names in it."""
    text = json.dumps(figures, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
