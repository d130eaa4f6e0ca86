"""Steps that were measured elsewhere, into a database: one study a batch size, one trial a seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from math import ceil
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from batchfront.errors import UsageError
from batchfront.exchange.batch_science.goals import parse_comparison
from batchfront.exchange.finished_trials import FinishedTrial, imported_study, write_finished
from batchfront.exchange.points_file import Measured
from batchfront.exchange.rows import LARGEST
from batchfront.outcomes import TrialResult
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import Searched, delete_trials
from batchfront.store.schema import slots, studies
from batchfront.study.create import add_study, wait_for_planners
from batchfront.study.slots import count_slots
from batchfront.study.study import Definition, Filter, Study, find_studies, goal_text
from batchfront.vocabulary import Outcome, Purpose, Sampler, Schedule


@dataclass(frozen=True)
class Taken:
    """What became of a workload's measurements."""

    workload: str
    batch_sizes: int
    new: int
    replaced: int
    unchanged: int


def import_points(
    storage: Storage, measured: Sequence[Measured], *, replace_changed: bool = False
) -> list[Taken]:
    """Import all measurements or, if one can't be, none.

    Raises UsageError, naming the line, for one that is in the database with another value, unless
    `replace_changed`.
    """
    done = []
    with storage.write() as conn:
        wait_for_planners(conn)
        at = float(conn.execute(select(storage.now)).scalar_one())
        for workload, mine in _grouped(measured, lambda m: m.workload):
            there = {s.batch_size: s for s in find_studies(conn, Filter((workload,)))}
            goal = _goal(mine)
            _refuse_others(there.values(), goal, mine[0])
            counts = [0, 0, 0]
            sizes = _grouped(mine, lambda m: m.batch_size)
            for batch_size, rows in sizes:
                study = there.get(batch_size) or add_study(storage, conn, _draft(rows[0], goal))
                for k, count in enumerate(_write(conn, study, rows, at, replace_changed)):
                    counts[k] += count
            done.append(Taken(workload, len(sizes), *counts))
    return done


def _grouped(rows: Iterable[Measured], key: Any) -> list[tuple[Any, list[Measured]]]:
    return [(value, list(group)) for value, group in groupby(sorted(rows, key=key), key)]


def _goal(rows: Sequence[Measured]) -> dict[str, Any]:
    """The goal of a workload, which all of its rows have to state alike."""
    first = rows[0]
    for row in rows:
        if (row.goal, row.metric) != (first.goal, first.metric):
            raise UsageError(
                f"{row.where}: goal and metric differ from those of the same workload in "
                f"{first.where}; use one name for each goal"
            )
    if any(sign in first.goal for sign in "<>"):
        metric, better, value = parse_comparison(first.goal, first.where)
        return {"metric": metric, "better": better, "value": value}
    text = " ".join(filter(None, (first.metric, first.goal))) or "a goal that was not stated"
    return {"metric": first.metric, "better": "lower", "value": None, "text": text}


def _refuse_others(there: Iterable[Study], goal: Mapping[str, Any], row: Measured) -> None:
    """Raise UsageError unless the workload's studies are points measured by the same goal."""
    for study in there:
        if study.purpose != Purpose.POINTS:
            raise UsageError(
                f"{row.where}: {row.workload} has trials in this database; give the points another "
                "workload name, or another --storage"
            )
        if study.identity["goal"] != goal:
            raise UsageError(
                f"{row.where}: the goal of {row.workload} is {goal_text(study.identity['goal'])} "
                f"in this database, here {goal_text(goal)}; use one name for each goal"
            )


def _draft(row: Measured, goal: Mapping[str, Any]) -> Definition:
    """The study as `bf_studies` keeps it, before it has an id."""
    identity = {
        "workload": row.workload,
        "batch_size": row.batch_size,
        "goal": dict(goal),
        "search_space": {},
        "search": {"sampler": Sampler.IMPORTED, "schedule": Schedule.IMPORTED},
        "source": {"points": "measured elsewhere"},
    }
    return imported_study(identity, train_examples=row.train_examples, purpose=Purpose.POINTS)


def _write(
    conn: Connection, study: Study, rows: Sequence[Measured], at: float, replace_changed: bool
) -> tuple[int, int, int]:
    """Write a study's measurements. Returns how many are new, replaced and unchanged."""
    found = conn.execute(select(slots).where(slots.c.study_id == study.id)).all()
    there = {row.number if row.seed is None else row.seed: row for row in found}
    new = [row for row in rows if row.seed not in there]
    changed = [row for row in rows if row.seed in there and _stored(there[row.seed]) != _said(row)]
    if changed and not replace_changed:
        row, stored = changed[0], there[changed[0].seed]
        raise UsageError(
            f"{row.where}: {row.workload} at batch size {row.batch_size}, seed {row.seed}, has "
            f"{_words(*_stored(stored))} in the database, here "
            f"{_words(*_said(row))}; --replace takes those given here"
        )
    old = [there[row.seed] for row in changed]
    conn.execute(delete(slots).where(slots.c.id.in_([row.id for row in old])))
    delete_trials(conn, [row.trial_id for row in old])
    numbers = _numbers({seed: row.number for seed, row in there.items()}, new)
    finished = [
        FinishedTrial(numbers[row.seed], _result(row), row.params, row.seed)
        for row in (*new, *changed)
    ]
    write_finished(conn, study, Searched({}), finished, at)
    examples = max(row.train_examples for row in rows) or study.train_examples
    values = {"trials": count_slots(conn, study.id), "train_examples": examples}
    conn.execute(update(studies).where(studies.c.id == study.id).values(**values))
    return len(new), len(changed), len(rows) - len(new) - len(changed)


def _numbers(there: Mapping[int, int], new: Sequence[Measured]) -> dict[int, int]:
    """Each seed's number of a trial: those that are there keep theirs, and a new one is its own
    number, or the lowest that is free if that is taken or larger than Optuna's tables hold."""
    numbers = dict(there)
    taken = set(there.values())
    free = (number for number in count() if number not in taken)
    for row in new:
        fits = row.seed <= LARGEST and row.seed not in taken
        numbers[row.seed] = row.seed if fits else next(free)
        taken.add(numbers[row.seed])
    return numbers


_Known = tuple[float | None, float | None, Mapping[str, Any]]


def _stored(row: Row[Any]) -> _Known:
    """What the database holds of a run: its steps, the last one at which the goal was missed, and
    its metaparameters."""
    reached = row.steps_to_target is not None
    lower = row.steps_lower if reached else row.steps or None
    return row.steps_to_target, lower, json.loads(row.params)


def _said(row: Measured) -> _Known:
    """The same as the file says it."""
    lower = row.steps_lower if row.steps is not None else int(row.steps_lower or 0) or None
    return row.steps, lower, row.params


def _words(steps: float | None, lower: float | None, params: Mapping[str, Any]) -> str:
    said = [f"{steps} steps" if steps is not None else "the goal not reached"]
    said += [] if lower is None else [f"last missed at {lower}"]
    return ", ".join([*said, *(f"{name} {value}" for name, value in params.items())])


def _result(row: Measured) -> TrialResult:
    if row.steps is None:
        steps = int(row.steps_lower or 0)
        return TrialResult(Outcome.EXHAUSTED, "not reached, where measured", steps)
    return TrialResult(
        Outcome.REACHED,
        "measured elsewhere",
        steps=ceil(row.steps),
        steps_to_target=row.steps,
        steps_lower=row.steps_lower,
    )
