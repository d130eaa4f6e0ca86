"""What training takes in hours and money, by number of devices."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchfront.advice.advise import Advice
from batchfront.advice.tables import answers_table, devices_table
from batchfront.frontier.curve.text import percent
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, joined, key, place, scrolled, with_code
from batchfront.report.sections.hours_figures import (
    CHOSEN,
    Line,
    lines_of,
    money_figure,
    paid_in,
    time_figure,
)
from batchfront.report.series import COLORS
from batchfront.report.text import escape, significant


def hours_part(subject: Subject) -> Part:
    """Both figures and the tables of each kind of device that was timed, and why nothing can be
    said of some; nothing where nothing was timed."""
    found = subject.hours
    if not found.advices and not found.refused:
        return Part()
    parts = [Part("<h3>Hours and money</h3>")]
    if found.advices:
        parts.append(_figures(subject, lines_of(found.advices)))
    for number, advice in enumerate(found.advices):
        parts += _tables(f"{subject.key}-hours-{number}", advice)
    return joined((*parts, Part(_listed(found.refused))))


def _figures(subject: Subject, lines: Sequence[Line]) -> Part:
    """Nothing where there is but one choice, which the tables have."""
    if sum(len(line.choices) for line in lines) < 2:
        return Part()
    name, workload = f"{subject.key}/hours", subject.frontier.workload
    figures = {
        f"{name}/time": time_figure(workload, lines),
        f"{name}/money": money_figure(workload, lines),
    }
    asked, money = subject.asked.hours, paid_in(lines)
    said = caption(
        "Beside each point of the first figure stands the batch size that takes the least time on "
        "so many devices, in the second one the number of devices. Bars are 90\u00a0% intervals. "
        "On the dashed line twice the devices take half the time; the line of the second figure "
        "joins those than which none is both faster and cheaper.",
        f"More devices pay as long as each doubling saves at least {percent(asked.saves)} of the "
        f"time and costs at most {percent(asked.costs_more)} more.",
        "Cost is in the currency of the price." * (money == "cost"),
    )
    html = (
        f'{_key(lines)}<div class="pair">'
        f"<div><h4>Time to the goal</h4>{place(f'{name}/time', 'half')}</div>"
        f"<div><h4>{money.capitalize()} against time</h4>{place(f'{name}/money', 'half')}</div>"
        f"</div>{said}"
    )
    return Part(html, figures)


def _key(lines: Sequence[Line]) -> str:
    marks = {
        escape(line.name): f'<path d="M0 6H24" class="series c{number % COLORS}"/>'
        f'<circle cx="12" cy="6" r="3.5" class="c{number % COLORS} dotted"/>'
        for number, line in enumerate(lines)
    }
    if not all(one.measured for line in lines for one in line.choices):
        marks["not all of it measured"] = '<circle cx="12" cy="6" r="3.5" class="hollow"/>'
    if any(line.knee for line in lines):
        marks[CHOSEN] = '<circle cx="12" cy="6" r="5" class="again"/>'
    return key(marks)


def _tables(label: str, advice: Advice) -> Iterator[Part]:
    by_devices = devices_table(advice)
    answers = answers_table(advice, {}, significant)
    for name, title, table in (
        (f"{label}-devices", f"{by_devices.title}, {advice.device}", by_devices),
        (f"{label}-answers", f"What stands out, {advice.device}", answers),
    ):
        yield Part(
            f'<h4 id="{name}" class="apart">{escape(title)}</h4>'
            f"{scrolled(name, replace(table, title='', notes=()))}"
            f"{_listed([note for note in table.notes if note])}"
        )
    yield Part(_listed(advice.notes))


def _listed(notes: Sequence[str]) -> str:
    said = "".join(f"<li>{with_code(escape(note))}</li>" for note in notes)
    return f'<ul class="caption">{said}</ul>' if said else ""
