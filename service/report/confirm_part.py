"""The best trials of the searches, run again with other seeds."""

from service.answers import number
from service.confirmation import Confirmation
from service.report.confirmed import span
from service.report.notation import count
from service.report.part import Part, caption, scrolled, table
from service.report.subject import Subject


def confirm_part(subject: Subject) -> Part:
    """What running them again gave; nothing where none was."""
    found = subject.confirmations
    if not found:
        return Part()
    label = f"{subject.key}-confirmations"
    heads = ("batch size", "trial", "in the search", "reached", "median", "range", "median ÷ best")
    links = {point.batch_size: point.study.id for point in subject.frontier.points}
    rows = [
        _row(subject.dashboard.link(links[size], one.trial), size, one)
        for size, mine in sorted(found.items())
        for one in mine
    ]
    said = caption(
        "The winner of a search is the luckiest of its trials. Its metaparameters, and those of "
        "the runners-up, ran again with fresh seeds: the median is what to expect of them.",
        "It is never reached where half of the seeds or more did not get there."
        * any(one.never for mine in found.values() for one in mine),
    )
    return Part(
        f'<h4 id="{label}" class="apart">The winners, run again</h4>'
        f"{scrolled(label, table(heads, rows))}{said}"
    )


def _row(trial: str, size: int, one: Confirmation) -> list[str]:
    return [
        count(size),
        trial,
        count(one.best),
        f"{len(one.steps)} of {one.seeds}" + (f", {one.open} open" if one.open else ""),
        "never" if one.never else "–" if one.median is None else number(one.median),
        span(one),
        "–" if one.ratio is None else f"{one.ratio:.2f}",
    ]
