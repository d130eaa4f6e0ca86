"""The page itself, with its scripts in it or beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from batchfront import __version__
from batchfront.frontier.curve import USUAL, Asked
from batchfront.frontier.curve.text import percent, size
from batchfront.printable import LINES, printable
from batchfront.report.data import Subject
from batchfront.report.glossary import explained
from batchfront.report.html import Dashboard, Part, joined, rendered
from batchfront.report.plotly import Figure
from batchfront.report.scripts import Scripts, asset, embedded, packed
from batchfront.report.sections.budget import budget_part
from batchfront.report.sections.compare import compare_part
from batchfront.report.sections.contents import with_contents
from batchfront.report.sections.curve import curve_part
from batchfront.report.sections.curve_numbers import numbers_part
from batchfront.report.sections.effects import effects_part
from batchfront.report.sections.frontier import frontier_part
from batchfront.report.sections.header import first_answer, head, listed
from batchfront.report.sections.hours import hours_part
from batchfront.report.sections.other_goals import goals_part
from batchfront.report.sections.reproduce import reproduce_part
from batchfront.report.sections.scaling_rules import rules_part
from batchfront.report.sections.study import study_part
from batchfront.report.sections.uncertainty import uncertainty_part
from batchfront.report.sections.winners import winners_part
from batchfront.report.table_files import named_after
from batchfront.report.text import OUTCOME_STYLES, escape


def section(subject: Subject) -> Part:
    """The section of a workload."""
    key, first = subject.key, head(subject)
    rest = joined(
        (
            curve_part(subject),
            frontier_part(subject),
            numbers_part(subject),
            hours_part(subject),
            uncertainty_part(subject),
            winners_part(subject),
            rules_part(subject),
            budget_part(subject),
            goals_part(subject),
            effects_part(subject),
            study_part(subject),
            reproduce_part(subject),
        )
    )
    workload = subject.frontier.workload
    inner = with_contents(key, workload, first.html, named_after(workload, key, rest.html))
    numbers = subject.dashboard.numbers  # for the links of its figures
    marked = Markup(' data-numbers="{}"').format(json.dumps(numbers)) if numbers else ""
    html = (
        f'<section class="workload" id="{key}" aria-labelledby="{key}-name"{marked}>\n'
        f"{inner}\n</section>"
    )
    return Part(html, {**first.figures, **rest.figures})


NOTICE = Markup("<!-- notice -->")
"""Where a served page says what is wrong with it. No name can bring a second one: they are
escaped."""


@dataclass(frozen=True)
class Where:
    """Where a page stands among others, as addresses relative to it.

    page  -- its own, from which a served one is brought up to date; empty of a file
    index -- of the page that lists all workloads; empty where it is the only one
    """

    page: str = ""
    index: str = ""


ALONE = Where()
"""Of a file that is the only one."""


def page(
    subjects: Sequence[Subject], scripts: Scripts, dashboard: Dashboard, where: Where = ALONE
) -> str:
    """The page of these workloads."""
    body = joined((compare_part(subjects), *map(section, subjects)))
    names = [subject.frontier.workload for subject in subjects]
    title = names[0] if len(names) == 1 else f"{len(names)} workloads"
    nav = rendered("contents.html", index=where.index, subjects=subjects, answer=first_answer)
    asked = subjects[0].asked.curve if subjects else USUAL
    return framed(title, nav, body, scripts, dashboard, where, asked=asked)


def unreadable_page(
    workload: str,
    left_out: Sequence[str],
    scripts: Scripts,
    dashboard: Dashboard,
    where: Where = ALONE,
) -> str:
    """The page of a workload of whose studies none can be read."""
    nav = rendered("contents.html", index=where.index, subjects=())
    said = Part(
        f'<section class="workload"><h2>{escape(workload)}</h2>{listed(left_out)}</section>'
    )
    return framed(workload, nav, said, scripts, dashboard, where)


def framed(
    title: str,
    nav: Markup,
    body: Part,
    scripts: Scripts,
    dashboard: Dashboard,
    where: Where = ALONE,
    soon: bool = False,
    asked: Asked = USUAL,
) -> str:
    """A page with what all of them have: styles, scripts, and the words explained.

    nav   -- links that stand below the heading, as HTML
    soon  -- whether there will be more to show in a moment
    asked -- what the curves were asked, for the words
    """
    made = datetime.now().astimezone()
    sections, words = explained(body.html)
    text = rendered(
        "page.html",
        title=f"{title}: steps to target by batch size",
        policy=Markup(scripts.policy),
        notice=NOTICE,
        made=f"{made.day} {made:%B %Y, %H:%M}",
        made_iso=made.isoformat(timespec="seconds"),
        freshness=scripts.freshness,
        version=__version__,
        studies=dashboard.studies,
        where=where,
        soon=soon,
        nav=nav,
        sections=Markup(sections),
        words=words,
        asked=_asked(asked),
        outcomes=OUTCOME_STYLES,
        style=Markup(asset("page.css") + asset("sections.css")),
        figures=Markup(embedded("figures", packed(_json(body.figures)))),
        scripts=Markup(scripts.html),
    )
    return f"{text}\n"


def _asked(asked: Asked) -> str:
    """What the page's curves were asked otherwise than the glossary has it; empty where they
    weren't."""
    if asked == USUAL:
        return ""
    start = asked.perfect_from
    where = "the smallest batch size" if start is None else f"batch size {size(start)}"
    return (
        f"On this page scaling is near-perfect that takes at most {percent(asked.extra)} more "
        f"examples than at {where}, and a batch size is useful whose doubling saves at least "
        f"{percent(asked.share)} of the steps."
    )


def _json(figures: Mapping[str, Figure]) -> str:
    return json.dumps(_seen(figures), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _seen(data: Any) -> Any:
    """Plain data in whose texts all can be seen."""
    if isinstance(data, str):
        return printable(data, LINES)
    if isinstance(data, Mapping):
        return {printable(key, LINES): _seen(value) for key, value in data.items()}
    return list(map(_seen, data)) if isinstance(data, list | tuple) else data
