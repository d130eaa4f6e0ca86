"""How to make the same search again: what defined it, what it ran on and what it cost, as far as
the database has it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import prod
from typing import Any

from batchfront.advice.units import time_text
from batchfront.errors import UsageError
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import how_far_apart
from batchfront.frontier.next_commands import advise
from batchfront.phrases import listed, several
from batchfront.plan.again import commands_again
from batchfront.report.data import Subject
from batchfront.report.html import Part, caption, scrolled, with_code
from batchfront.report.text import (
    batch_sizes_text,
    count,
    escape,
    goal_text,
    significant,
    trials_text,
    words,
)
from batchfront.study.identity import command_text
from batchfront.study.study import ALL, Study
from batchfront.table import Column, Table
from batchfront.vocabulary import Sampler
from batchfront.workload.code.versions import digest
from batchfront.workload.search_space import Dimension

_SAMPLERS = {
    Sampler.SOBOL: "quasi-random points",
    Sampler.JOINT: "a surrogate of the trials at all batch sizes",
}

_SCALES = {"Log": ", log", "ReverseLog": ", log of 1\u00a0−\u00a0value"}


def reproduce_part(subject: Subject) -> Part:
    """Commands, definition, versions and cost, and a row of what was searched at each batch size;
    at last what nobody can tell."""
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{'<br>'.join(with_code(escape(one)) for one in said)}</dd></div>"
        for name, said in _facts(subject).items()
        if said
    )
    label = f"{subject.key}-searched"
    return Part(
        f'<h3>How to reproduce</h3><dl class="facts rows">{rows}</dl>{_layers(subject.frontier)}'
        f'<h4 id="{label}" class="apart">What was searched</h4>'
        f"{scrolled(label, _searched(subject.frontier))}{caption(escape(_unknown(subject)))}"
    )


def _facts(subject: Subject) -> Mapping[str, list[str]]:
    """What is known, by what it is: lines of text with commands in backticks."""
    frontier = subject.frontier
    study = frontier.points[0].study
    elsewhere = frontier.measured_elsewhere
    return {
        "Goal": [goal_text(frontier)],
        "Batch sizes": [batch_sizes_text(frontier)],
        "Seeds" if elsewhere else "Trials": [trials_text(frontier)],
        **own_loop(frontier),
        "Search": [] if elsewhere else [_sampled(study), *_beside(study)],
        "The search again": [] if elsewhere else _again(frontier),
        "A winner again": [] if elsewhere else _replayed(frontier),
        "Data": list(_data(study.identity)),
        "Model": list(_model(study.identity)),
        "Training": list(_training(study)),
        "Code": list(_code(frontier)),
        "Ran on": [f"{kind} {listed(found)}" for kind, found in _versions(subject).items()],
        "Cost of the search": [] if elsewhere else list(_cost(subject)),
    }


def own_loop(frontier: Frontier) -> dict[str, list[str]]:
    """What trained, and where evaluations came from, where the training loop isn't batchfront's."""
    identity, kind = frontier.points[0].study.identity, frontier.points[0].study.kind
    if kind is None:
        return {}
    facts, source = {}, "told by its training loop, a function"
    if kind == "program":
        facts = {"Command": [f"`{command_text(identity)}`"]}
        source = _told_by(identity["output"])
    return {**facts, "Evaluations": [", ".join(filter(None, [source, how_far_apart(frontier)]))]}


def _told_by(output: Mapping[str, Any]) -> str:
    """Where a program's evaluations come from, by the description of its output."""
    if output["kind"] == "report":
        return "told by the program, through batchfront.report"
    where = f"read from {output['file']}" if "file" in output else "read from what it prints"
    return f"{where} by `{output['pattern']}`" if output["kind"] == "pattern" else where


def _sampled(study: Study) -> str:
    if study.sampler == Sampler.IMPORTED:
        return "run elsewhere; how its trials were sampled is not known here"
    sampler = _SAMPLERS.get(Sampler(study.sampler)) if study.sampler in {*Sampler} else None
    named = f"{sampler} ({study.sampler})" if sampler else study.sampler
    together = "all trials of a batch size" if study.together == ALL else f"{study.together} trials"
    enough = "one has" if study.finishers == 1 else f"{study.finishers:,} have"
    raced = (
        "trials run one after another"
        if study.together == 1
        else f"{together} race together until {enough} passed the goal"
    )
    return f"{named}, seed {study.seed}; {raced}"


def _beside(study: Study) -> Iterator[str]:
    """What no command of now repeats."""
    if study.extensions:
        yield "its search space was widened along the way, which the command below doesn't repeat"
    if study.halving:
        yield "with --halving, which new studies don't have"


def _again(frontier: Frontier) -> list[str]:
    try:
        return commands_again([point.study for point in frontier.points])
    except UsageError as error:
        return [f"no options of today say how it was searched: {error}"]


def _replayed(frontier: Frontier) -> list[str]:
    """The command that trains the winner of the largest batch size again, where batchfront can."""
    won = [point for point in frontier.reached if point.study.kind is None and point.study.spec]
    if not won:
        return []
    study = won[-1].study
    options = ("--batch-size", str(study.batch_size), "--save", "weights.safetensors")
    told = advise(frontier, "replay", *options, *study.allowed)
    return [] if told is None else [told]


def _data(identity: Mapping[str, Any]) -> Iterator[str]:
    """Sizes and checksums of the splits, by name."""
    for name, split in identity.get("data", {}).items():
        if isinstance(split, Mapping) and "examples" in split:
            known = split.get("checksum")
            told = f", checksum {known}" if isinstance(known, str) else ""
            yield f"{name}: {count(split['examples'])} examples{told}"


def _model(identity: Mapping[str, Any]) -> Iterator[str]:
    shapes = identity.get("model", {}).get("parameters")
    if isinstance(shapes, Mapping):
        total = sum(prod(shape) for shape in shapes.values())
        yield f"{count(total)} parameters in {several(len(shapes), 'tensor')}"


def _layers(frontier: Frontier) -> str:
    """The model's layers, as PyTorch prints them, for who opens them."""
    layers = frontier.points[0].study.identity.get("model", {}).get("layers")
    if not isinstance(layers, str):
        return ""
    return f'<details class="layers"><summary>Layers</summary><pre>{escape(layers)}</pre></details>'


def _training(study: Study) -> Iterator[str]:
    """Algorithm, schedule, loss and precision, as they were defined."""
    for name in ("algorithm", "schedule", "loss", "update", "clip_norm", "average"):
        told = study.identity.get(name)
        if isinstance(told, Mapping):
            kind = told.get("name", "")
            more = [f"{words(key)} {value}" for key, value in told.items() if key != "name"]
            told = f"{kind} ({', '.join(more)})" if more else kind
        if told:
            yield f"{words(name)}: {told}"
    if study.precision:
        yield f"precision: {study.precision}"


def _code(frontier: Frontier) -> Iterator[str]:
    """Checksums of the definitions that trials were made by."""
    study = frontier.points[0].study
    versions = study.identity.get("code", [])
    for number, version in enumerate(versions, 1):
        which = f"version {number}: " if len(versions) > 1 else ""
        yield f"{which}checksum {digest(version)} of {several(len(version), 'definition')}"
    if study.spec:
        yield f"from {study.spec}"


def _versions(subject: Subject) -> dict[str, list[str]]:
    """What trials ran on and were sampled with, but for the code, which has its own line."""
    found = {**subject.frontier.versions, "optuna": sorted(filter(None, subject.optuna))}
    return {kind: found[kind] for kind in sorted(found) if kind != "source" and found[kind]}


def _cost(subject: Subject) -> Iterator[str]:
    trials = [
        (point.batch_size, trial)
        for point in subject.frontier.points
        for trial in subject.trials.get(point.study.id, ())
        if trial.steps
    ]
    if not trials:
        return
    timed = [trial for _, trial in trials if trial.training_seconds is not None]
    if timed:
        training = sum(trial.training_seconds or 0.0 for trial in timed)
        evaluation = sum(trial.evaluation_seconds or 0.0 for trial in timed)
        of = "" if len(timed) == len(trials) else f", of {count(len(timed))} of the trials"
        yield (
            f"{time_text(training / 3600)} of training and {time_text(evaluation / 3600)} of "
            f"evaluation, added up over all devices{of}"
        )
    steps = sum(trial.steps for _, trial in trials)
    examples = sum(size * trial.steps for size, trial in trials)
    yield f"{count(steps)} steps on {count(examples)} examples, in {several(len(trials), 'trial')}"
    if subject.period is not None:
        begun, ended = (datetime.fromtimestamp(at, UTC) for at in subject.period)
        until = f"{ended:%H:%M}" if ended.date() == begun.date() else _moment(ended)
        yield f"from {_moment(begun)} to {until} UTC"


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M}"


def _searched(frontier: Frontier) -> Table:
    """A row for each batch size: step budget, trials, and the range of each metaparameter."""
    names = list(dict.fromkeys(name for point in frontier.points for name in point.space))
    columns = (
        Column("batch size", count),
        Column("step budget", count),
        Column("seeds" if frontier.measured_elsewhere else "trials", count),
        *(Column(words(name), words=True) for name in names),
    )
    rows = [
        (point.batch_size, _budget(point), point.trials, *(_range(point, name) for name in names))
        for point in frontier.points
    ]
    return Table(columns, rows).filled()


def _budget(point: Point) -> int | None:
    found: int | None = point.study.identity.get("step_budget")
    return found


def _range(point: Point, name: str) -> str | None:
    """What a metaparameter was searched over: "0.001 to 3, log"; or its one value."""
    if name not in point.space:
        return None
    entry = point.space[name]
    if not isinstance(entry, Dimension):
        return f"{significant(entry)}, fixed"
    told = entry.describe()
    if "values" in told:
        return ", ".join(map(str, told["values"]))
    scale = _SCALES.get(told["kind"], ", log" if told.get("log") else "")
    return f"{told['low']:g} to {told['high']:g}{scale}"


def _unknown(subject: Subject) -> str:
    """What the database doesn't have, in a sentence."""
    frontier, study = subject.frontier, subject.frontier.points[0].study
    missing = [
        what
        for what, there in (
            ("the code, and with it a command that searches again", bool(study.spec)),
            ("checksums of the data", any(_data(study.identity))),
            ("the model", any(_model(study.identity))),
            ("checksums of the code", bool(study.identity.get("code"))),
            ("when it ran", subject.period is not None),
            ("how long it took", any(_cost(subject)) and _is_timed(subject)),
        )
        if not there
    ]
    if not frontier.versions:
        missing.append("what it ran on")
    optuna = "" if subject.optuna and None not in subject.optuna else ", Optuna"
    missing.append(f"the versions of Python{optuna} and drivers")
    return f"Not in the database: {'; '.join(missing)}."


def _is_timed(subject: Subject) -> bool:
    found = (trial for trials in subject.trials.values() for trial in trials)
    return any(trial.training_seconds is not None for trial in found)
