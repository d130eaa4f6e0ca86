"""batchfront.plan.options"""

from collections.abc import Mapping
from dataclasses import dataclass

from batchfront.errors import UsageError
from batchfront.study.generations import GENERATION
from batchfront.study.points import SAMPLERS
from batchfront.study.study import ADAPTIVE, Study

SCHEDULES = ("race", "one-by-one")


COUNTS = ("all", "feasible")


AFTER_GOAL = ("stop", "continue")


DEFAULT_TRIALS = 32


DEFAULT_FINISHERS = 1


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
                  `batchfront.training.early_dropping`, also for
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
