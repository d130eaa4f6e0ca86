"""What a study's slots have shown, for samplers that learn from it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy import Connection, select

from batchfront.outcomes import cap
from batchfront.store.schema import slots
from batchfront.study.generations import start_of, start_of_space
from batchfront.study.study import Study
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.vocabulary import Outcome, Sampler
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


class Raced(Told, Protocol):
    """What a trial has shown, as a data class."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def number(self) -> int: ...
    @property
    def round(self) -> int | None: ...
    @property
    def metric(self) -> float | None: ...


T = TypeVar("T", bound=Raced)


def as_raced(study: Study, shown: Sequence[T]) -> list[T]:
    """What trials would have shown to one worker alone, which caps all those of a race at the same
    step: a worker that hears late of the winner goes on past it, and so knows more of its trials
    than it would have by itself.

    Returns them in the same order. Of one that was capped later than it would have been, the metric
    isn't known.
    """
    if study.sampler == Sampler.IMPORTED:  # by rules that nobody knows here
        return list(shown)
    races = {one.number: race_of(study, one.number, one.round) for one in shown}
    limits = caps(study, [(races[one.number], one.steps_to_target) for one in shown])
    capped = {"outcome": Outcome.CAPPED, "steps_to_target": None, "metric": None}
    found = []
    for one in shown:
        limit = limits[races[one.number]]
        had = one.steps if one.steps_to_target is None else one.steps_to_target
        late = limit is not None and had > limit
        found.append(replace(one, steps=limit, **capped) if late else one)
    return found


def race_of(study: Study, number: int, round_: int | None) -> int:
    """What orders the races of a study: in one race are a round, a generation, or the slots that
    came with a search space. Trials that an adaptive sampler draws one by one each have their own,
    as it is by their order that they are drawn."""
    if study.in_rounds:
        return round_ or 0
    if study.generation:
        return start_of(study, number)
    return number if study.adaptive else start_of_space(study, number)


def caps(study: Study, passed: Iterable[tuple[int, float | None]]) -> dict[int, float | None]:
    """The step at which one worker alone caps the slots of each race; None: it caps none.

    passed -- of each slot, what orders its race (`race_of`), and its steps to target
    """
    limits: dict[int, float | None] = {}
    fewest: list[float] = []
    for race, mine in groupby(sorted(passed, key=itemgetter(0)), itemgetter(0)):
        fewest += [steps for _, steps in mine if steps is not None]
        fewest = sorted(fewest)[: study.finishers]
        limits[race] = cap(fewest, study.finishers)
    return limits


def evidence_of(study: Study, one: Told) -> Evidence | None:
    """What a trial tells a surrogate; nothing, if it has ended in an error, or not at all."""
    steps = float(max(one.steps, 1))
    if one.steps_to_target is not None:  # also of one that goes on
        told = Kind.REACHED, float(one.steps_to_target)
    elif one.outcome in (Outcome.DIVERGED, Outcome.STALLED):
        told = Kind.INFEASIBLE, steps
    elif one.outcome in (Outcome.CAPPED, Outcome.DROPPED, Outcome.EXHAUSTED):
        told = Kind.MORE_THAN, steps
    else:
        return None
    return Evidence(study.batch_size, one.params, *told)
