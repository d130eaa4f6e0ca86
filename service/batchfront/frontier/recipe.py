"""How to train at a batch size: the winner's metaparameters, or, where none was searched, what lies
between the winners' at its neighbours."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchfront.errors import UsageError
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.curve.estimates import REACH
from batchfront.frontier.frontier import Frontier, Point, load_frontier
from batchfront.frontier.queries import load_reruns
from batchfront.frontier.reached_trial import why_no_weights
from batchfront.frontier.reruns import Confirmation, confirmations
from batchfront.phrases import first_few
from batchfront.store.commands import command
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.identity import command_text
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Log,
    Metaparameters,
    Value,
)
from batchfront.workload.space_edges import holding

_DEFINED = (
    "algorithm", "schedule", "loss", "update", "clip_norm", "average", "precision", "env", "data",
)  # fmt: skip
"""Entries of a study's identity that a recipe repeats."""


@dataclass(frozen=True)
class Layout:
    """How a batch is shared out: `micro_batch * accumulation * devices` is the batch size.

    micro_batch  -- examples that a device computes at once
    accumulation -- how often it does that for each step, adding the gradients up
    """

    devices: int
    micro_batch: int
    accumulation: int

    @property
    def per_device(self) -> int:
        """Examples of a step on each device."""
        return self.micro_batch * self.accumulation

    def to_dict(self) -> dict[str, int]:
        """All of it as plain data."""
        return {
            "devices": self.devices,
            "per_device_batch": self.per_device,
            "micro_batch": self.micro_batch,
            "accumulation": self.accumulation,
        }


def lay_out(batch_size: int, devices: int = 1, micro_batch: int | None = None) -> Layout:
    """Share a batch out among so many devices, in as few micro-batches as may be.

    micro_batch -- examples that a device holds at once, at most; None: all of its share

    Raises UsageError, naming the batch sizes beside it that do, if it doesn't divide.
    """
    for name, value in (("--devices", devices), ("--micro-batch", micro_batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: must be at least 1")
    share, left = divmod(batch_size, devices)
    if left or not share:
        beside = [size for size in (share * devices, (share + 1) * devices) if size]
        raise UsageError(
            f"--devices {devices}: a batch of {batch_size:,} examples does not divide among "
            f"{devices} devices; one of {' or '.join(f'{size:,}' for size in beside)} does"
        )
    most = min(micro_batch or share, share)
    at_once = next(size for size in range(most, 0, -1) if share % size == 0)
    return Layout(devices, at_once, share // at_once)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a workload at a batch size.

    metaparameters -- the winner's; between measured batch sizes, what lies between the winners'
    sources        -- the points that they are from: one, or two neighbours
    steps          -- steps to target: the winner's, or of the curve through all points
    steps_range    -- the goal was passed after the first of these and at the second at the latest;
                      of the curve, its 90 % interval
    rerun          -- the winner's metaparameters with fresh seeds, where they have been run again
    notes          -- what to know about it, a sentence each
    """

    frontier: Frontier
    batch_size: int
    metaparameters: Metaparameters
    sources: tuple[Point, ...]
    steps: float
    steps_range: tuple[float | None, float]
    rerun: Confirmation | None = None
    layout: Layout | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def measured(self) -> bool:
        """Whether it is a winner's, and no trial of its own is missing."""
        return self.sources[0].batch_size == self.batch_size

    @property
    def derived(self) -> str:
        """What it is derived from: "measured", "interpolated" or "nearest"."""
        if self.measured:
            return "measured"
        return "interpolated" if len(self.sources) > 1 else "nearest"

    @property
    def definition(self) -> dict[str, Any]:
        """What it trains, and by what, as the studies say it."""
        identity = self.sources[0].study.identity
        found = {name: identity[name] for name in _DEFINED if name in identity}
        if "command" in identity:
            found["command"] = command_text(identity)
        return found

    @property
    def reproduce(self) -> str | None:
        """The command that runs the winner again and writes its weights, where that can be."""
        study, trial = self.sources[0].study, self.sources[0].trial
        if not self.measured or trial is None or why_no_weights(study) is not None:
            return None
        told = ("--batch-size", str(self.batch_size), "--trial", str(trial))
        saved = ("--save", "weights.safetensors", *study.allowed)
        return command(self.frontier.url, "replay", study.workload, *told, *saved).strip("`")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, with a trial's numbers as they are."""
        study, best = self.sources[0].study, self.sources[0].best
        low, high = self.steps_range
        plain: dict[str, Any] = {
            "workload": self.frontier.workload,
            "batch_size": self.batch_size,
            "derived": self.derived,
            "from": [
                {"batch_size": p.batch_size, "trial": p.trial, "metaparameters": dict(p.params)}
                for p in self.sources
            ],
            "metaparameters": dict(self.metaparameters),
            "goal": {**self.frontier.goal, "text": self.frontier.goal_text},
            "steps": self.steps,
            "steps_low": low,
            "steps_high": high,
            "value": None,
            "seed": None,
            "rerun": None if self.rerun is None else self.rerun.to_dict(),
            "layout": None if self.layout is None else self.layout.to_dict(),
            **self.definition,
            "versions": {},
            "reproduce": self.reproduce,
            "notes": list(self.notes),
        }
        if self.measured and best is not None:
            plain["value"], plain["versions"] = best.metric, dict(best.versions)
            plain["computed_in_micro_batches_of"] = best.micro_batch
            plain["seed"] = None if self.sources[0].trial is None else study.trial_seed(best.number)
        return plain


def load_recipe(
    source: Source, workload: str, batch_size: int, layout: Layout | None = None
) -> Recipe:
    """The recipe of a workload with a frontier, at any batch size that its curve reaches.

    Raises UsageError where there is none: without winners; further outside of the batch sizes with
    one than a factor of REACH; at a batch size that has not reached the goal; and where the points
    don't make a curve.
    """
    with snapshot(source) as moment:
        frontier = load_frontier(moment, workload)
        reruns = confirmations(frontier, load_reruns(moment, workload))
    points = [point for point in frontier.reached if point.trial is not None]
    if not points:
        raise UsageError(f"{workload}: {_why_no_winner(frontier)}")
    here = next((point for point in frontier.points if point.batch_size == batch_size), None)
    if here is not None and here in points:
        return _measured(frontier, here, reruns.get(batch_size, ()), layout)
    if here is not None:
        _refuse_unreached(frontier, here, points)
    return _between(frontier, points, batch_size, layout)


def _why_no_winner(frontier: Frontier) -> str:
    if frontier.measured_elsewhere:
        return "its points are steps that were measured elsewhere, which have no metaparameters"
    return "no trial has reached the goal yet, so there is no winner"


def _refuse_unreached(frontier: Frontier, here: Point, points: Sequence[Point]) -> None:
    why = "has no winner yet" if here.outcomes.get("open") else "has not reached the goal"
    there = first_few([f"{point.batch_size:,}" for point in points])
    raise UsageError(
        f"--batch-size {here.batch_size}: {frontier.workload} {why} there; there are winners at "
        f"{there}"
    )


def _measured(
    frontier: Frontier, point: Point, reruns: Sequence[Confirmation], layout: Layout | None
) -> Recipe:
    assert point.steps is not None
    rerun = next((one for one in reruns if one.trial == point.trial), None)
    notes = []
    if rerun is None and point.study.spec:
        allowed = point.study.allowed
        confirm = command(frontier.url, "confirm", frontier.workload, *allowed)
        notes.append(
            f"The winner is the luckiest of {point.trials} trials; {confirm} shows what its "
            "metaparameters come to with other seeds."
        )
    if point.edges:
        ends = first_few([f"{name} ({side} end)" for name, side in point.edges.items()])
        notes.append(f"It lies at an edge of the search space: {ends}.")
    if (said := mixed(frontier)) is not None:
        notes.append(said)
    return Recipe(
        frontier=frontier,
        batch_size=point.batch_size,
        metaparameters=point.params,
        sources=(point,),
        steps=point.steps,
        steps_range=(point.steps_lower, point.steps),
        rerun=rerun,
        layout=layout,
        notes=tuple(notes),
    )


def _between(
    frontier: Frontier, points: Sequence[Point], batch_size: int, layout: Layout | None
) -> Recipe:
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: must be at least 1")
    sizes = [point.batch_size for point in points]
    _refuse_too_far(frontier, sizes, batch_size)
    curve = fit_curve(frontier)
    if curve.refusal:
        there = first_few([f"{size:,}" for size in sizes])
        raise UsageError(
            f"--batch-size {batch_size}: it was not measured, and there is no curve to say its "
            f"steps ({curve.refusal}); there are winners at {there}"
        )
    predicted = curve.predict([batch_size])
    steps, low, high = (
        float(found[0]) for found in (predicted.median, predicted.low, predicted.high)
    )
    place = bisect_left(sizes, batch_size)
    if place in (0, len(points)):
        sources: tuple[Point, ...] = (points[min(place, len(points) - 1)],)
        values: Metaparameters = sources[0].params
        notes = [
            "Outside of the batch sizes with a winner: the metaparameters are those of the nearest."
        ]
    else:
        sources = points[place - 1], points[place]
        values, notes = _interpolated(*sources, batch_size)
    notes.append(
        "The steps are what a search would find at this batch size, by the curve; nobody has "
        "trained with these metaparameters."
    )
    return Recipe(
        frontier=frontier,
        batch_size=batch_size,
        metaparameters=values,
        sources=sources,
        steps=steps,
        steps_range=(low, high),
        layout=layout,
        notes=(*notes, *curve.warnings, *filter(None, [mixed(frontier)])),
    )


def _refuse_too_far(frontier: Frontier, sizes: Sequence[int], batch_size: int) -> None:
    first, last = math.ceil(sizes[0] / REACH), math.floor(sizes[-1] * REACH)
    beyond = frontier.unreached_beyond
    if beyond and beyond[0].batch_size <= last:
        last = sizes[-1]
        why = f"batch size {beyond[0].batch_size:,} has not reached the goal"
    else:
        why = f"more than a factor of {REACH:g} outside of what was measured, nothing is known"
    if not first <= batch_size <= last:
        raise UsageError(
            f"--batch-size {batch_size}: recipes of {frontier.workload} are for {first:,} to "
            f"{last:,}: {why}"
        )


def _interpolated(below: Point, above: Point, batch_size: int) -> tuple[Metaparameters, list[str]]:
    """What lies between two winners' metaparameters, by the logarithm of the batch size, and what
    to know about it."""
    along = math.log(batch_size / below.batch_size) / math.log(above.batch_size / below.batch_size)
    space = holding({**above.space, **below.space}, below.params)
    space = {**space, **holding(space, {n: above.params[n] for n in space if n in above.params})}
    values: dict[str, Value] = {}
    chosen = []
    for name, one in below.params.items():
        other = above.params.get(name, one)
        between = _value_between(_scale(space[name], one, other), one, other, along)
        if between is None:
            between = one if along < 0.5 else other
            chosen.append(f"{name} {between!r}")
        values[name] = between
    notes = [
        "Interpolated between the winners at batch sizes "
        f"{below.batch_size:,} and {above.batch_size:,}, on each metaparameter's own scale."
    ]
    if chosen:
        notes.append(f"Of what can't be interpolated, the nearer winner's: {first_few(chosen)}.")
    return values, notes


def _scale(entry: Dimension | Value, one: Value, other: Value) -> Dimension | None:
    """The scale that a metaparameter is interpolated on, or None: a fixed number that depends on
    the batch size, such as one of steps, goes with its logarithm."""
    if isinstance(entry, Dimension):
        return None if isinstance(entry, Choice) else entry
    numbers = not any(isinstance(value, str | bool) for value in (one, other))
    if numbers and one != other and min(float(one), float(other)) > 0:
        return Log(min(float(one), float(other)), max(float(one), float(other)))
    return None


def _value_between(scale: Dimension | None, one: Value, other: Value, along: float) -> Value | None:
    """The value between two, so far along; None where there is none."""
    if one == other:
        return one
    if scale is None:
        return None
    value = scale.at((1 - along) * scale.position(one) + along * scale.position(other))
    whole = isinstance(one, int) and isinstance(other, int)
    return round(float(value)) if whole else value


def recipe_facts(recipe: Recipe) -> Mapping[str, str]:
    """The lines of a recipe for a person, by what each is about."""
    low, high = recipe.steps_range
    steps = f"{recipe.steps:,.0f}"
    if recipe.measured and low is not None:
        steps += f" (not yet at {low:,.0f})"
    elif not recipe.measured:
        steps = f"about {steps} (90 % interval {low:,.0f} to {high:,.0f})"
    facts = {"goal": recipe.frontier.goal_text, "steps": steps}
    if recipe.rerun is not None and recipe.rerun.median is not None:
        facts["fresh seeds"] = f"median {recipe.rerun.median:,.0f} steps of {recipe.rerun.seeds}"
    for name, value in recipe.definition.items():
        if isinstance(value, Mapping) and "name" in value:
            facts[name] = str(value["name"])
        elif not isinstance(value, Mapping | None):
            facts[name] = str(value)
    if (layout := recipe.layout) is not None:
        facts["batch"] = (
            f"{recipe.batch_size:,} = {layout.micro_batch:,} examples at once x "
            f"{layout.accumulation:,} accumulated x {layout.devices:,} "
            f"device{'s' * (layout.devices != 1)}"
        )
    return facts
