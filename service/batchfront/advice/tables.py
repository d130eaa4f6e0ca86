"""An advice in tables, for a terminal and for the page alike."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batchfront.advice.advise import Advice
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.advice.text import (
    TITLES,
    ends,
    kept,
    limits,
    of_so_many,
    unit_for,
)
from batchfront.advice.units import Unit, digits, spread
from batchfront.frontier.curve.text import SPACE, number, percent
from batchfront.phrases import listed
from batchfront.table import Column, Table
from batchfront.workload.search_space import Metaparameters

Fact = tuple[str, str | None]
"""What it is, and how much; None where nobody knows, or there is none."""

_INTERVAL = f"  90{SPACE}% interval"


def answers_table(
    advice: Advice, recipes: Mapping[Choice, Metaparameters], shown: Callable[[Any], str]
) -> Table:
    """A column for each choice that is an answer, with all that it takes.

    recipes -- the metaparameters of each, as far as there are some
    shown   -- how the value of one is written
    """
    found: dict[Choice, list[str]] = {}
    for name, choice in advice.answers.items():
        if choice is not None:
            found.setdefault(choice, []).append(TITLES[name])
    unit = unit_for(advice)
    names = sorted({name for choice in found for name in recipes.get(choice, {})})
    facts = [[*_facts(one, unit), *_told(recipes.get(one, {}), names, shown)] for one in found]
    rows = [(same[0][0], *(value for _, value in same)) for same in zip(*facts, strict=True)]
    rows = [row for row in rows if any(value is not None for value in row[1:])]
    titles = (", ".join(titles) for titles in found.values())
    columns = (Column("", words=True, whole=True), *(Column(title, words=True) for title in titles))
    return Table(columns, rows, notes=["", *_meant(advice)], by_facts=True)


def _facts(choice: Choice, unit: Unit) -> Iterator[Fact]:
    layout = choice.layout
    yield "machines", choice.machine and f"{choice.nodes:,} x {choice.machine}"
    yield "devices", f"{choice.devices:,}"
    yield "batch size", f"{choice.batch_size:,}"
    yield "  on each device", f"{layout.per_device:,}"
    yield "  in micro-batches", f"{layout.accumulation:,} of {layout.micro_batch:,}"
    yield from _known("steps", choice.steps, number)
    yield "seconds a step", digits(choice.seconds_per_step.median)
    yield from _known(unit.name, choice.hours, unit.text)
    for name, hours in (
        ("evaluations", choice.evaluation_hours),
        ("repeated", choice.repeated_hours),
    ):
        yield f"  {name}", unit.text(hours) if hours else None
    yield f"device-{unit.name}", unit.text(choice.device_hours.median)
    yield from _known("cost", choice.cost, digits)


def _known(name: str, interval: Interval | None, shown: Callable[[float], str]) -> Iterator[Fact]:
    yield name, None if interval is None else shown(interval.median)
    yield _INTERVAL, None if interval is None else ends(interval, shown)


def _told(recipe: Metaparameters, names: list[str], shown: Callable[[Any], str]) -> Iterator[Fact]:
    for name in names:
        yield name, shown(recipe[name]) if name in recipe else None


def _meant(advice: Advice) -> Iterator[str]:
    """What the answers mean, and why there is none of some."""
    asked = advice.options
    money = "money" if any(one.cost for one in advice.choices) else "device-hours"
    means = {
        "fastest": "the least time",
        "cheapest": f"the least {money}",
        "knee": (
            f"every doubling up to here saves at least {percent(asked.saves)} of the time, for at "
            f"most {percent(asked.costs_more)} more {money}"
        ),
    }
    for name in limits(advice):
        best = "cheapest" if name == "by_deadline" else "fastest"
        means[name] = f"the {best} to keep {kept(advice, name)} with 95{SPACE}% probability"
    for name, meaning in means.items():
        found = advice.answers[name] is not None
        yield f"{TITLES[name]}: {meaning if found else f'none, as {advice.why_not[name]}'}."


def devices_table(advice: Advice) -> Table:
    """A row for each number of devices: what they take, and save beside half as many."""
    unit = unit_for(advice)
    columns = (
        Column("machine", words=True),
        Column("devices", lambda value: f"{value:,}"),
        Column("batch size", lambda value: f"{value:,}"),
        Column(f"{unit.name} (90{SPACE}%)", words=True),
        Column(f"cost (90{SPACE}%)", words=True),
        Column("saves", _whole_percent),
        Column("costs more", _whole_percent),
        Column("measured", lambda all_of_it: "all" if all_of_it else "in part", words=True),
    )
    rows = [
        (
            choice.machine,
            choice.devices,
            choice.batch_size,
            spread(choice.hours, unit.text),
            None if choice.cost is None else spread(choice.cost),
            *_than_half(advice, choice),
            choice.measured,
        )
        for choice in advice.choices
    ]
    title = "The best batch size for each number of devices"
    return Table(columns, rows, title, list(_rests_on(advice)), keys=2).filled()


def _whole_percent(share: float) -> str:
    return f"{round(100 * share)}{SPACE}%"


def _than_half(advice: Advice, choice: Choice) -> tuple[float | None, float | None]:
    """The shares of time that it saves and of money that it costs more than half as many do."""
    half = of_so_many(advice, choice.machine, choice.devices // 2)
    if half is None or choice.devices % 2:
        return None, None
    saved = 1 - choice.hours.median / half.hours.median
    return saved, choice.device_hours.median / half.device_hours.median - 1


def _rests_on(advice: Advice) -> Iterator[str]:
    """What the rows rest on that was not measured, and why some are missing; what several have in
    common is said once."""
    if any(_than_half(advice, choice)[0] is not None for choice in advice.choices):
        yield "saves, costs more: beside half as many devices."
    if not all(choice.measured for choice in advice.choices):
        yield "measured in part: interpolated, or extrapolated where a line here says so."
    notes = [
        (choice.machine, choice.devices, _of_so_many(note, choice.devices, choice.nodes))
        for choice in advice.choices
        for note in choice.notes
    ]
    notes += [
        (one.machine, one.devices, f"left out, {_of_so_many(one.reason, one.devices)}.")
        for one in advice.left_out
    ]
    said: dict[str, dict[str | None, list[str]]] = {}
    for machine, devices, note in notes:
        said.setdefault(note, {}).setdefault(machine, []).append(f"{devices:,}")
    for note, those in said.items():
        yield f"{listed([_devices(*one) for one in those.items()])}: {note}"


def _devices(machine: str | None, numbers: Sequence[str]) -> str:
    what = "device" if numbers == ["1"] else "devices"
    return f"{listed(numbers)} {what}{'' if machine is None else f' of {machine}'}"


def _of_so_many(note: str, devices: int, nodes: int = 1) -> str:
    """A note without its own numbers of devices and machines, so that those of rows which differ in
    nothing else are one."""
    note = note.replace(f"the {nodes:,} machines", "the machines")
    return re.sub(rf"\b{devices:,}(?= (?:devices?|of)\b)", "so many", note)
