"""What to train with, on the first screen: for one device, and for as many as pay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from batchfront.advice.advise import Advice
from batchfront.advice.choices import Choice
from batchfront.advice.text import compared, of_so_many, where
from batchfront.advice.units import seconds_text, spread, time_spread
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import estimate_text, number, size
from batchfront.frontier.next_commands import time_steps
from batchfront.frontier.recommendation import Recommendation, Spent, recommendation
from batchfront.report.data import Subject
from batchfront.report.html import Part, advised, rendered
from batchfront.report.text import count, escape

_MANY = "As many devices as pay"


@dataclass(frozen=True)
class Card:
    """One of the answers: whom it is for, the choice, and what that takes, a line each."""

    title: str
    choice: str
    takes: Sequence[str]


def recommended(subject: Subject) -> str:
    """Which batch size to train with and what it costs, a sentence for each kind of device that was
    timed, or one for all; empty where there is nothing to choose from."""
    found = recommendation(subject.frontier, subject.fitted.found)
    return subject.hours.recommended("" if found is None else found.headline)


def recommended_part(subject: Subject) -> Part:
    """The choices beside each other, in hours and money where steps were timed, otherwise in steps
    and examples with the command that times them; nothing before the goal was reached."""
    hours = subject.hours
    if hours.advices:
        cards = [card for advice in hours.advices for card in _by_hours(advice)]
        return _part(cards, *(_beyond(advice) for advice in hours.advices))
    if not subject.frontier.reached:
        return Part()
    found = recommendation(subject.frontier, subject.fitted.found)
    cards = [] if found is None else list(_by_examples(found))
    beyond = "" if found is None else escape(found.beyond_text)
    time = None if hours.refused else time_steps(subject.frontier)
    how = advised(time, "Hours and money stand here once ", " has told what a step takes.")
    return _part(cards, beyond, how)


def _part(cards: Sequence[Card], *sentences: str) -> Part:
    """`sentences` are escaped already."""
    said = Markup(" ".join(filter(None, sentences)))
    return Part(rendered("recommendation.html", cards=cards, said=said))


def _by_examples(found: Recommendation) -> Iterator[Card]:
    alone, several = found.alone, found.several
    one, more = ("One device", _MANY) if found.by_curve else ("Fewest examples", "Fewest steps")
    if alone == several:
        both = "One device or several" if found.by_curve else f"{one} and {more.lower()}"
        yield _spent(both, alone, _until("useful", found.useful))
        return
    yield _spent(one, alone, _until("scaling is near-perfect", found.perfect))
    yield _spent(more, several, _until("useful", found.useful))


def _until(what: str, until: Estimate | None) -> str:
    """An answer of the curve, without its interval: the card is for a glance."""
    if until is None:
        return ""
    if until.value is not None:
        return f"{what} up to {size(until.value)}"
    return f"{what} up to {estimate_text(until, size)}"


def _spent(title: str, spent: Spent, *more: str) -> Card:
    return Card(title, f"batch size {spent.batch_size:,}", (spent.text, *filter(None, more)))


def _by_hours(advice: Advice) -> Iterator[Card]:
    """The one of the fewest devices, and the one of as many as pay, where that is another; the
    cheapest where there is none to compare it with."""
    knee, cheapest = advice.knee, advice.cheapest
    if knee is None:
        if cheapest is not None:
            yield _taken(where(cheapest, advice.device), cheapest)
        return
    alike = (one for one in advice.choices if one.machine == knee.machine)
    fewest = min(alike, key=lambda one: one.devices)
    on = where(fewest, advice.device)
    if fewest is knee:
        yield _taken(f"{on}; more devices hardly pay", knee)
        return
    yield _taken(on, fewest)
    yield _taken(f"{_MANY}: {where(knee, advice.device)}", knee, compared(fewest, knee))


def _taken(title: str, one: Choice, *more: str) -> Card:
    cost = "" if one.cost is None else f", cost {spread(one.cost)}"
    each = f", {count(one.layout.per_device)} on each" if one.devices > 1 else ""
    steps = f"{number(one.steps.median)} steps of {seconds_text(one.seconds_per_step.median)}"
    choice = f"batch size {count(one.batch_size)}{each}"
    sure = () if one.measured else ("not all of it measured",)
    takes = (f"{time_spread(one.hours)}{cost}", steps, *more, *sure)
    return Card(f"{title[0].upper()}{title[1:]}", choice, takes)


def _beyond(advice: Advice) -> str:
    """What twice as many devices as pay would bring, in a sentence; escaped."""
    knee = advice.knee
    more = knee and of_so_many(advice, knee.machine, 2 * knee.devices)
    if knee is None or more is None:
        return ""
    return escape(f"{where(more, advice.device)} would take {compared(knee, more)}.")
