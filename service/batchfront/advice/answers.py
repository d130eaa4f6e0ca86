"""The choices that stand out of all: the cheapest, the knee, those under a deadline or a budget."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log2

from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.phrases import percent, several

Found = tuple[Choice | None, str | None]
"""A choice, or None and why there is none, as a clause."""


def comparable(choices: Sequence[Choice]) -> list[Choice]:
    """Those whose costs can be compared: the ones with a price; where none has one, all, by their
    device-hours."""
    return [one for one in choices if one.cost is not None] or list(choices)


def spent(choice: Choice) -> Interval:
    """What a choice costs; without a price, its device-hours."""
    return choice.device_hours if choice.cost is None else choice.cost


def fastest(choices: Sequence[Choice]) -> Choice:
    """The one that takes the least time; of equals the cheaper."""
    return min(choices, key=lambda one: (one.hours.median, spent(one).median))


def cheapest(choices: Sequence[Choice]) -> Choice:
    """The one that costs the least; of equals the faster."""
    return min(comparable(choices), key=lambda one: (spent(one).median, one.hours.median))


def pareto(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Those than which no other takes both less time and less money, the fastest first."""
    found: list[Choice] = []
    ordered = sorted(comparable(choices), key=lambda one: (one.hours.median, spent(one).median))
    for one in ordered:
        if not found or spent(one).median < spent(found[-1]).median:
            found.append(one)
    return tuple(found)


def knee(choices: Sequence[Choice], saves: float, costs_more: float) -> Found:
    """The most devices up to which every doubling still pays: saves at least `saves` of the time
    and costs at most `costs_more` more. Steps that are no doubling are judged by what a doubling of
    the kind would come to. Of several kinds of machine, those of the cheapest choice of one that
    has several numbers of devices.
    """
    numbers = Counter(one.machine for one in choices)
    several_of = [one for one in choices if numbers[one.machine] > 1]
    if not several_of:
        return None, "only one number of devices can be compared"
    machine = cheapest(several_of).machine
    alike = (one for one in several_of if one.machine == machine)
    ordered = sorted(alike, key=lambda one: one.devices)
    for fewer, more in pairwise(ordered):
        if not _pays(fewer, more, saves, costs_more):
            return fewer, None
    return ordered[-1], None


def _pays(fewer: Choice, more: Choice, saves: float, costs_more: float) -> bool:
    doublings = log2(more.devices / fewer.devices)
    time: float = (more.hours.median / fewer.hours.median) ** (1 / doublings)
    money: float = (more.device_hours.median / fewer.device_hours.median) ** (1 / doublings)
    return time <= 1 - saves and money <= 1 + costs_more


def by_deadline(choices: Sequence[Choice], hours: float) -> Found:
    """The cheapest of those that are over by then, with 95 % probability."""
    kept = [one for one in choices if one.hours.high <= hours]
    if kept:
        return cheapest(kept), None
    # Of those that have no chance worth the name, the one that comes closest.
    best = max(choices, key=lambda one: (one.hours.chance_below(hours), -one.hours.median))
    return None, (
        f"none is over by then with 95 % probability; the likeliest, {_named(best)}, is with "
        f"{percent(best.hours.chance_below(hours))}"
    )


def within_budget(choices: Sequence[Choice], money: float) -> Found:
    """The fastest of those that cost no more, with 95 % probability."""
    priced = [(one, one.cost) for one in choices if one.cost is not None]
    kept = [one for one, cost in priced if cost.high <= money]
    if kept:
        return fastest(kept), None
    best, cost = max(priced, key=lambda told: (told[1].chance_below(money), -told[1].median))
    return None, (
        f"none costs no more with 95 % probability; the likeliest, {_named(best)}, does with "
        f"{percent(cost.chance_below(money))}"
    )


def _named(choice: Choice) -> str:
    of = "" if choice.machine is None else f" of {choice.machine}"
    return f"{several(choice.devices, 'device')}{of}"
