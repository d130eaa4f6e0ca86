"""From a workload to studies filled with slots."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, update

from batchfront.errors import StorageError, UsageError
from batchfront.plan.options import AUTO, SearchOptions, search_identity, settle
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.optuna_dashboard import NOTE, note_attributes
from batchfront.store.optuna_tables import lock_study, replace_settings
from batchfront.store.schema import studies
from batchfront.study.create import add_study, wait_for_planners
from batchfront.study.dashboard_note import study_note
from batchfront.study.identity import (
    RAISED,
    identity_parts,
    refuse_difference,
    study_identity,
)
from batchfront.study.reopening import reopen
from batchfront.study.rounds import lock_search
from batchfront.study.slots import count_slots, fill, within_limit
from batchfront.study.study import (
    Definition,
    Filter,
    Study,
    find_named,
    find_studies,
    load_studies,
    refuse_imported,
)
from batchfront.study.variants import as_variant
from batchfront.surrogate.proposal import unmodelled
from batchfront.training.early_dropping import rules
from batchfront.training.examine import examine
from batchfront.vocabulary import SEARCHES, AfterGoal, Evaluate, Sampler
from batchfront.workload.base import WorkloadBase
from batchfront.workload.code.versions import Code, digest
from batchfront.workload.loop import Loop
from batchfront.workload.outline import Outlined
from batchfront.workload.program import Program
from batchfront.workload.source import Checksums, find_source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """What planning did: the studies meant, how many slots each gained, how many of its trials are
    begun again as more of them are to pass the goal, or to go on past it, and what a user should
    know before they run."""

    workload: WorkloadBase
    studies: tuple[Study, ...]
    added: tuple[int, ...]
    reopened: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def filter(self) -> Filter:
        """Exactly these studies."""
        sizes = tuple(s.batch_size for s in self.studies)
        return Filter((self.workload.name,), sizes, purposes=SEARCHES)


def plan(
    storage: Storage,
    spec: str,
    workload: WorkloadBase,
    asked: SearchOptions,
    devices_per_trial: int = 1,
) -> Planned:
    """Create the studies of a workload that don't exist, and top up those that do.

    devices_per_trial -- that are to compute each trial together, as far as known

    Raises UsageError before anything is written if the workload or what is asked for can't work,
    IdentityError if a study exists under another definition, and StorageError if one is there that
    can't be read.
    """
    sought = look_over(storage, workload, asked)
    workload, existing = sought.workload, sought.existing
    batch_sizes = sought.batch_sizes
    examined = examine(workload, batch_sizes, spec)
    examined.refuse_devices(devices_per_trial)
    stored_code: list[Code] = max(
        (s.identity.get("code", []) for s in existing.values()), key=len, default=[]
    )
    if existing and not stored_code:
        log.warning(_UNKNOWN_CODE, workload.name)
    code = _versions(stored_code, examined.code, go_on=bool(asked.accept_changes))
    described = {**examined.identity_parts, "preflight": dict(examined.tries)}
    source = find_source(spec)
    checksums = None if source is None else source.checksums()
    parts = identity_parts(described, code, asked.variant)
    count = examined.train_examples
    pairs = zip(batch_sizes, sought.searches, strict=True)
    where = spec, checksums
    wanted = [_definition(workload, where, b, search, parts, count) for b, search in pairs]
    for study in wanted:
        for stored in existing.values():
            refuse_difference(stored, study)
    with storage.write() as conn:
        wait_for_planners(conn)
        lock_search(conn, workload.name)
        _keep_code(conn, wanted[0], {"code": code, "preflight": dict(examined.tries)})
        made = [_make(storage, conn, s) for s in wanted]
    there, added, reopened = zip(*made, strict=True)
    return Planned(workload, there, added, reopened, tuple(examined.notes))


@dataclass(frozen=True)
class Sought:
    """What is to be searched: a workload as it was asked for, at these batch sizes, each with the
    values of its search's options; and its studies that exist, by batch size."""

    workload: WorkloadBase
    batch_sizes: Sequence[int]
    searches: Sequence[Mapping[str, Any]]
    existing: Mapping[int, Study]


def look_over(storage: Storage, workload: WorkloadBase, asked: SearchOptions) -> Sought:
    """Find what is to be searched, from what a workload's outline tells, what is stored and what is
    asked for: nothing of the workload's code runs.

    Raises what `plan` does, as far as it can be seen so.
    """
    base, workload = workload.name, as_variant(workload, asked.variant)
    with storage.read() as conn:
        meant = Filter((workload.name,), purposes=SEARCHES)
        existing = {s.batch_size: s for s in find_studies(conn, meant)}
        unreadable = load_studies(conn, meant).unreadable
        # A variant that begins is asked for what its base was, so that the two can be compared.
        like = existing or {
            s.batch_size: s for s in find_studies(conn, replace(meant, workloads=(base,))) if s.spec
        }
    refuse_imported(storage, existing.values())
    batch_sizes = _batch_sizes(asked.batch_sizes or tuple(like) or workload.batch_sizes)
    for one in unreadable:
        if one.batch_size in batch_sizes:
            raise StorageError(one.told(storage.url))
    for batch_size in batch_sizes:
        if batch_size in existing:
            _refuse_lowering(storage, asked, existing[batch_size])
    others = list(like.values())
    searches = [settle(asked, [like[b]] if b in like else others) for b in batch_sizes]
    first = searches[0]
    workload = workload.as_asked(first["goal"], first["precision"])
    # Which refuses what can't work.
    rules(workload.goal, first["finishers"], halving=False, extrapolate=first["extrapolate"])
    if first["max_trials"] is not None:
        _refuse_too_few({*existing, *batch_sizes})
    if first["sampler"] == Sampler.JOINT:
        _refuse_unmodelled(workload, batch_sizes)
    if first["evaluate"] == Evaluate.SPARSE:
        _refuse_sparse(workload)
    if isinstance(workload, Outlined):
        workload.refuse_larger(batch_sizes)
    return Sought(workload, batch_sizes, searches, existing)


def _refuse_too_few(batch_sizes: Collection[int]) -> None:
    """Raise UsageError where no curve can be drawn that says where further trials would tell the
    most."""
    from batchfront.frontier.curve.curve import FEWEST

    if len(batch_sizes) < FEWEST:
        raise UsageError(
            f"--trials {AUTO}: needs at least {FEWEST} batch sizes, for a curve through what they "
            f"take, not {len(batch_sizes)}; add some, or say how many trials"
        )


def _refuse_unmodelled(workload: WorkloadBase, batch_sizes: Sequence[int]) -> None:
    """Raise UsageError, naming the first, for a search space that no surrogate can be fitted in."""
    for batch_size in batch_sizes:
        why = unmodelled(workload.space(batch_size))
        if why is not None:
            raise UsageError(
                f"--sampler {Sampler.JOINT}: can't learn in the search space of {workload.name} at "
                f"batch size {batch_size}: {why}; or say --sampler {Sampler.SOBOL}"
            )


def _refuse_sparse(workload: WorkloadBase) -> None:
    """Raise UsageError where no evaluation can be left out."""
    why, goal = None, workload.goal
    if isinstance(workload, Program | Loop):
        kind = type(workload).__name__.lower()
        why = f"a {kind} says itself where it is evaluated"
    elif math.isinf(goal.best):
        bound = "low" if goal.metric.better == "lower" else "high"
        why = (
            f"{goal.metric.name} has no best value, which says how far a trial is from its goal "
            f"(the metric's {bound}=)"
        )
    if why is not None:
        raise UsageError(
            f"--evaluate {Evaluate.SPARSE}: can't be for {workload.name}, as {why}; say --evaluate "
            f"{Evaluate.EVERY}"
        )


_UNKNOWN_CODE = (
    "%s was planned before batchfront kept the code of workloads: whether it has changed since is "
    "not known; from now on it is"
)


def _versions(stored: list[Code], now: Code, *, go_on: bool) -> list[Code]:
    """The versions of a workload's code, the last being the one that is to make trials."""
    if stored and digest(stored[-1]) == digest(now):
        return stored
    return [*stored, now] if go_on else [now]


def _keep_code(conn: Connection, planned: Definition, now: Mapping[str, Any]) -> None:
    """Have all studies of a workload, whatever their purpose, know the versions of its code, where
    it is now and by which checksums, and what the checks of the last version have shown.

    Raises IdentityError if they have come to know others meanwhile.
    """
    for study in find_studies(conn, Filter((planned.workload,))):
        identity = {**study.identity, **now}
        kept = replace(study, identity=identity)
        if study.spec:  # it wasn't imported
            kept = replace(kept, spec=planned.spec, checksums=planned.checksums)
        if study != kept:
            refuse_difference(study, kept)
            lock_study(conn, study.id)  # first, as whoever ends trials does
            row = kept.to_row()
            changed = {name: row[name] for name in ("identity", "spec", "checksums")}
            conn.execute(update(studies).where(studies.c.id == study.id).values(changed))


def _refuse_lowering(storage: Storage, options: SearchOptions, study: Study) -> None:
    """Raise UsageError if fewer trials are to pass the goal, or to go on, than already may have; or
    more, where later ones were drawn from how the first ended."""
    anew = f"leave it out, or begin anew after {command(storage, 'delete', study.workload)}"
    for option, asked, has in (
        ("--finishers", options.finishers, study.finishers),
        ("--continuing", options.continuing, study.continuing),
    ):
        if asked and asked < has:
            raise UsageError(
                f"{option} {asked}: study {study.name} has {has}, which can be raised, not "
                f"lowered; {anew}"
            )
    if options.after_goal == AfterGoal.STOP and study.continuing:
        raise UsageError(
            f"--after-goal stop: trials of study {study.name} go on past the goal; {anew}"
        )
    if study.adaptive and (options.finishers or study.finishers) > study.finishers:
        raise UsageError(
            f"--finishers {options.finishers}: study {study.name} has {study.finishers}, and with "
            f"more its sampler, {study.sampler}, would have drawn other trials; {anew}"
        )


def _batch_sizes(chosen: Sequence[int]) -> list[int]:
    for batch_size in chosen:
        if batch_size < 1:
            raise UsageError(f"batch size {batch_size}: must be at least 1")
    return sorted(set(chosen))


def _definition(
    workload: WorkloadBase,
    where: tuple[str, Checksums | None],
    batch_size: int,
    search: Mapping[str, Any],
    parts: Mapping[str, Any],
    train_examples: int,
) -> Definition:
    """A study's definition, from the values of its search's options, and where its code is: the
    spec and the checksums."""
    columns = {name: search[name] for name in search if name in Definition.__dataclass_fields__}
    return Definition(
        name=f"{workload.name}/b{batch_size}",
        workload=workload.name,
        spec=where[0],
        checksums=where[1],
        batch_size=batch_size,
        identity=study_identity(workload, batch_size, parts, search_identity(search)),
        goal_value=search["goal"],
        train_examples=train_examples,
        **columns,
    )


def _make(storage: Storage, conn: Connection, study: Definition) -> tuple[Study, int, int]:
    """The stored form of a wanted study, made, topped up or raised; how many slots it gained, and
    how many of its trials are begun again."""
    before = find_named(conn, study.name)
    if not isinstance(before, Study):
        stored = add_study(storage, conn, study)
        return stored, fill(conn, stored, stored.trials), 0
    refuse_difference(before, study)
    lock_study(conn, before.id)  # before its row here, as in `_keep_code`
    stored = replace(
        before,
        trials=max(study.trials, before.trials),
        finishers=max(study.finishers, before.finishers),
        continuing=max(study.continuing, before.continuing),
        max_trials=study.max_trials,
        until=study.until,
    )
    if (stored.max_trials, stored.until) != (before.max_trials, before.until):
        stored = replace(stored, settled=None)
    changing = ("trials", "max_trials", "until", "settled", *RAISED)
    raised = {name: getattr(stored, name) for name in changing}
    conn.execute(update(studies).where(studies.c.id == stored.id).values(raised))
    more = stored.trials - before.trials
    added = fill(conn, stored, _slots_after(conn, stored, more) if more else 0)
    return stored, added, _raise(conn, before, stored)


def _raise(conn: Connection, before: Study, study: Study) -> int:
    """Let trials go on that more finishers or continuing ones put off the end of; how many."""
    if (before.finishers, before.continuing) == (study.finishers, study.continuing):
        return 0
    replace_settings(conn, study.id, NOTE, note_attributes(study_note(study)))
    return reopen(conn, before, study)


def _slots_after(conn: Connection, study: Study, more: int) -> int:
    return within_limit(study, count_slots(conn, study.id) + more)
