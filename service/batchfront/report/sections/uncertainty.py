"""How sure the points are: what fewer trials would have found, and what running them again gave."""

from collections.abc import Sequence

from batchfront.frontier.curve.text import number
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.next_commands import more_finishers, rerun_winners
from batchfront.frontier.reruns import Confirmation
from batchfront.frontier.uncertainty.expected_best import LITTLE
from batchfront.frontier.uncertainty.points import (
    PointUncertainty,
    point_uncertainties,
    points_table,
    why_merged,
    why_unknown,
)
from batchfront.frontier.warnings import point_warnings
from batchfront.report.data import Subject
from batchfront.report.html import Part, advised, caption, joined, place, scrolled
from batchfront.report.plotly import Figure, log2_axis, log_axis
from batchfront.report.sections.curve import span
from batchfront.report.series import Mark, Series, level, lines_figure, lines_key
from batchfront.report.text import count, escape
from batchfront.table import NOTHING, Column, Table, of_records


def confirm_part(subject: Subject) -> Part:
    """What running them again gave; nothing where none was."""
    found = subject.confirmations
    if not found:
        return Part()
    label = f"{subject.key}-confirmations"
    columns = (
        Column("batch size", count),
        Column("trial"),
        Column("", words=True),
        Column("in the search", count),
        Column("reached", _reached),
        Column("median", _median),
        Column("range", span),
        Column("median ÷ best", lambda ratio: f"{ratio:.2f}"),
    )
    frontier = subject.frontier
    ids = {point.batch_size: point.study.id for point in frontier.points}
    rows = [
        (
            *(size, subject.dashboard.link(ids[size], one.trial, size)),
            _which(frontier, size, one),
            *(one.best, one, one, one, one.ratio),
        )
        for size, mine in sorted(found.items())
        for one in mine
    ]
    said = caption(
        "The winner of a search is the luckiest of its trials. The metaparameters of these trials "
        "ran again with fresh seeds: the median is what to expect of them.",
        "It is never reached where half of the seeds or more did not get there."
        * any(one.never for mine in found.values() for one in mine),
    )
    return Part(
        f'<h4 id="{label}" class="apart">Trials run again</h4>'
        f"{scrolled(label, Table(columns, rows), _confirmed(subject))}{said}"
    )


def _confirmed(subject: Subject) -> Table:
    """The same, with what is counted in columns of its own."""
    return of_records(
        [
            {
                "batch size": size,
                "trial": one.trial,
                "is": _which(subject.frontier, size, one),
                "in the search": one.best,
                "reached": len(one.steps),
                "seeds": one.seeds,
                "open": one.open,
                "median": one.median,
                "lowest": min(one.steps, default=None),
                "highest": max(one.steps, default=None),
                "median ÷ best": one.ratio,
            }
            for size, mine in sorted(subject.confirmations.items())
            for one in mine
        ]
    )


def _which(frontier: Frontier, batch_size: int, one: Confirmation) -> str:
    """Whether it is the winner, or what is recommended, or both."""
    winners = {point.batch_size: point.trial for point in frontier.reached}
    known = frontier.expected.by_batch_size.get(batch_size)
    said = {
        "winner": winners.get(batch_size) == one.trial,
        "recommended": known is not None and known.trial == one.trial,
    }
    return ", ".join(word for word, holds in said.items() if holds)


def _reached(one: Confirmation) -> str:
    return f"{len(one.steps)} of {one.seeds}" + (f", {one.open} open" if one.open else "")


def _median(one: Confirmation) -> str:
    if one.never:
        return "never"
    return NOTHING if one.median is None else number(one.median)


def uncertainty_part(subject: Subject) -> Part:
    """What is known of how lucky the winners are, or why nothing can be; nothing while it may yet
    be."""
    known = point_uncertainties(subject.frontier)
    why = why_unknown(subject.frontier)
    if not known and not subject.confirmations and why is None:
        return Part()
    parts = [Part("<h3>How sure</h3>")]
    if _telling(known):
        parts += [_figure(subject, _telling(known)), _numbers(subject, known)]
    elif known:
        parts.append(_unknown(subject.frontier))
    elif why is not None:
        parts.append(_unknowable(subject.frontier, why))
    return joined((*parts, _rises(subject), confirm_part(subject)))


def uncertainty_figure(frontier: Frontier) -> Figure | None:
    """The expected best of k trials at each batch size; None where no race went on past its first
    finisher, which tells nothing."""
    telling = _telling(point_uncertainties(frontier))
    return _drawn(frontier, list(map(_line, telling))) if telling else None


def _telling(known: Sequence[PointUncertainty]) -> list[PointUncertainty]:
    return [one for one in known if len(one.sample.lowest) > 1]


def _unknown(frontier: Frontier) -> Part:
    after = " lets races go on until three have passed, which tells."
    return Part(
        caption(
            "Every race ended with the first trial that passed the goal. Whether more trials would "
            "have found fewer steps cannot be known from that one.",
            advised(more_finishers(frontier), "", after),
        )
    )


def _unknowable(frontier: Frontier, why: str) -> Part:
    confirm = advised(rerun_winners(frontier), "", " runs the winners again, with other seeds.")
    return Part(caption(f"{why}.", confirm))


def _rises(subject: Subject) -> Part:
    texts = [
        warning.text
        for warning in point_warnings(subject.frontier, subject.fitted.found)
        if warning.kind == "not-monotone"
    ]
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return Part(f'<ul class="caption">{items}</ul>') if items else Part()


def _figure(subject: Subject, telling: Sequence[PointUncertainty]) -> Part:
    lines = list(map(_line, telling))
    name = f"{subject.key}/certainty"
    said = caption(
        "The expected best of k trials, as a multiple of the best of all that were run: where a "
        "line is still steep at its right end, more trials would find fewer steps. It is exact "
        "while the trials that passed the goal decide it, and a lower bound, shown hollow, where "
        "trials that were stopped might.",
    )
    key = lines_key(lines, "at least")
    return Part(f"{key}{place(name, 'medium')}{said}", {name: _drawn(subject.frontier, lines)})


def _drawn(frontier: Frontier, lines: Sequence[Series]) -> Figure:
    marks = [mark for line in lines for mark in line.marks]
    return lines_figure(
        f"Expected best of k trials, {frontier.workload}",
        lines,
        log2_axis("k, trials", 1, max(mark.x for mark in marks), ticks=10, pad=0.2, room=280),
        log_axis("steps, as a multiple of the best of all", [mark.y for mark in marks]),
        [level(1.0)],
    )


def _line(point: PointUncertainty) -> Series:
    curve = point.more.curve
    wanted = {round(2 ** (n / 2)) for n in range(40)} | {len(curve)}
    marks = [
        Mark(
            best.k,
            best.at_least / curve[-1].at_least,
            f"best of {best.k}: {'' if best.unknown < LITTLE else 'at least '}"
            f"{number(best.at_least)} steps",
            sure=best.unknown < LITTLE,
        )
        for best in curve
        if best.k in wanted
    ]
    return Series(f"batch size {count(point.batch_size)}", marks)


def _numbers(subject: Subject, known: Sequence[PointUncertainty]) -> Part:
    label, records = f"{subject.key}-certainty", of_records([one.to_dict() for one in known])
    said = caption(
        "Half the trials, and twice as many: how many more, and how many fewer, steps these would "
        "take on average. Another search of as many trials would have its best in the interval "
        "with 90\u00a0%. Both need at least three trials that passed the goal.",
        why_merged(known) or "",
        advised(more_finishers(subject.frontier), "", " lets races go on until there are three."),
    )
    return Part(
        f'<h4 id="{label}" class="apart">Would more trials have changed it?</h4>'
        f"{scrolled(label, points_table(known), records)}{said}"
    )
