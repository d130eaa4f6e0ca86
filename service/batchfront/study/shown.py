"""What a study's slots have shown, for samplers that learn from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Connection, select

from batchfront.outcomes import cap
from batchfront.store.database import Storage
from batchfront.store.schema import measurements, slots
from batchfront.study.study import Study
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Metaparameters, Value


@dataclass(frozen=True)
class Shown:
    """What a slot has shown so far whose metaparameters are sampled."""

    number: int
    round: int | None
    params: dict[str, Value]
    outcome: str | None
    steps: int
    steps_to_target: int | None
    metric: float | None


def read_shown(conn: Connection, study: Study) -> dict[int, Shown]:
    """The study's slots that are sampled, by number."""
    columns = (slots.c.round, slots.c.params, slots.c.outcome, slots.c.steps)
    query = (
        select(slots.c.number, *columns, slots.c.steps_to_target, slots.c.metric)
        .where(slots.c.study_id == study.id, slots.c.params.is_not(None))
        .order_by(slots.c.number)
    )
    return {
        row.number: Shown(**{**row._mapping, "params": json.loads(row.params)})
        for row in conn.execute(query)
    }


def as_raced(
    storage: Storage, study: Study, shown: Sequence[Shown], ends: Mapping[int, int]
) -> list[Shown]:
    """What slots of generations, or rounds, that are over would have shown to one worker alone,
    which caps all of them at the same step: one that hears late of the winner goes on past it.

    ends -- number of each slot to a number that orders their generations, or rounds
    """
    limits = caps(study, [(ends[one.number], one.steps_to_target) for one in shown])
    found = []
    for one in shown:
        limit = limits[ends[one.number]]
        if limit is not None and (one.steps_to_target or one.steps) > limit:
            metric = _metric_at(storage, study, one.number, limit)
            one = replace(one, outcome=Outcome.CAPPED, steps=limit, metric=metric)
            one = replace(one, steps_to_target=None)
        found.append(one)
    return found


def caps(study: Study, passed: Sequence[tuple[int, int | None]]) -> dict[int, int | None]:
    """The step at which one worker alone caps the slots of each generation, or round; None: it
    caps none.

    passed -- of each slot, the number that orders its generation, or round, and its steps to target
    """
    return {
        end: cap([n for own, n in passed if own <= end and n is not None], study.finishers)
        for end in {own for own, _ in passed}
    }


def _metric_at(storage: Storage, study: Study, number: int, step: int) -> float | None:
    """A slot's goal metric when last computed in full up to a step."""
    query = (
        select(measurements.c.value)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(
            slots.c.study_id == study.id,
            slots.c.number == number,
            measurements.c.split == "validation",
            measurements.c.metric == study.metric,
            measurements.c.step <= step,
        )
        .order_by(measurements.c.step.desc())
        .limit(1)
    )
    with storage.read() as conn:
        found: float | None = conn.execute(query).scalar_one_or_none()
    return found


def lacked(study: Study, metric: float) -> float:
    """How far a value of the goal metric is from the goal, in multiples of the goal."""
    goal = float(study.identity["goal"]["value"])
    return abs(metric - goal) / max(abs(goal), 1e-12)


class Told(Protocol):
    """What a surrogate is told of a trial."""

    @property
    def params(self) -> Metaparameters: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def steps(self) -> int: ...
    @property
    def steps_to_target(self) -> float | None: ...
    @property
    def metric(self) -> float | None: ...


def evidence_of(study: Study, one: Told) -> Evidence | None:
    """What a trial tells a surrogate; nothing, if it has ended in an error, or not at all."""
    away = None if one.metric is None else lacked(study, one.metric)
    told: tuple[Kind, float, float | None]
    if one.steps_to_target is not None:  # also of one that goes on
        told = Kind.REACHED, float(one.steps_to_target), 0.0
    elif one.outcome in (Outcome.DIVERGED, Outcome.STALLED):
        told = Kind.INFEASIBLE, float(max(one.steps, 1)), away
    elif one.outcome in (Outcome.CAPPED, Outcome.DROPPED, Outcome.EXHAUSTED):
        told = Kind.MORE_THAN, float(max(one.steps, 1)), away
    else:
        return None
    return Evidence(study.batch_size, one.params, *told)
