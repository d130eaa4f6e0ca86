"""Finished runs of a tracker, as trials of an imported search or as points.

A run's batch size is one of its parameters, or stands in its name; its steps to target are where
its metric first passed a goal. What a tracker calls a step is whatever was logged as one, so that
it is said what that counts.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, select, update

from batchfront.errors import BatchfrontError, DataError, UsageError
from batchfront.exchange.batch_science.goals import parse_comparison
from batchfront.exchange.finished_trials import FinishedTrial, imported_study, write_finished
from batchfront.exchange.points_file import Measured
from batchfront.exchange.rows import LARGEST, number
from batchfront.exchange.trackers.runs import Series
from batchfront.outcomes import TrialResult
from batchfront.phrases import first_few, listed
from batchfront.store.bulk import load_columns
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import Searched
from batchfront.store.schema import measurements, slots, studies
from batchfront.study.create import add_study, wait_for_planners
from batchfront.study.slots import count_slots
from batchfront.study.study import Definition, Filter, Study, find_studies, goal_text
from batchfront.vocabulary import SEARCHES, Count, Outcome, Sampler, Schedule
from batchfront.workload.search_space import Value


@dataclass(frozen=True)
class FinishedRun:
    """A run as its tracker has it.

    identity -- no other run has it
    params   -- as texts
    failed   -- whether it ended in an error, or was killed
    aside    -- what `track` wrote it of, where that is no trial of a search: "the frontier",
                "confirm"
    """

    identity: str
    name: str
    params: Mapping[str, str]
    curves: Mapping[str, Series]
    failed: bool = False
    aside: str = ""


@dataclass(frozen=True)
class Logged:
    """What a tracker's steps count: `text` as it was said, and of how many examples one is; None:
    of a batch. `first` is the number of the first epoch."""

    text: str
    examples: int | None = None
    first: int = 1

    def steps(self, logged: int, batch_size: int) -> int:
        """The steps of training that a logged one stands for."""
        if self.examples is None:
            return logged
        return math.ceil((logged + 1 - self.first) * self.examples / batch_size)


@dataclass(frozen=True)
class Wanted:
    """What is to be made of runs.

    metric, better, value -- the goal, of a metric as the tracker calls it
    batch_size -- the parameter that says it; or, with a group in it, a regular expression of
                  which the group says it in a run's name
    """

    tracker: str
    workload: str
    metric: str
    better: str
    value: float
    batch_size: str
    logged: Logged

    @property
    def goal(self) -> dict[str, Any]:
        """The goal as a study's identity keeps it."""
        return {"metric": self.metric, "better": self.better, "value": self.value}

    @property
    def source(self) -> dict[str, str]:
        """Where the trials come from."""
        return {"tracker": self.tracker, "logged": self.logged.text}


@dataclass(frozen=True)
class Judged:
    """A run with its batch size, and how it did by the goal. `curve` is in steps."""

    run: FinishedRun
    batch_size: int
    result: TrialResult
    curve: Series

    @property
    def seed(self) -> int:
        """A number that tells it from other runs."""
        return int(hashlib.sha256(self.run.identity.encode()).hexdigest()[:15], 16)


def parse_logged(text: str) -> Logged:
    """`steps`, `examples`, `epochs:N` or `epochs-from-0:N`. Raises UsageError for another text."""
    if text == "steps":
        return Logged(text)
    if text == "examples":
        return Logged(text, 1)
    unit, _, digits = text.partition(":")
    examples = int(digits) if re.fullmatch(r"[0-9]{1,18}", digits) else 0
    if unit in ("epochs", "epochs-from-0") and examples:
        return Logged(text, examples, 0 if unit == "epochs-from-0" else 1)
    raise UsageError(
        f"--logged {text!r}: write steps, examples, epochs:N, with the examples of an epoch, or "
        "epochs-from-0:N, where the first is logged as 0"
    )


def parse_goal(text: str) -> tuple[str, str, float]:
    """Metric, "lower" or "higher", and value. Raises UsageError for what is no METRIC<VALUE."""
    signs = [sign for sign in "<>" if sign in text]
    metric, _, value = text.partition(signs[0]) if len(signs) == 1 else ("", "", "")
    if not metric.strip():
        raise UsageError(f"--goal {text!r}: is no goal; write METRIC<VALUE or METRIC>VALUE")
    _, better, goal = parse_comparison(f"x{signs[0]}{value}", f"--goal {text!r}")
    return metric.strip(), better, goal


def judge(run: FinishedRun, wanted: Wanted) -> Judged:
    """A run by its goal. Raises UsageError, naming it, for one that can't be judged."""
    batch_size = _batch_size(run, wanted.batch_size)
    logged = run.curves.get(wanted.metric)
    if not logged:
        known = first_few(sorted(run.curves)) or "nothing"
        raise UsageError(f"{run.name}: has no {wanted.metric!r}, but {known}")
    first, last = min(step for step, _ in logged), max(step for step, _ in logged)
    if first < 0 or (first == 0 and wanted.logged.examples and wanted.logged.first):
        raise UsageError(
            f"{run.name}: logs at {first}, where --logged {wanted.logged.text} counts from 1"
        )
    if wanted.logged.steps(last, batch_size) > LARGEST:
        raise UsageError(f"{run.name}: step {last} is more than can be stored")
    by_step = {wanted.logged.steps(step, batch_size): value for step, value in sorted(logged)}
    curve = tuple(by_step.items())
    return Judged(run, batch_size, _result(run, wanted, curve), curve)


def _batch_size(run: FinishedRun, named: str) -> int:
    if "(" in named:
        found = re.search(named, run.name)
        text = found[1] if found else None
        where = f"nothing in its name matches {named!r}"
    else:
        text, where = run.params.get(named), f"it has no parameter {named!r}"
    size = number(text.strip()) if text else None
    if text is None:
        raise UsageError(f"{run.name}: {where}; say by --batch-size where its batch size stands")
    if size is None or size.denominator != 1 or not 1 <= size <= LARGEST:
        raise UsageError(f"{run.name}: the batch size {text!r} must be a whole number, 1 or more")
    return int(size)


def _result(run: FinishedRun, wanted: Wanted, curve: Series) -> TrialResult:
    sign = 1 if wanted.better == "lower" else -1
    last = curve[-1][0]
    goal = goal_text(wanted.goal)
    missed = None
    for step, value in curve:
        if sign * value < sign * wanted.value:
            if step < 1:
                raise UsageError(f"{run.name}: {goal} holds before any training")
            return TrialResult(
                Outcome.REACHED,
                goal,
                last,
                steps_to_target=step,
                steps_lower=missed,
                metric=value,
                metric_step=step,
            )
        missed = step
    if run.failed:
        return TrialResult(Outcome.FAILED, f"failed, where it ran, after {last} steps", last)
    if not math.isfinite(curve[-1][1]):
        return TrialResult(Outcome.DIVERGED, f"{wanted.metric} wasn't finite at its end", last)
    why = f"{goal} not within {last} steps"
    return TrialResult(Outcome.EXHAUSTED, why, last, metric=curve[-1][1], metric_step=last)


def as_points(judged: Sequence[Judged], wanted: Wanted) -> list[Measured]:
    """Runs that repeat each other, as measurements of `batchfront import points`."""
    sign = "<" if wanted.better == "lower" else ">"
    params = _varying(judged, wanted)
    return [
        Measured(
            where=one.run.name,
            workload=wanted.workload,
            batch_size=one.batch_size,
            seed=one.seed,
            steps=one.result.steps_to_target,
            steps_lower=one.result.steps_lower
            if one.result.steps_to_target is not None
            else float(one.result.steps),
            goal=f"{wanted.metric}{sign}{wanted.value:g}",
            metric="",
            train_examples=0,
            params=params[one.seed],
        )
        for one in judged
    ]


def import_trials(storage: Storage, judged: Sequence[Judged], wanted: Wanted) -> tuple[int, int]:
    """Add runs as trials, a study for each batch size; those that are there already stay as they
    are.

    Returns how many are new, and how many were there. Raises UsageError where the database has
    the workload by another goal, or from elsewhere.
    """
    params, budget = _varying(judged, wanted), max(one.result.steps for one in judged)
    by_size = sorted(judged, key=lambda one: one.batch_size)
    new = 0
    with storage.write() as conn:
        wait_for_planners(conn)
        at = float(conn.execute(select(storage.now)).scalar_one())
        there = {s.batch_size: s for s in find_studies(conn, Filter((wanted.workload,)))}
        _refuse_others(there.values(), wanted)
        for batch_size, runs in groupby(by_size, key=lambda one: one.batch_size):
            draft = _draft(wanted, batch_size, budget)
            study = there.get(batch_size) or add_study(storage, conn, draft)
            new += _write(conn, study, list(runs), params, at)
    return new, len(judged) - new


def _write(
    conn: Connection,
    study: Study,
    judged: Iterable[Judged],
    params: Mapping[int, Mapping[str, Value]],
    at: float,
) -> int:
    """Write those of a study's runs that aren't there. Returns how many."""
    known = conn.execute(select(slots.c.seed, slots.c.number).where(slots.c.study_id == study.id))
    seeds = {row.seed: row.number for row in known}
    added = [one for one in judged if one.seed not in seeds]
    first = max(seeds.values(), default=-1) + 1
    finished = [
        FinishedTrial(first + k, one.result, params[one.seed], one.seed)
        for k, one in enumerate(added)
    ]
    ids = write_finished(conn, study, Searched({}), finished, at)
    rows = [
        (slot_id, step, value)
        for slot_id, one in zip(ids, added, strict=True)
        for step, value in one.curve
    ]
    if rows:
        slot_ids, steps, values = (np.array(column) for column in zip(*rows, strict=True))
        metric = study.identity["goal"]["metric"]
        columns = {
            "slot_id": slot_ids,
            "step": steps,
            "split": np.full(len(rows), "validation", object),
            "metric": np.full(len(rows), metric, object),
            "value": np.where(np.isfinite(values), values, np.nan),
        }
        load_columns(conn, measurements, columns)
    total = {"trials": count_slots(conn, study.id)}
    conn.execute(update(studies).where(studies.c.id == study.id).values(**total))
    return len(added)


def _varying(judged: Sequence[Judged], wanted: Wanted) -> dict[int, dict[str, Value]]:
    """By seed, the parameters that not all runs have alike, but for the batch size: what was
    tuned, of all that was logged."""
    names = {name for one in judged for name in one.run.params} - {wanted.batch_size}
    differ = {n for n in names if len({one.run.params.get(n) for one in judged}) > 1}
    return {
        one.seed: {
            name: _value(text) for name, text in sorted(one.run.params.items()) if name in differ
        }
        for one in judged
    }


def _value(text: str) -> Value:
    """A parameter as the number or truth that it is written as, or else as text."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            value = kind(text)
        except (OverflowError, ValueError):
            continue
        return value if math.isfinite(value) else text
    return text


def _refuse_others(there: Iterable[Study], wanted: Wanted) -> None:
    for study in there:
        source = study.identity.get("source")
        if source == wanted.source and study.identity["goal"] == wanted.goal:
            continue
        what = (
            f"the goal is {goal_text(study.identity['goal'])}"
            if source == wanted.source
            else f"it comes from {json.dumps(source)}"
        )
        raise UsageError(
            f"{wanted.workload} is in this database otherwise: {what}; give the runs another "
            "--workload, or another --storage"
        )


def _draft(wanted: Wanted, batch_size: int, budget: int) -> Definition:
    """The study as `bf_studies` keeps it, before it has an id."""
    search = {"sampler": Sampler.IMPORTED, "schedule": Schedule.IMPORTED, "count": Count.ALL}
    identity = {
        "workload": wanted.workload,
        "batch_size": batch_size,
        "goal": wanted.goal,
        "algorithm": {"name": "not known"},
        "search_space": {},
        "step_budget": budget,
        "search": search,
        "source": wanted.source,
    }
    return imported_study(identity)


def judge_all(
    runs: Iterable[FinishedRun | DataError], wanted: Wanted
) -> tuple[list[Judged], list[BatchfrontError]]:
    """Those that can be judged, and why the others can't."""
    judged: list[Judged] = []
    errors: list[BatchfrontError] = []
    for run in runs:
        if isinstance(run, DataError):
            errors.append(run)
            continue
        try:
            judged.append(judge(run, wanted))
        except UsageError as error:
            errors.append(error)
    return judged, errors


def set_aside(
    runs: Iterable[FinishedRun | DataError],
) -> tuple[list[FinishedRun | DataError], str]:
    """Runs without those that `track` wrote of what is no trial of a search, and a sentence on
    these; it is empty where there are none."""
    kept, aside = [], Counter[str]()
    for run in runs:
        if isinstance(run, FinishedRun) and run.aside:
            aside[run.aside] += 1
        else:
            kept.append(run)
    counts = listed([what if n == 1 else f"{what} ({n} runs)" for what, n in sorted(aside.items())])
    said = f"left out, as `track` wrote it of no trial of a search: {counts}" if aside else ""
    return kept, said


def what_track_wrote(params: Mapping[str, str], purpose: str) -> tuple[dict[str, str], str]:
    """Of a run that `track` wrote, the parameters without the seed, which is no metaparameter; and
    what it is of where that is no trial of a search, or else nothing."""
    own = {name: text for name, text in params.items() if name != "seed"}
    if "batch_size" not in params:
        return own, "the frontier"
    return own, "" if purpose in ("", *SEARCHES) else purpose


def told_together(errors: Iterable[BatchfrontError]) -> Iterator[str]:
    """Why runs can't be judged, each reason once, with the first few runs that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for error in errors:
        name, _, reason = str(error).partition(": ")
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield first_few(names) + f": {reason}" * bool(reason)


def last_at_each_step(logged: Iterable[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """A curve by step, of several values at one the one that was logged last."""
    yield from sorted(dict(logged).items())
