"""One workload's part of the page: its HTML, and the figures that go into it."""

from service.report.budget_part import budget_part
from service.report.certainty_part import certainty_part
from service.report.curve_part import curve_part
from service.report.effects_part import effects_part
from service.report.goals_part import goals_part
from service.report.head import head
from service.report.part import Part, joined, scrolled
from service.report.rules_part import rules_part
from service.report.study_part import study_part
from service.report.subject import Subject
from service.report.table import frontier_table
from service.report.winners_part import winners_part


def section(subject: Subject) -> Part:
    """The section of a workload."""
    key = subject.key
    inner = joined(
        (
            head(subject),
            curve_part(subject),
            certainty_part(subject),
            winners_part(subject),
            rules_part(subject),
            budget_part(subject),
            goals_part(subject),
            effects_part(subject),
            study_part(subject),
            _frontier(subject),
        )
    )
    html = (
        f'<section class="workload" id="{key}" aria-labelledby="{key}-name">\n'
        f"{inner.html}\n</section>"
    )
    return Part(html, inner.figures)


def _frontier(subject: Subject) -> Part:
    label = f"{subject.key}-table"
    table = frontier_table(subject.frontier, subject.dashboard)
    return Part(f'<h3 id="{label}">Frontier</h3>{scrolled(label, table)}')
