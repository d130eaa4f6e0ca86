"""Draws of metaparameters run again and again with fresh seeds, in studies of their own.

Such a study stands beside the search's of the same batch size and has its definition, but for how
its trials come about: they are told, not drawn, and none is capped when another has passed the
goal, as a median needs all of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

from sqlalchemy import Connection, select, update

from service.database import Storage
from service.errors import UsageError
from service.imported import refuse_imported
from service.median import median
from service.new_study import add_study, wait_for_planners
from service.schema import slots, studies
from service.search_space import Metaparameters, describe_space
from service.slots import Filter, Study, add_slots
from service.widening import holding


@dataclass(frozen=True)
class Candidate:
    """What is to be run again: the number of a search's trial, and metaparameters."""

    trial: int
    params: Metaparameters


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Metaparameters run with several seeds.

    params    -- of all of them
    steps     -- steps to target of those that reached the goal, ascending
    unreached -- how many ended without: by the study's rules, or at the end of their step budget
    failed    -- how many ended with an error, which says nothing of their steps
    open      -- how many are not done yet
    """

    params: Metaparameters
    steps: tuple[int, ...]
    unreached: int
    failed: int
    open: int

    @property
    def seeds(self) -> int:
        """How many have ended, one way or the other, but for those that failed."""
        return len(self.steps) + self.unreached

    @property
    def median(self) -> float | None:
        """Of the steps of all seeds, infinitely many where one has not reached the goal. None where
        it is infinite, and until all are done: those that end first are the fastest."""
        if self.open or not self.seeds:
            return None
        middle = median([*self.steps, *[inf] * self.unreached])
        return middle if isfinite(middle) else None

    @property
    def never(self) -> bool:
        """Whether all are done, and the median of them has not reached the goal."""
        return not self.open and self.seeds > 0 and self.median is None

    @property
    def low(self) -> int | None:
        """The fewest steps; None if no seed has reached the goal, and until all are done."""
        return None if self.open or not self.steps else self.steps[0]

    @property
    def high(self) -> int | None:
        """The most steps; None if some seed has not reached the goal, and until all are done."""
        return None if self.open or self.unreached or not self.steps else self.steps[-1]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        shown = ("steps", "unreached", "failed", "open", "median", "low", "high")
        return {"params": dict(self.params), **{name: getattr(self, name) for name in shown}}


@dataclass(frozen=True)
class PlannedRepeats:
    """What planning did: the studies, and how many trials each gained."""

    studies: tuple[Study, ...]
    added: tuple[int, ...]

    @property
    def filter(self) -> Filter:
        """Exactly these studies."""
        first, sizes = self.studies[0], tuple(study.batch_size for study in self.studies)
        return Filter((first.workload,), sizes, purposes=(first.purpose,))


def plan_repeats(
    storage: Storage,
    purpose: str,
    wanted: Sequence[tuple[Study, Sequence[Candidate]]],
    seeds: int,
) -> PlannedRepeats:
    """Have each candidate, beside the search that it is told with, run with so many seeds; those
    that have been run, or planned, count."""
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: must be at least 1")
    refuse_imported(storage, (study for study, _ in wanted))
    with storage.write() as conn:
        wait_for_planners(conn)
        made = [_plan(storage, conn, purpose, *one, seeds) for one in wanted]
    return PlannedRepeats(tuple(s for s, _ in made), tuple(added for _, added in made))


def _plan(
    storage: Storage,
    conn: Connection,
    purpose: str,
    search: Study,
    candidates: Sequence[Candidate],
    seeds: int,
) -> tuple[Study, int]:
    """The stored study beside a search, made or topped up, and how many slots it gained."""
    stored = _stored(conn, f"{search.name}/{purpose}")
    study = stored or add_study(storage, conn, _draft(search, purpose))
    there = _candidates(conn, study)
    added = 0
    for candidate in candidates:
        missing = max(seeds - there.count(candidate), 0)
        draws = [candidate.params] * missing
        add_slots(conn, study.id, len(there) + added, draws, repeats=candidate.trial)
        added += missing
    study = replace(_holding(study, candidates), spec=search.spec, trials=study.trials + added)
    row = study.to_row()
    changed = {name: row[name] for name in ("spec", "trials", "extensions")}
    conn.execute(update(studies).where(studies.c.id == study.id).values(changed))
    return study, added


def _candidates(conn: Connection, study: Study) -> list[Candidate]:
    """What each slot of a study runs again."""
    query = select(slots.c.repeats, slots.c.params).where(slots.c.study_id == study.id)
    return [Candidate(row.repeats, json.loads(row.params)) for row in conn.execute(query)]


def _holding(study: Study, candidates: Sequence[Candidate]) -> Study:
    """The study with a search space that holds the candidates: Optuna shows them as points of it,
    and those from a wider space, or scaled by a rule, may lie outside of the one it began with."""
    space = study.space
    for candidate in candidates:
        space = holding(space, candidate.params)
    described = describe_space(space)
    if described == describe_space(study.space):
        return study
    return replace(study, extensions=({"first": 0, "outside": 0, "space": described},))


def _stored(conn: Connection, name: str) -> Study | None:
    row = conn.execute(select(studies).where(studies.c.name == name)).first()
    return None if row is None else Study.from_row(row)


def _draft(search: Study, purpose: str) -> Study:
    """The study of a purpose beside a search, before it is stored."""
    from service.plan import search_of  # brings torch, which reading has no use for

    draft = replace(
        search,
        id=-1,
        name=f"{search.name}/{purpose}",
        purpose=purpose,
        sampler="sobol",  # its trials are told; a study must have one
        schedule="race",
        count="all",
        trials=0,
        finishers=0,
        continuing=0,
        extensions=(),
        identity={},
    )
    return replace(draft, identity={**search.identity, "search": search_of(draft)})


def load_repeats(
    storage: Storage, workload: str, purpose: str
) -> dict[int, list[tuple[Candidate, Mapping[str, Any]]]]:
    """By batch size, each candidate with how its trials ended, as the fields of a `Repeated`; in
    the order in which they were first planned. One query."""
    wanted = Filter((workload,), purposes=(purpose,))
    columns = (slots.c.repeats, slots.c.params, slots.c.steps_to_target, slots.c.outcome)
    query = (
        select(studies.c.batch_size, *columns)
        .select_from(slots.join(studies))
        .where(wanted.clause())
        .order_by(studies.c.batch_size, slots.c.number)
    )
    found: dict[int, dict[tuple[int, str], list[Any]]] = {}
    with storage.read() as conn:
        for row in conn.execute(query):
            mine = found.setdefault(row.batch_size, {})
            mine.setdefault((row.repeats, row.params), []).append(row)
    return {
        batch_size: [
            (Candidate(trial, params := json.loads(text)), {"params": params, **_ended(rows)})
            for (trial, text), rows in mine.items()
        ]
        for batch_size, mine in found.items()
    }


def _ended(rows: Sequence[Any]) -> dict[str, Any]:
    steps = sorted(row.steps_to_target for row in rows if row.steps_to_target is not None)
    others = [row.outcome for row in rows if row.steps_to_target is None]
    failed, unfinished = others.count("failed"), others.count(None)
    unreached = len(others) - failed - unfinished
    return {"steps": tuple(steps), "unreached": unreached, "failed": failed, "open": unfinished}
