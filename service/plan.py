"""From a workload to studies filled with slots."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from service.code_versions import Code, digest, listed
from service.commands import command
from service.dashboard_attributes import NOTE, note_attributes
from service.database import Storage
from service.errors import IdentityError, UsageError
from service.fingerprint import Fingerprint
from service.generations import GENERATION
from service.identity import code_differences, differences, identity_parts, study_identity
from service.imported import refuse_imported
from service.new_study import add_study, wait_for_planners
from service.optuna_tables import lock_study, replace_settings
from service.points import FEASIBLE_LIMIT, SAMPLERS, fill
from service.preflight import check
from service.reopening import reopen
from service.schema import studies
from service.slots import ADAPTIVE, SEARCHES, Filter, Study, count_slots, find_studies
from service.study_note import study_note
from service.training.dropping import rules
from service.variants import as_variant
from service.workload import Workload

log = logging.getLogger(__name__)

SCHEDULES = ("race", "one-by-one")
COUNTS = ("all", "feasible")
AFTER_GOAL = ("stop", "continue")
DEFAULT_TRIALS = 32
DEFAULT_FINISHERS = 1
OPTIONS = ("warm_start", "halving", "extrapolate")
"""Of a search, off by default: in its studies' identity where they are on."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; None leaves it to the studies that exist, then to the defaults.

    trials     -- slots per study; a larger number than before adds some
    schedule   -- "race": a study's trials advance together, those of an adaptive sampler a
                  generation at a time; "one-by-one": each starts when one ends, and stops at the
                  best so far
    generation -- trials of an adaptive sampler that race together
    count      -- what the budget counts: "all" trials, or "feasible" ones (a diverged trial is
                  replaced by another, up to three times the budget)
    finishers  -- trials that pass the goal before the others of their study are capped; a larger
                  number than before lets those go on that were capped too early for it
    precision  -- "float32" or "bfloat16", in place of the workload's own
    after_goal -- "stop": a trial ends when it passes the goal; "continue": the first `continuing`
                  of a study go on to the step budget; either may be asked for afterwards
    warm_start -- True: a study's first slots start at what its neighbours in batch size have found
    halving    -- True: at rungs the worse half of a study's trials is dropped; see
                  `service.training.dropping`, also for
    extrapolate -- True: trials whose curve would miss the leader are dropped
    devices_per_trial -- that are to compute each trial together, as far as known
    variant    -- the name of a second definition of the workload, beside the first
    accept_changes -- True: the workload's code may be another than before; new trials are made by
                  it, and stand beside those of the earlier version
    """

    batch_sizes: tuple[int, ...] | None = None
    trials: int | None = None
    seed: int | None = None
    goal: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    generation: int | None = None
    count: str | None = None
    finishers: int | None = None
    after_goal: str | None = None
    continuing: int | None = None
    precision: str | None = None
    warm_start: bool | None = None
    halving: bool | None = None
    extrapolate: bool | None = None
    devices_per_trial: int = 1
    variant: str | None = None
    accept_changes: bool | None = None


@dataclass(frozen=True)
class _Search:
    """A request with nothing left open, but for a goal and a precision of the user's own."""

    trials: int
    seed: int
    goal: float | None
    precision: str | None
    sampler: str
    schedule: str
    generation: int
    count: str
    finishers: int
    continuing: int
    warm_start: bool
    halving: bool
    extrapolate: bool


@dataclass(frozen=True)
class Planned:
    """What planning did: the studies meant, how many slots each gained, how many of its trials are
    begun again as more of them are to pass the goal, or to go on past it, and what a user should
    know before they run."""

    workload: Workload
    studies: tuple[Study, ...]
    added: tuple[int, ...]
    reopened: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def filter(self) -> Filter:
        """Exactly these studies."""
        sizes = tuple(s.batch_size for s in self.studies)
        return Filter((self.workload.name,), sizes, purposes=SEARCHES)


def plan(storage: Storage, spec: str, workload: Workload, request: Request) -> Planned:
    """Create the studies of a workload that don't exist, and top up those that do.

    Raises UsageError before anything is written if the workload or the request can't work, and
    IdentityError if a study exists under another definition.
    """
    base, workload = workload.name, as_variant(workload, request.variant)
    fingerprint = Fingerprint.of(workload)  # before it has run, and changed what it may hold
    with storage.read() as conn:
        meant = Filter((workload.name,), purposes=SEARCHES)
        existing = {s.batch_size: s for s in find_studies(conn, meant)}
        # A variant that begins is asked for what its base was, so that the two can be compared.
        like = existing or {
            s.batch_size: s for s in find_studies(conn, replace(meant, workloads=(base,))) if s.spec
        }
    refuse_imported(storage, existing.values())
    batch_sizes = _batch_sizes(request.batch_sizes or tuple(like) or workload.batch_sizes)
    for batch_size in batch_sizes:
        if batch_size in existing:
            _refuse_lowering(storage, request, existing[batch_size])
    searches = [_settle(workload.name, request, like, b) for b in batch_sizes]
    settled = searches[0]
    workload = workload.as_asked(settled.goal, settled.precision)
    dropping = {"halving": settled.halving, "extrapolate": settled.extrapolate}
    rules(workload.goal, settled.finishers, **dropping)  # which refuses what can't work
    checked = check(workload, batch_sizes)
    checked.refuse_devices(request.devices_per_trial)
    stored_code: list[Code] = max(
        (s.identity.get("code", []) for s in existing.values()), key=len, default=[]
    )
    if existing and not stored_code:
        log.warning(_UNKNOWN_CODE, workload.name)
    now = fingerprint.code(checked.splits)
    code = _versions(stored_code, now, go_on=bool(request.accept_changes))
    described = {**checked.identity_parts, "preflight": checked.tries}
    parts = identity_parts(described, code, request.variant)
    train_examples = len(checked.splits.train)
    pairs = zip(batch_sizes, searches, strict=True)
    wanted = [_study(workload, spec, b, search, parts, train_examples) for b, search in pairs]
    for study in wanted:
        for stored in existing.values():
            refuse_difference(stored, study)
    with storage.write() as conn:
        wait_for_planners(conn)
        _keep_code(conn, workload.name, {"code": code, "preflight": checked.tries})
        made = [_make(storage, conn, s) for s in wanted]
    there, added, reopened = zip(*made, strict=True)
    return Planned(workload, there, added, reopened, tuple(checked.notes))


_UNKNOWN_CODE = (
    "%s was planned before batchfront kept the code of workloads: whether it has changed since is "
    "not known; from now on it is"
)


def _versions(stored: list[Code], now: Code, *, go_on: bool) -> list[Code]:
    """The versions of a workload's code, the last being the one that is to make trials."""
    if stored and digest(stored[-1]) == digest(now):
        return stored
    return [*stored, now] if go_on else [now]


def _keep_code(conn: Connection, workload: str, now: Mapping[str, Any]) -> None:
    """Have all studies of a workload, whatever their purpose, know the versions of its code, and
    what the checks of the last one have shown.

    Raises IdentityError if they have come to know others meanwhile.
    """
    for study in find_studies(conn, Filter((workload,))):
        identity = {**study.identity, **now}
        if study.identity != identity:
            refuse_difference(study, replace(study, identity=identity))
            lock_study(conn, study.id)  # first, as whoever ends trials does
            changed = update(studies).where(studies.c.id == study.id)
            conn.execute(changed.values(identity=json.dumps(identity)))


def _refuse_lowering(storage: Storage, request: Request, study: Study) -> None:
    """Raise UsageError if fewer trials are to pass the goal, or to go on, than already may have; or
    more, where later ones were drawn from how the first ended."""
    anew = f"leave it out, or begin anew after {command(storage, 'delete', study.workload)}"
    for option, asked, has in (
        ("--finishers", request.finishers, study.finishers),
        ("--continuing", request.continuing, study.continuing),
    ):
        if asked and asked < has:
            raise UsageError(
                f"{option} {asked}: study {study.name} has {has}, which can be raised, not "
                f"lowered; {anew}"
            )
    if request.after_goal == "stop" and study.continuing:
        raise UsageError(
            f"--after-goal stop: trials of study {study.name} go on past the goal; {anew}"
        )
    if study.adaptive and (request.finishers or study.finishers) > study.finishers:
        raise UsageError(
            f"--finishers {request.finishers}: study {study.name} has {study.finishers}, and with "
            f"more its sampler, {study.sampler}, would have drawn other trials; {anew}"
        )


_OF_ONE_BATCH_SIZE = ("batch_size", "search_space", "step_budget")
_RAISED = ("finishers", "continuing")
"""Entries of the search that are as the study began: they may have been raised since."""


def refuse_difference(stored: Study, now: Study) -> None:
    """Raise IdentityError, with the difference, if trials of the two can't stand in one frontier.

    Studies of two batch sizes may differ in what depends on the batch size, and in nothing else.
    """
    before, after = dict(stored.identity), dict(now.identity)
    for identity in (before, after):
        search = identity.get("search", {})
        identity["search"] = {k: v for k, v in search.items() if k not in _RAISED}
    if stored.batch_size != now.batch_size:
        for key in _OF_ONE_BATCH_SIZE:
            before.pop(key, None)
            after.pop(key, None)
    changed = differences(before, after)
    recoded = code_differences(before, after)
    if changed:
        recoding = [f"code: {listed(recoded)}"] if recoded else []
        raise IdentityError(
            f"study {stored.name} exists under another definition: "
            f"{'; '.join([*changed, *recoding])}"
        )
    if recoded:
        variant = () if stored.variant is None else ("--variant", stored.variant)
        raise IdentityError(
            f"the code of {stored.workload} is not what it was planned with; it differs in "
            f"{listed(recoded)}",
            (now.spec, *variant, "--accept-changes"),
        )


def search_of(study: Study) -> dict[str, object]:
    """The part of a study's identity that says how its trials are drawn and raced."""
    search: dict[str, object] = {
        "seed": study.seed,
        "sampler": study.sampler,
        "schedule": study.schedule,
        "count": study.count,
        "finishers": study.finishers,
        "continuing": study.continuing,
    }
    # Only where there is one: studies from before it was an option stay what they are.
    if study.generation:
        search["generation"] = study.generation
    return search | {name: True for name in OPTIONS if getattr(study, name)}


def _batch_sizes(chosen: Sequence[int]) -> list[int]:
    for batch_size in chosen:
        if batch_size < 1:
            raise UsageError(f"batch size {batch_size}: must be at least 1")
    return sorted(set(chosen))


def _settle(name: str, request: Request, existing: Mapping[int, Study], batch_size: int) -> _Search:
    """Fill what was not said from the study of a batch size, else from the workload's others, then
    from the defaults."""
    own = existing.get(batch_size)
    there = list(existing.values()) if own is None else [own]
    before = there[0] if there else None
    sampler = request.sampler or (before.sampler if before else "sobol")
    schedule = request.schedule or (before.schedule if before else "race")
    count = request.count or (before.count if before else "all")
    for value, known, option in (
        (sampler, SAMPLERS, "--sampler"),
        (schedule, SCHEDULES, "--schedule"),
        (count, COUNTS, "--count"),
    ):
        if value not in known:
            raise UsageError(f"{option} {value!r}: must be one of {', '.join(known)}")
    generation = _generation(request, before, sampler, schedule)
    halving = request.halving or (before is not None and before.halving)
    if halving and schedule != "race":
        raise UsageError(
            f"{name}: --halving compares trials that race; use --schedule race, or leave it out"
        )
    for option, number in (
        ("--trials", request.trials),
        ("--generation", request.generation),
        ("--finishers", request.finishers),
        ("--continuing", request.continuing),
    ):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number}: must be at least 1")
    if request.seed is not None and not -(2**63) <= request.seed < 2**63:
        raise UsageError(f"--seed {request.seed}: must lie between -2^63 and 2^63 - 1")
    finishers = request.finishers or (before.finishers if before else DEFAULT_FINISHERS)
    return _Search(
        trials=request.trials or min((s.trials for s in there), default=DEFAULT_TRIALS),
        seed=request.seed if request.seed is not None else (before.seed if before else 0),
        goal=request.goal if request.goal is not None else (before.goal_value if before else None),
        precision=request.precision or (before.precision if before else None),
        sampler=sampler,
        schedule=schedule,
        generation=generation,
        count=count,
        finishers=finishers,
        continuing=_continuing(request, before, finishers),
        warm_start=request.warm_start or (before is not None and before.warm_start),
        halving=halving,
        extrapolate=request.extrapolate or (before is not None and before.extrapolate),
    )


def _generation(request: Request, before: Study | None, sampler: str, schedule: str) -> int:
    """How many trials race together, of a study whose sampler needs results to draw from."""
    if sampler not in ADAPTIVE or schedule != "race":
        if request.generation is not None:
            raise UsageError(
                f"--generation {request.generation}: is for trials of an adaptive sampler that "
                "race; use it with --sampler tpe or gp and --schedule race, or leave it out"
            )
        return 0
    return request.generation or (before.generation if before else 0) or GENERATION


def _continuing(request: Request, before: Study | None, finishers: int) -> int:
    """How many trials go on past the goal."""
    going_on = before.continuing if before else 0
    after_goal = request.after_goal or ("continue" if going_on else "stop")
    if after_goal not in AFTER_GOAL:
        raise UsageError(f"--after-goal {after_goal!r}: must be one of {', '.join(AFTER_GOAL)}")
    if after_goal == "stop":
        if request.continuing is not None:
            raise UsageError(f"--continuing {request.continuing}: needs --after-goal continue")
        return 0
    continuing = request.continuing or going_on or 1
    if continuing > finishers:
        raise UsageError(
            f"--continuing {continuing}: must be at most --finishers, {finishers}, as the others "
            "are capped before they pass the goal"
        )
    return continuing


def _study(
    workload: Workload,
    spec: str,
    batch_size: int,
    search: _Search,
    parts: Mapping[str, Any],
    train_examples: int,
) -> Study:
    draft = Study(
        id=-1,  # until the database gives it one
        name=f"{workload.name}/b{batch_size}",
        workload=workload.name,
        spec=spec,
        batch_size=batch_size,
        identity={"search": {name: getattr(search, name) for name in ("generation", *OPTIONS)}},
        goal_value=search.goal,
        precision=search.precision,
        seed=search.seed,
        schedule=search.schedule,
        sampler=search.sampler,
        count=search.count,
        trials=search.trials,
        train_examples=train_examples,
        finishers=search.finishers,
        continuing=search.continuing,
    )
    identity = study_identity(workload, batch_size, parts, search_of(draft))
    return replace(draft, identity=identity)


def _make(storage: Storage, conn: Connection, study: Study) -> tuple[Study, int, int]:
    """The stored form of a wanted study, made, topped up or raised; how many slots it gained, and
    how many of its trials are begun again."""
    row = conn.execute(select(studies).where(studies.c.name == study.name)).first()
    if row is None:
        stored = add_study(storage, conn, study)
        return stored, fill(conn, stored, stored.trials), 0
    before = Study.from_row(row)
    refuse_difference(before, study)
    lock_study(conn, before.id)  # before its row here, as in `_keep_code`
    stored = replace(
        before,
        spec=study.spec,
        trials=max(study.trials, before.trials),
        finishers=max(study.finishers, before.finishers),
        continuing=max(study.continuing, before.continuing),
    )
    raised = {name: getattr(stored, name) for name in ("trials", *_RAISED)}
    conn.execute(update(studies).where(studies.c.id == stored.id).values(raised))
    # The file that holds the workload may have been moved or renamed: for what runs the search's
    # trials again too.
    there = (studies.c.workload == stored.workload, studies.c.batch_size == stored.batch_size)
    conn.execute(update(studies).where(*there).values(spec=stored.spec))
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
    return min(count_slots(conn, study.id) + more, FEASIBLE_LIMIT * study.trials)
