"""On how many devices, at which batch size, how long, and for how much: what a workload's curve of
steps and its timings say together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchfront.advice import answers, defined
from batchfront.advice.choices import Choice, Choices
from batchfront.advice.evaluations import Evaluations
from batchfront.advice.machines import Machine, load_machines
from batchfront.advice.options import AdviceOptions
from batchfront.advice.run_steps import RunSteps
from batchfront.advice.spot import CHECKPOINT_SECONDS, REPLACEMENT_SECONDS
from batchfront.advice.step_time import StepTimes
from batchfront.advice.timings import Timing, load_timings
from batchfront.errors import UsageError
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.text import percent
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.queries import load_reruns
from batchfront.frontier.reruns import Confirmations, confirmations
from batchfront.phrases import first_few, listed
from batchfront.printable import shell_word
from batchfront.store.commands import command
from batchfront.store.snapshot import Source, snapshot

ANSWERS = ("fastest", "cheapest", "knee", "by_deadline", "within_budget")
"""The fields of `Advice` that are one choice each, or None for a reason."""


@dataclass(frozen=True)
class LeftOut:
    """A number of devices that nothing can be said of, and why, as a clause."""

    devices: int
    machine: str | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to train on.

    device        -- the kind of device that was timed: "NVIDIA H200"
    choices       -- the best batch size for each number of devices, by machine and devices: as all
                     devices are paid for as long as training takes, the one that takes the least
                     time costs the least, too
    fastest       -- of these, the one that takes the least time
    cheapest      -- the one that costs the least; without a price, with the fewest device-hours
    knee          -- the most devices, on the cheapest kind of machine of which several numbers are
                     compared, up to which every doubling still pays, as of `AdviceOptions.saves`
                     and `costs_more`
    by_deadline   -- the cheapest of those that keep the deadline, with 95 % probability
    within_budget -- the fastest of those that keep the budget, with 95 % probability
    pareto        -- those than which no other takes both less time and less money (without a price:
                     fewer device-hours), the fastest first
    why_not       -- by name of an answer that is None, why, as a clause
    left_out      -- numbers of devices without a choice
    notes         -- what holds for all choices, a sentence each
    """

    frontier: Frontier
    device: str
    options: AdviceOptions
    choices: tuple[Choice, ...]
    fastest: Choice | None = None
    cheapest: Choice | None = None
    knee: Choice | None = None
    by_deadline: Choice | None = None
    within_budget: Choice | None = None
    pareto: tuple[Choice, ...] = ()
    why_not: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def answers(self) -> dict[str, Choice | None]:
        """The choices that stand out, by the names of ANSWERS."""
        return {name: getattr(self, name) for name in ANSWERS}

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        options = {**vars(self.options), "devices": list(self.options.devices or ()) or None}
        return {
            "workload": self.frontier.workload,
            "goal": {**self.frontier.goal, "text": self.frontier.goal_text},
            "device": self.device,
            "options": options,
            **{name: one and one.to_dict() for name, one in self.answers.items()},
            "why_not": dict(self.why_not),
            "choices": [one.to_dict() for one in self.choices],
            "pareto": [one.to_dict() for one in self.pareto],
            "left_out": [one.to_dict() for one in self.left_out],
            "notes": list(self.notes),
        }


def load_advice(source: Source, workload: str, options: AdviceOptions = AdviceOptions()) -> Advice:
    """What to train a workload on, by its frontier and its timings. Raises UsageError, in one line,
    where nothing can be said: as `advise`, and for a workload without studies."""
    with snapshot(source) as moment:
        frontier = load_frontier(moment, workload)
        reruns = confirmations(frontier, load_reruns(moment, workload))
        timings = load_timings(moment, workload)
    return advise(frontier, reruns, timings, options)


def advise(
    frontier: Frontier,
    reruns: Confirmations,
    timings: Sequence[Timing],
    options: AdviceOptions = AdviceOptions(),
) -> Advice:
    """What to train a workload on, by what has been read of it.

    Raises UsageError, in one line, where nothing can be said: without timings, or a batch size that
    has reached the goal; of a kind of device that wasn't timed; of no number of devices that was
    asked for; and for a machine file that can't be.
    """
    machines = [] if options.machines is None else load_machines(Path(options.machines))
    steps = RunSteps(frontier, reruns)
    timed = in_precision(frontier, timings)
    if options.budget is not None:
        _require_price(options, machines)
    places = _places(steps, timed, machines, options)
    choices, left_out = _choices(places, options)
    if not choices:
        reasons = list(dict.fromkeys(one.reason for one in left_out))
        raise UsageError(f"{frontier.workload}: nothing can be said: {first_few(reasons, 2)}")
    return _answered(frontier, options, places, choices, left_out)


@dataclass(frozen=True)
class _Place:
    """A kind of machine to compare, or the devices as they were timed."""

    device: str
    choices: Choices
    timings: Sequence[Timing]

    @property
    def devices(self) -> tuple[int, ...]:
        """The numbers of devices to compare, where none are asked for."""
        machine = self.choices.machine
        if machine is None:
            return self.choices.times.devices
        powers = {1 << n for n in range(machine.devices.bit_length())}
        return tuple(sorted({*(n for n in powers if n <= machine.devices), machine.devices}))

    @property
    def notes(self) -> Iterator[str]:
        """What to know of its hours."""
        machine = self.choices.machine
        of = "" if machine is None else f"{machine.name}: "
        if self.choices.evaluations is None:
            yield f"{of}Hours are of training alone: what its evaluations take isn't known."
        imported = any(one.imported for one in self.timings)
        if imported:
            yield (
                f"{of}Some seconds were measured elsewhere: how they scatter isn't known, nor in "
                "how many micro-batches they were computed where the file doesn't say."
            )
        if (layout := self.choices.times.too_fast) is not None:
            share, devices = layout.per_device, layout.devices
            yield (
                f"{of}A step of {share * devices:,} examples on {devices} devices took less than "
                f"one of them takes for its {share:,} alone: they can't be of the same device and "
                "code, and hours on several devices are not to be trusted."
            )
        if imported and (layout := self.choices.times.slower_than_one) is not None:
            yield (
                f"{of}A step of {layout.per_device * layout.devices:,} examples took longer on "
                f"{layout.devices} devices than on one. Where batch sizes, or examples per second, "
                "are those of each device in place of all together, more devices pay than is said "
                "here."
            )
        if machine is not None and machine.devices > 1 and machine.bandwidth_within is None:
            yield f"{of}Its devices are taken to be connected as those that were timed."
        if self.choices.times.memory_unknown:
            yield f"{of}Its memory is not compared: what a pass takes of it was not measured."
        for said in _stale(self.choices.steps.frontier, self.timings):
            yield f"{of}{said}"


def _stale(frontier: Frontier, timings: Sequence[Timing]) -> Iterator[str]:
    """On what else than the trials the timings were made, or on what different things."""
    study = frontier.points[0].study
    time = command(frontier.url, "time", frontier.workload, *study.allowed)
    here = [one.versions for one in timings if not one.imported]
    for kind in ("torch", "source"):
        ran = frontier.versions.get(kind, [])
        timed = sorted({versions[kind] for versions in here if kind in versions})
        if len(timed) < 2 and (not ran or {*timed} <= {*ran}):
            continue
        if kind == "torch":
            trials = f", and trials ran with {listed(ran)}" if ran else ""
            yield (
                f"Steps were timed with torch {listed(timed)}{trials}: seconds may differ; {time} "
                "times them with the one that is here."
            )
        elif {*timed} <= {*ran}:
            yield (
                "Steps were timed with several versions of the workload's code; "
                f"{time} times them with the one that is here."
            )
        else:
            yield (
                "Steps were timed with another version of the workload's code than trials ran "
                f"with; {time} times them with the one that is here."
            )


def in_precision(frontier: Frontier, timings: Sequence[Timing]) -> list[Timing]:
    """The timings of what a workload trains in, which nobody has said of a curve that was measured
    elsewhere. Raises UsageError where there are none, with the commands that make some."""
    workload, study = frontier.workload, frontier.points[0].study
    there = sorted({one.precision for one in timings})
    precision = defined.precision(study)
    if frontier.points[0].measured_elsewhere and len(there) == 1:
        precision = there[0]
    found = [one for one in timings if one.precision == precision]
    if found:
        return found
    instead = f" in {precision}, which it trains in (there are of {listed(there)})" if there else ""
    time = command(frontier.url, "time", workload, *study.allowed)
    here = f"{time} measures what its steps take here, and " if study.spec else ""
    elsewhere = command(frontier.url, "import timings", "FILE")
    raise UsageError(
        f"{workload}: no step was timed{instead}; {here}{elsewhere} takes what was measured "
        "elsewhere"
    )


def _require_price(options: AdviceOptions, machines: Sequence[Machine]) -> None:
    without = [one.name for one in machines if one.price is None]
    if options.price is None and (without or not machines):
        of = f" of {first_few(without)}" if without else ""
        raise UsageError(f"--budget {options.budget:g}: needs a price{of}, such as --price 2.5")


def _places(
    steps: RunSteps,
    timings: Sequence[Timing],
    machines: Sequence[Machine],
    options: AdviceOptions,
) -> list[_Place]:
    """The kinds of machine to compare, or the devices as they were timed."""
    study = steps.frontier.points[0].study
    places = []
    kinds: list[Machine | None] = [*machines] or [None]
    for machine in kinds:
        device = _device(steps.frontier.workload, timings, machine, options)
        mine = [one for one in timings if one.device == device]
        times = StepTimes.of(
            mine,
            machine,
            gradient_bytes=defined.gradient_bytes(study),
            whole=defined.whole(study),
            group=defined.group(study),
        )
        price = options.price if machine is None or machine.price is None else machine.price
        choices = Choices(
            steps=steps,
            times=times,
            evaluations=Evaluations.of(steps.frontier, mine),
            machine=machine,
            price=price,
            spot=options.spot,
        )
        places.append(_Place(device, choices, mine))
    return places


def _device(
    workload: str, timings: Sequence[Timing], machine: Machine | None, options: AdviceOptions
) -> str:
    """The kind of device to take the timings of. Raises UsageError where it wasn't timed, and
    where several were and none is named."""
    there = sorted({one.device for one in timings})
    named = options.device if machine is None or machine.device is None else machine.device
    if named is None and len(there) == 1:
        return there[0]
    timed = f"{workload} was timed on {listed(there)}"
    if named is None:
        if machine is None:
            such_as = f"--device {shell_word(there[0])}"
            raise UsageError(f"{timed}; say which by --device, such as {such_as}")
        such_as = f"device = {json.dumps(there[0], ensure_ascii=False)}"
        raise UsageError(f"{machine.name}: {timed}; say which in its entry, such as {such_as}")
    if named in there:
        return named
    asked = f"--device {named}: "
    if machine is not None and machine.device is not None:
        asked = f"{machine.name}: its devices are {named}, and "
    raise UsageError(f"{asked}{timed}, which tells nothing of another kind of device")


def _choices(
    places: Sequence[_Place], options: AdviceOptions
) -> tuple[list[Choice], list[LeftOut]]:
    found, left_out = [], []
    for place in places:
        machine = place.choices.machine
        name = None if machine is None else machine.name
        for devices in options.devices or place.devices:
            try:
                found.append(place.choices.best(devices))
            except UsageError as error:
                left_out.append(LeftOut(devices, name, str(error)))
    return found, left_out


def _answered(
    frontier: Frontier,
    options: AdviceOptions,
    places: Sequence[_Place],
    choices: Sequence[Choice],
    left_out: Sequence[LeftOut],
) -> Advice:
    """The choices that stand out."""
    cheapest = answers.cheapest(choices)
    no_deadline, no_budget = (None, "no deadline was given"), (None, "no budget was given")
    hours, money = options.deadline, options.budget
    found: dict[str, answers.Found] = {
        "knee": answers.knee(choices, options.saves, options.costs_more),
        "by_deadline": no_deadline if hours is None else answers.by_deadline(choices, hours / 3600),
        "within_budget": no_budget if money is None else answers.within_budget(choices, money),
    }
    return Advice(
        frontier=frontier,
        device=listed(list(dict.fromkeys(place.device for place in places))),
        options=options,
        choices=tuple(choices),
        fastest=answers.fastest(choices),
        cheapest=cheapest,
        **{name: choice for name, (choice, _) in found.items()},
        pareto=answers.pareto(choices),
        why_not={name: why for name, (_, why) in found.items() if why is not None},
        left_out=tuple(left_out),
        notes=tuple(_notes(places, options, choices)),
    )


def _notes(
    places: Sequence[_Place], options: AdviceOptions, choices: Sequence[Choice]
) -> Iterator[str]:
    """What holds for all choices."""
    steps = places[0].choices.steps
    frontier = steps.frontier
    yield from steps.notes
    if (said := mixed(frontier)) is not None:
        yield said
    if frontier.unreached:
        sizes = first_few([f"{point.batch_size:,}" for point in frontier.unreached])
        yield f"The goal was not reached at {sizes}: no batch size there is proposed."
    if max(one.batch_size for one in choices) == steps.sizes[-1] and not frontier.unreached_beyond:
        yield (
            f"The largest batch size that was measured, {steps.sizes[-1]:,}, is among these; "
            "whether a larger one takes less time wasn't measured."
        )
    for place in places:
        yield from place.notes
    if options.spot is not None:
        yield (
            f"Spot devices: each is taken away within an hour with a probability of "
            f"{percent(options.spot)}, as given; that there is a checkpoint every "
            f"{CHECKPOINT_SECONDS / 60:g} minutes and another device after "
            f"{REPLACEMENT_SECONDS / 60:g} minutes is assumed."
        )
    has = {one.name: one.devices for place in places if (one := place.choices.machine) is not None}
    in_part = [
        one.machine
        for one in choices
        if one.machine is not None and one.cost is not None and one.devices < has[one.machine]
    ]
    for name in dict.fromkeys(in_part):
        yield f"{name}: The price is that of the devices that are used, also where it has more."
    unpriced = list(dict.fromkeys(one.machine for one in choices if one.cost is None))
    if unpriced and any(one.cost is not None for one in choices):
        yield f"Not compared by cost, for want of a price: {first_few([str(m) for m in unpriced])}."
