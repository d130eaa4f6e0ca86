"""The best trial of every batch size, and how all the others ended, in a few queries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from service.database import Storage
from service.errors import UsageError
from service.schema import measurements, slots, studies
from service.search_space import SearchSpace, Value, edges, restore_space
from service.slots import Filter, Study, find_studies
from service.storage import open_storage


@dataclass(frozen=True)
class Trial:
    """One slot as the frontier and the report see it. `outcome` is None while it is not done."""

    number: int
    params: Mapping[str, Value]
    outcome: str | None
    reason: str | None
    steps: int
    steps_to_target: int | None
    steps_lower: int | None
    metric: float | None
    training_seconds: float | None
    evaluation_seconds: float | None
    evaluated_examples: int | None
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """The frontier at one batch size.

    steps       -- steps to target of the best trial; None while none has reached the goal. Ties
                   go to the lowest trial number
    steps_lower -- the last evaluated step at which that trial's goal stood open: the goal was
                   passed somewhere in (steps_lower, steps]
    examples    -- steps * batch_size
    trial       -- the best trial's number in its Optuna study
    params      -- its metaparameters, the fixed ones included
    outcomes    -- outcome to number of trials; those not done yet are `open`
    edges       -- searched metaparameters in which the winner lies at an end of the search space
    """

    study: Study
    train_examples: int
    trials: tuple[Trial, ...]
    best: Trial | None

    @property
    def batch_size(self) -> int:
        return self.study.batch_size

    @property
    def steps(self) -> int | None:
        return self.best.steps_to_target if self.best else None

    @property
    def steps_lower(self) -> int | None:
        return self.best.steps_lower if self.best else None

    @property
    def examples(self) -> int | None:
        return None if self.steps is None else self.steps * self.batch_size

    @property
    def params(self) -> Mapping[str, Value]:
        return self.best.params if self.best else {}

    @property
    def outcomes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for trial in self.trials:
            key = trial.outcome or "open"
            found[key] = found.get(key, 0) + 1
        return found

    @property
    def space(self) -> SearchSpace:
        return restore_space(self.study.identity["search_space"])

    @property
    def edges(self) -> dict[str, str]:
        return edges(self.space, self.params) if self.best else {}

    def to_dict(self) -> dict[str, Any]:
        """The point as plain data."""
        return {
            "batch_size": self.batch_size,
            "steps": self.steps,
            "steps_lower": self.steps_lower,
            "examples": self.examples,
            "trial": self.best.number if self.best else None,
            "params": dict(self.params),
            "outcomes": self.outcomes,
            "edges": self.edges,
        }


@dataclass(frozen=True)
class Frontier:
    """A workload's points, by batch size."""

    workload: str
    points: tuple[Point, ...]

    @property
    def goal(self) -> dict[str, Any]:
        """`metric`, `better` ("lower" or "higher") and `value`."""
        return dict(self.points[0].study.identity["goal"])

    @property
    def goal_text(self) -> str:
        """The goal in words: "validation error rate < 0.03"."""
        return goal_text(self.goal)

    @property
    def reached(self) -> tuple[Point, ...]:
        """The points where some trial has reached the goal."""
        return tuple(point for point in self.points if point.steps is not None)

    @property
    def versions(self) -> dict[str, list[str]]:
        """What the trials ran on: kind of version to the different ones found."""
        found: dict[str, set[str]] = {}
        for point in self.points:
            for trial in point.trials:
                for kind, version in trial.versions.items():
                    found.setdefault(kind, set()).add(version)
        return {kind: sorted(versions) for kind, versions in sorted(found.items())}

    def to_dict(self) -> dict[str, Any]:
        """The frontier as plain data: `workload`, `goal`, `points`."""
        points = [point.to_dict() for point in self.points]
        return {"workload": self.workload, "goal": self.goal, "points": points}


@dataclass(frozen=True)
class CurvePoint:
    """One kept measurement of a trial; `value` is None where it was not finite."""

    step: int
    split: str
    metric: str
    value: float | None


def goal_text(goal: Mapping[str, Any]) -> str:
    """A stored goal in words: "validation error rate < 0.03"."""
    sign = "<" if goal["better"] == "lower" else ">"
    return f"validation {goal['metric']} {sign} {goal['value']:g}"


def load_frontier(storage: Storage | str, workload: str) -> Frontier:
    """The frontier of one workload. Raises UsageError, naming those there are, if it has none."""
    opened = open_storage(storage) if isinstance(storage, str) else storage
    require(opened, (workload,))
    return load_frontiers(opened, (workload,))[0]


def require(storage: Storage, workloads: Sequence[str]) -> None:
    """Raise UsageError, naming those there are, unless all of these workloads have studies."""
    there = workload_names(storage)
    for workload in workloads:
        if workload not in there:
            raise UsageError(
                f"no studies of {workload!r} in this database; there are: "
                f"{', '.join(there) or 'none'}"
            )


def load_frontiers(storage: Storage, workloads: Sequence[str] = ()) -> list[Frontier]:
    """The frontiers of these workloads, or of all that the database holds, by name."""
    wanted = Filter(tuple(workloads))
    query = (
        select(slots, studies.c.train_examples)
        .select_from(slots.join(studies))
        .where(wanted.clause())
        .order_by(slots.c.study_id, slots.c.number)
    )
    with storage.read() as conn:
        found = find_studies(conn, wanted)
        rows = conn.execute(query).all()
    trials: dict[int, list[Trial]] = {study.id: [] for study in found}
    examples: dict[int, int] = {}
    for row in rows:
        trials[row.study_id].append(_trial(row))
        examples[row.study_id] = row.train_examples
    points: dict[str, list[Point]] = {}
    for study in found:
        mine = tuple(trials[study.id])
        point = Point(study, examples.get(study.id, 0), mine, _best(mine))
        points.setdefault(study.workload, []).append(point)
    return [Frontier(name, tuple(mine)) for name, mine in points.items()]


def load_curves(storage: Storage, study_id: int) -> dict[int, list[CurvePoint]]:
    """The kept measurements of a study: trial number to points, by step."""
    query = (
        select(slots.c.number, measurements)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(slots.c.study_id == study_id)
        .order_by(slots.c.number, measurements.c.step)
    )
    curves: dict[int, list[CurvePoint]] = {}
    with storage.read() as conn:
        for row in conn.execute(query):
            point = CurvePoint(row.step, row.split, row.metric, row.value)
            curves.setdefault(row.number, []).append(point)
    return curves


def last_change(storage: Storage, workloads: Sequence[str] = ()) -> dict[str, tuple[object, ...]]:
    """By workload, a value that differs once studies, slots or endings have been added: whether
    a frontier must be read again, in one query."""
    query = (
        select(
            studies.c.workload,
            func.count(studies.c.id.distinct()),
            func.count(slots.c.id),
            func.count(slots.c.trial_id),
            func.count(slots.c.finished_at),
            func.max(slots.c.finished_at),
        )
        .select_from(studies.outerjoin(slots))
        .where(Filter(tuple(workloads)).clause())
        .group_by(studies.c.workload)
    )
    with storage.read() as conn:
        return {row[0]: tuple(row[1:]) for row in conn.execute(query)}


def workload_names(storage: Storage) -> list[str]:
    """The workloads that the database holds studies of."""
    query = select(studies.c.workload).distinct().order_by(studies.c.workload)
    with storage.read() as conn:
        return list(conn.execute(query).scalars())


def _best(trials: Sequence[Trial]) -> Trial | None:
    reached = [t for t in trials if t.steps_to_target is not None]
    return min(reached, key=lambda t: (t.steps_to_target, t.number), default=None)


def _trial(row: Any) -> Trial:
    return Trial(
        row.number,
        json.loads(row.params) if row.params else {},
        row.outcome,
        row.reason,
        row.steps,
        row.steps_to_target,
        row.steps_lower,
        row.metric,
        row.training_seconds,
        row.evaluation_seconds,
        row.evaluated_examples,
        json.loads(row.versions) if row.versions else {},
    )
