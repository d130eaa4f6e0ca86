"""How to train at a batch size: the winner's metaparameters, or the recommended trial's, or, where
none was searched, what lies between those of its neighbours."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from batchfront.errors import UsageError
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.answers import by_expected_steps, fit_curve
from batchfront.frontier.curve.estimates import REACH
from batchfront.frontier.expected import ExpectedPoint
from batchfront.frontier.expected_table import metaparameters_text, steps_text
from batchfront.frontier.frontier import Frontier, Point, load_frontier
from batchfront.frontier.interpolation import interpolated
from batchfront.frontier.next_commands import run_recommended
from batchfront.frontier.queries import load_reruns
from batchfront.frontier.reached_trial import why_no_weights
from batchfront.frontier.reruns import Confirmation, Confirmations, confirmations
from batchfront.frontier.tuned_trials import TunedTrial, tuned_trials, winners
from batchfront.phrases import first_few
from batchfront.store.commands import command
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.identity import command_text
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.space_edges import edges

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

    metaparameters -- a trial's; between measured batch sizes, what lies between two trials'
    sources        -- the trials that they are from: one, or two neighbours
    steps          -- steps to target: the winner's, those that the recommended trial's are expected
                      to take, or of the curve through all points
    steps_range    -- the winner passed the goal after the first of these and at the second at the
                      latest; of expected steps and of the curve, the 90 % interval
    rerun          -- the same metaparameters with fresh seeds, where they have been run again
    recommended    -- what the surrogate of all trials recommends instead, where it was asked and
                      something is expected
    notes          -- what to know about it, a sentence each
    """

    frontier: Frontier
    batch_size: int
    metaparameters: Metaparameters
    sources: tuple[TunedTrial, ...]
    steps: float
    steps_range: tuple[float | None, float]
    rerun: Confirmation | None = None
    layout: Layout | None = None
    recommended: ExpectedPoint | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def measured(self) -> bool:
        """Whether its metaparameters are those of a trial at this batch size."""
        return self.sources[0].batch_size == self.batch_size

    @property
    def derived(self) -> str:
        """What it is derived from: "measured", "recommended", "interpolated" or "nearest"."""
        if self.measured:
            return "measured" if self.sources[0].expected is None else "recommended"
        return "interpolated" if len(self.sources) > 1 else "nearest"

    @property
    def definition(self) -> dict[str, Any]:
        """What it trains, and by what, as the studies say it."""
        identity = self.sources[0].point.study.identity
        found = {name: identity[name] for name in _DEFINED if name in identity}
        if "command" in identity:
            found["command"] = command_text(identity)
        return found

    @property
    def reproduce(self) -> str | None:
        """The command that runs its trial again and writes its weights, where that can be."""
        study, trial = self.sources[0].point.study, self.sources[0].number
        if not self.measured or why_no_weights(study) is not None:
            return None
        told = ("--batch-size", str(self.batch_size), "--trial", str(trial))
        saved = ("--save", "weights.safetensors", *study.allowed)
        return command(self.frontier.url, "replay", study.workload, *told, *saved).strip("`")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, with a trial's numbers as they are."""
        first = self.sources[0]
        study, best = first.point.study, first.point.best
        low, high = self.steps_range
        plain: dict[str, Any] = {
            "workload": self.frontier.workload,
            "batch_size": self.batch_size,
            "derived": self.derived,
            "from": [
                {"batch_size": t.batch_size, "trial": t.number, "metaparameters": dict(t.params)}
                for t in self.sources
            ],
            "metaparameters": dict(self.metaparameters),
            "goal": {**self.frontier.goal, "text": self.frontier.goal_text},
            "steps": self.steps,
            "steps_low": low,
            "steps_high": high,
            "value": None,
            "seed": None,
            "rerun": None if self.rerun is None else self.rerun.to_dict(),
            "recommended": None if self.recommended is None else self.recommended.to_dict(),
            "layout": None if self.layout is None else self.layout.to_dict(),
            **self.definition,
            "versions": {},
            "reproduce": self.reproduce,
            "notes": list(self.notes),
        }
        if self.measured:
            plain["seed"] = study.trial_seed(first.number)
        if self.measured and first.wins and best is not None:
            plain["value"], plain["versions"] = best.metric, dict(best.versions)
            plain["computed_in_micro_batches_of"] = best.micro_batch
        return plain


def load_recipe(
    source: Source, workload: str, batch_size: int, layout: Layout | None = None
) -> Recipe:
    """The recipe of a workload with a frontier, at any batch size that its curve reaches: as
    `curve_recipe` makes it. Raises UsageError as that does."""
    frontier, reruns = _read(source, workload)
    return curve_recipe(frontier, batch_size, layout, reruns)


def load_winners_recipe(source: Source, workload: str, batch_size: int) -> Recipe:
    """The recipe of the winner at a batch size that was searched, whatever the curve goes through.
    Raises UsageError where there is none."""
    frontier, reruns = _read(source, workload)
    return _recipe(frontier, winners(frontier), batch_size, None, reruns)


def _read(source: Source, workload: str) -> tuple[Frontier, Confirmations]:
    with snapshot(source) as moment:
        frontier = load_frontier(moment, workload)
        return frontier, confirmations(frontier, load_reruns(moment, workload))


def curve_recipe(
    frontier: Frontier,
    batch_size: int,
    layout: Layout | None = None,
    reruns: Confirmations = MappingProxyType({}),
) -> Recipe:
    """The recipe by the trials that the curve through a frontier goes through: at a batch size that
    was searched the recommended trial's, where the expected steps are trusted, otherwise the
    winner's.

    reruns -- of the trials that were run again

    Raises UsageError where there is none: without winners; further outside of the batch sizes with
    one than a factor of REACH; at a batch size that has not reached the goal; and where the points
    don't make a curve.
    """
    return _recipe(frontier, tuned_trials(frontier), batch_size, layout, reruns)


def _recipe(
    frontier: Frontier,
    trials: Sequence[TunedTrial],
    batch_size: int,
    layout: Layout | None,
    reruns: Confirmations,
) -> Recipe:
    if not trials:
        raise UsageError(f"{frontier.workload}: {_why_no_winner(frontier)}")
    here = next((trial for trial in trials if trial.batch_size == batch_size), None)
    if here is not None:
        return _measured(frontier, here, reruns.get(batch_size, ()), layout)
    unreached = next((p for p in frontier.points if p.batch_size == batch_size), None)
    if unreached is not None:
        _refuse_unreached(frontier, unreached, trials)
    return _between(frontier, batch_size, layout)


def _why_no_winner(frontier: Frontier) -> str:
    if frontier.measured_elsewhere:
        return "its points are steps that were measured elsewhere, which have no metaparameters"
    return "no trial has reached the goal yet, so there is no winner"


def _refuse_unreached(frontier: Frontier, here: Point, trials: Sequence[TunedTrial]) -> None:
    why = "has no winner yet" if here.outcomes.get("open") else "has not reached the goal"
    there = first_few([f"{trial.batch_size:,}" for trial in trials])
    raise UsageError(
        f"--batch-size {here.batch_size}: {frontier.workload} {why} there; there are winners at "
        f"{there}"
    )


def _measured(
    frontier: Frontier, trial: TunedTrial, reruns: Sequence[Confirmation], layout: Layout | None
) -> Recipe:
    point, expected = trial.point, trial.expected
    rerun = next((one for one in reruns if one.trial == trial.number), None)
    notes = []
    run_again = rerun is not None and (rerun.steps or rerun.unreached)  # and not just planned
    if not run_again and point.study.spec:
        notes.append(_not_run_again(frontier, trial))
    if found := edges(point.space, trial.params):
        ends = first_few([f"{name} ({side} end)" for name, side in found.items()])
        notes.append(f"It lies at an edge of the search space: {ends}.")
    if (said := mixed(frontier)) is not None:
        notes.append(said)
    assert point.steps is not None
    return Recipe(
        frontier=frontier,
        batch_size=point.batch_size,
        metaparameters=trial.params,
        sources=(trial,),
        steps=point.steps if expected is None else expected.steps,
        steps_range=(
            (point.steps_lower, point.steps) if expected is None else (expected.low, expected.high)
        ),
        rerun=rerun,
        layout=layout,
        notes=tuple(notes),
    )


def _not_run_again(frontier: Frontier, trial: TunedTrial) -> str:
    if trial.expected is not None:
        return (
            f"Of the {trial.expected.reached} trials that reached the goal, it is the one of which "
            f"the fewest steps are expected; {run_recommended(frontier)} runs it with other seeds."
        )
    confirm = command(frontier.url, "confirm", frontier.workload, *trial.point.study.allowed)
    return (
        f"The winner is the luckiest of {trial.point.trials} trials; {confirm} shows what its "
        "metaparameters come to with other seeds."
    )


def _between(frontier: Frontier, batch_size: int, layout: Layout | None) -> Recipe:
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: must be at least 1")
    trials = tuned_trials(frontier)
    sizes = [trial.batch_size for trial in trials]
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
    if place in (0, len(trials)):
        sources: tuple[TunedTrial, ...] = (trials[min(place, len(trials) - 1)],)
        values: Metaparameters = sources[0].params
        notes = [
            f"Outside of the batch sizes with a {sources[0].what}: the metaparameters are those of "
            "the nearest."
        ]
    else:
        sources = trials[place - 1], trials[place]
        values, notes = interpolated(*sources, batch_size)
    notes.append(
        f"The steps are what {_who(frontier)} at this batch size, by the curve; nobody has trained "
        "with these metaparameters."
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


def _who(frontier: Frontier) -> str:
    """Whose steps the curve says."""
    if by_expected_steps(frontier):
        return "a run is expected to take, the median over seeds,"
    return "a search would find"


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


def recipe_facts(recipe: Recipe) -> Mapping[str, str]:
    """The lines of a recipe for a person, by what each is about."""
    low, high = recipe.steps_range
    steps = f"{recipe.steps:,.0f}"
    if recipe.derived == "measured" and low is not None:
        steps += f" (not yet at {low:,.0f})"
    elif recipe.derived != "measured":
        steps = f"about {steps} (90 % interval {low:,.0f} to {high:,.0f})"
    facts = {"goal": recipe.frontier.goal_text, "steps": steps}
    best = recipe.sources[0].point.best
    if recipe.derived == "recommended" and best is not None:
        facts["fastest trial"] = f"trial {best.number}, {best.steps_to_target:,} steps"
    if recipe.rerun is not None and recipe.rerun.median is not None:
        facts["fresh seeds"] = f"median {recipe.rerun.median:,.0f} steps of {recipe.rerun.seeds}"
    if recipe.recommended is not None and recipe.derived != "recommended":
        facts["recommended"] = metaparameters_text(recipe.recommended)
        facts["expected with these"] = f"{steps_text(recipe.recommended)}, which is rough"
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
