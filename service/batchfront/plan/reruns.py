"""Draws of metaparameters run again and again with fresh seeds, in studies of their own.

Such a study stands beside the search's of the same batch size and has its definition, but for how
its trials come about: they are told, not drawn, and none is capped when another has passed the
goal, as a median needs all of them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, tuple_, update

from batchfront.errors import UsageError
from batchfront.frontier.frontier import Frontier, load_frontier, searched_points
from batchfront.frontier.reruns import (
    PURPOSE,
    Candidate,
    anchor,
)
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.study.create import add_study, wait_for_planners
from batchfront.study.slots import add_slots
from batchfront.study.study import Definition, Filter, Study, find_named, refuse_imported
from batchfront.vocabulary import Count, Sampler, Schedule
from batchfront.workload.scaling_rules import RULES, optimizer_of
from batchfront.workload.search_space import Metaparameters, describe_space
from batchfront.workload.space_edges import holding


@dataclass(frozen=True)
class PlannedReruns:
    """What planning did: the studies, and how many trials each gained."""

    studies: tuple[Study, ...]
    added: tuple[int, ...]

    @property
    def filter(self) -> Filter:
        """Exactly these studies."""
        first, sizes = self.studies[0], tuple(study.batch_size for study in self.studies)
        return Filter((first.workload,), sizes, purposes=(first.purpose,))


def plan_reruns(
    storage: Storage,
    purpose: str,
    wanted: Sequence[tuple[Study, Sequence[Candidate]]],
    seeds: int,
) -> PlannedReruns:
    """Have each candidate, beside the search that it is told with, run with so many seeds; those
    that have been run, or planned, count."""
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: must be at least 1")
    refuse_imported(storage, (study for study, _ in wanted))
    _refuse_seedless(study for study, _ in wanted)
    with storage.write() as conn:
        wait_for_planners(conn)
        made = [_plan(storage, conn, purpose, *one, seeds) for one in wanted]
    return PlannedReruns(tuple(s for s, _ in made), tuple(added for _, added in made))


def _refuse_seedless(studies: Iterable[Study]) -> None:
    """Raise UsageError if a study's program is told no seed: each of its runs may be the same one,
    and how far they lie apart would say nothing."""
    for study in studies:
        identity = study.identity
        told = json.dumps([identity.get("command"), identity.get("env")])
        hears = identity.get("output", {}).get("kind") == "report" or "{metaparameters}" in told
        if study.kind == "program" and "{seed}" not in told and not hears:
            raise UsageError(
                f"{study.workload}: nothing tells its program a seed, so that every run of a trial "
                "may be the same one; write {seed} in the command of its sweep file, and search "
                "again with --variant seeded, say"
            )


def _plan(
    storage: Storage,
    conn: Connection,
    purpose: str,
    search: Study,
    candidates: Sequence[Candidate],
    seeds: int,
) -> tuple[Study, int]:
    """The stored study beside a search, made or topped up, and how many slots it gained."""
    stored = find_named(conn, f"{search.name}/{purpose}")
    known = stored if isinstance(stored, Study) else None
    study = known or add_study(storage, conn, _definition(search, purpose))
    there = _candidates(conn, study)
    added = 0
    for candidate in candidates:
        missing = max(seeds - there.count(candidate), 0)
        draws = [candidate.params] * missing
        add_slots(conn, study.id, len(there) + added, draws, repeats=candidate.trial)
        added += missing
    study = replace(
        _holding(study, candidates),
        spec=search.spec,
        checksums=search.checksums,
        trials=study.trials + added,
    )
    row = study.to_row()
    changed = {name: row[name] for name in ("spec", "checksums", "trials", "extensions")}
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


def _definition(search: Study, purpose: str) -> Definition:
    """The study of a purpose beside a search."""
    told: dict[str, Any] = {
        "seed": search.seed,
        "sampler": Sampler.SOBOL,  # its trials are told; a study must have one
        "schedule": Schedule.RACE,
        "count": Count.ALL,
        "finishers": 0,
        "continuing": 0,
    }
    return Definition(
        name=f"{search.name}/{purpose}",
        workload=search.workload,
        spec=search.spec,
        batch_size=search.batch_size,
        identity={**search.identity, "search": told},
        goal_value=search.goal_value,
        precision=search.precision,
        trials=0,
        train_examples=search.train_examples,
        checksums=search.checksums,
        purpose=purpose,
        **told,
    )


DEFAULT_SEEDS, DEFAULT_CANDIDATES = 5, 2


def plan_confirmations(
    storage: Storage,
    workload: str,
    *,
    seeds: int = DEFAULT_SEEDS,
    candidates: int = DEFAULT_CANDIDATES,
    recommended: bool = False,
    batch_sizes: Sequence[int] | None = None,
) -> PlannedReruns:
    """Have the best trials at each batch size that has a winner run with so many seeds.

    candidates  -- how many of the trials that reached the goal, the winner first
    recommended -- instead of these, the one that the expected steps recommend

    Planning again adds only what is missing. Raises UsageError if there is no winner, or nothing is
    recommended.
    """
    if candidates < 1:
        raise UsageError(f"--candidates {candidates}: must be at least 1")
    frontier = load_frontier(storage, workload)
    refuse_imported(storage, (point.study for point in frontier.points))
    points = searched_points(frontier, batch_sizes)
    best = {p.study.id: [f.number for f in p.finishers[:candidates]] for p in points if p.best}
    if recommended and best:
        trials = _recommended(frontier)
        best = {p.study.id: [trials[p.batch_size]] for p in points if p.best}
    if not best:
        raise UsageError(f"{workload}: no trial has reached the goal yet, so there is no winner")
    params = _params(storage, best)
    wanted = [
        (p.study, [Candidate(n, params[p.study.id, n]) for n in best[p.study.id]])
        for p in points
        if p.best
    ]
    return plan_reruns(storage, PURPOSE, wanted, seeds)


def _recommended(frontier: Frontier) -> dict[int, int]:
    """The number of the trial that is recommended at each batch size."""
    expected = frontier.expected
    if expected.refusal is not None:
        raise UsageError(f"{frontier.workload}: nothing is recommended: {expected.refusal}")
    return {point.batch_size: point.trial for point in expected.points}


def _params(
    storage: Storage, numbers: Mapping[int, Sequence[int]]
) -> dict[tuple[int, int], Metaparameters]:
    """The metaparameters of trials, by study and number. One query."""
    meant = [(study_id, n) for study_id, mine in numbers.items() for n in mine]
    query = select(slots).where(tuple_(slots.c.study_id, slots.c.number).in_(meant))
    with storage.read() as conn:
        return {(row.study_id, row.number): json.loads(row.params) for row in conn.execute(query)}


def plan_rule(
    storage: Storage,
    workload: str,
    rule: str,
    *,
    seeds: int = DEFAULT_SEEDS,
    batch_sizes: Sequence[int] | None = None,
) -> PlannedReruns:
    """Have a rule followed with so many seeds from the smallest batch size with a winner, there
    and at every larger one.

    rule -- the name of one of `batchfront.workload.scaling_rules.RULES`

    Planning again adds only what is missing. Raises UsageError if there is no winner, and if the
    rule can't be followed from it.
    """
    frontier = load_frontier(storage, workload)
    refuse_imported(storage, (point.study for point in frontier.points))
    points = searched_points(frontier, batch_sizes)
    first = anchor(frontier)
    if first is None or first.best is None:
        raise UsageError(f"{workload}: no trial has reached the goal yet, so there is no winner")
    larger = [point for point in points if point.batch_size >= first.batch_size]
    if not larger:
        raise UsageError(
            f"--batch-sizes {', '.join(map(str, batch_sizes or ()))}: smaller than "
            f"{first.batch_size}, the smallest with a winner, from which a rule starts"
        )
    number, params, followed = first.best.number, first.best.params, RULES[rule].followed
    why_not = RULES[rule].refusal(optimizer_of(first.study.identity, params), first.space, params)
    if why_not is not None:
        raise UsageError(f"{workload}: the {rule} rule {why_not}")
    wanted = [
        (p.study, [Candidate(number, followed(params, p.batch_size / first.batch_size))])
        for p in larger
    ]
    return plan_reruns(storage, rule, wanted, seeds)
