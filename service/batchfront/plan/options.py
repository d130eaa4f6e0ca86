"""What a study searches, and how: the options of a search, and what they come to for one study."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchfront.errors import UsageError
from batchfront.options import BATCH_SIZES, Kind, Must, at_least, check, option, options_of
from batchfront.study.study import ALL, Study
from batchfront.vocabulary import ADAPTIVE, SAMPLERS, SCHEDULES, AfterGoal, Count, Sampler, Schedule

LEARNING_TOGETHER = 8
"""Trials that race together where a sampler learns: few enough that it learns early, and enough
that what computes them as one gains by it."""

_ONE = at_least(1)

_SEED: Must = (lambda seed: -(2**63) <= seed < 2**63, "must lie between -2^63 and 2^63 - 1")

_TOGETHER: Must = (lambda n: n == ALL or (isinstance(n, int) and n >= 1), "must be at least 1")


def _together(text: str) -> int | str:
    if text != ALL and not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"{text!r} is no number of trials; write 8, or {ALL}")
    return text if text == ALL else int(text)


@dataclass(frozen=True)
class SearchOptions:
    """What a study searches, and how. None leaves it to the studies there are, then to the default.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    batch_sizes: tuple[int, ...] | None = option(
        BATCH_SIZES,
        "The batch sizes, such as 2,8,32 or 2..1024 (the powers of two).",
        otherwise="those planned before, or else the workload's own",
    )
    trials: int | None = option(
        int, "Trials per batch size; more than before adds some.", must=_ONE, fallback=32
    )
    seed: int | None = option(int, "The seed of the search.", must=_SEED, fallback=0, defines=True)
    goal: float | None = option(
        float, "Another value of the goal metric to pass.", otherwise="the workload's"
    )
    precision: str | None = option(
        str,
        "What models are computed in; weights stay float32.",
        choices=("float32", "bfloat16"),
        otherwise="the workload's",
    )
    count: str | None = option(
        str,
        "What --trials counts: all, or only those that don't diverge. A diverged trial is replaced "
        "by another then, up to three times the budget.",
        choices=tuple(Count),
        fallback=Count.ALL,
        defines=True,
    )
    sampler: str | None = option(
        str,
        "What samples the metaparameters: quasi-random points, or a sampler of Optuna's, which "
        "learns from trials that have ended.",
        choices=SAMPLERS,
        fallback=Sampler.SOBOL,
        defines=True,
    )
    together: int | str | None = option(
        Kind("N|all", _together),
        "How many trials of a batch size race together: all that fit, or N at a time, each N up "
        "to the best so far and, with tpe or gp, sampled from what those before have shown. With 1 "
        "each worker runs one after another.",
        must=_TOGETHER,
        otherwise=f"all; with tpe or gp {LEARNING_TOGETHER}",
    )
    finishers: int | None = option(
        int,
        "Trials of a batch size that pass the goal before its others are stopped. It can be raised "
        "later.",
        must=_ONE,
        fallback=1,
        defines=True,
    )
    after_goal: str | None = option(
        str,
        "What a trial does that passes the goal: stop, or continue to the step budget, for curves "
        "beyond the goal.",
        choices=tuple(AfterGoal),
        fallback=AfterGoal.STOP,
    )
    continuing: int | None = option(
        int,
        "With --after-goal continue: how many trials of a batch size do, the first that pass.",
        must=_ONE,
        otherwise="1",
        fallback=0,
        defines=True,
    )
    warm_start: bool | None = option(
        bool,
        "Start the first trials of a batch size at the winners of its neighbours, where they have "
        "one.",
        fallback=False,
        defines=True,
    )
    variant: str | None = option(
        str,
        "Keep this definition beside the first, as WORKLOAD@NAME, which other commands take as its "
        "name. Trials have the seeds of the first's.",
        metavar="NAME",
    )
    accept_changes: bool | None = option(
        bool,
        "Go on though the workload's code has changed: new trials are made by the code as it is "
        "now, and stand beside those of the earlier version.",
    )
    extrapolate: bool | None = option(
        bool,
        "Drop trials whose curve, extrapolated, would miss the goal when the leader is to pass it. "
        "It may drop the one that would have won.",
        fallback=False,
        defines=True,
    )
    # Of earlier versions. The first two are what a study keeps of `together`.
    schedule: str | None = option(
        str,
        "How many trials race together: all, or a generation of them; or one.",
        choices=SCHEDULES,
        fallback=Schedule.RACE,
        defines=True,
        superseded="--together",
    )
    generation: int | None = option(
        int,
        "How many trials race together.",
        must=_ONE,
        fallback=0,
        defines=True,
        superseded="--together",
    )
    halving: bool | None = option(
        bool,
        "Drop the worse half of the trials of a batch size at each doubling of the steps.",
        fallback=False,
        defines=True,
        superseded="--extrapolate",
    )

    def __post_init__(self) -> None:
        check(self)
        said = [f"--schedule {self.schedule}"] if self.schedule else []
        said += [f"--generation {self.generation}"] if self.generation else []
        if self.together is not None and said:
            variable = f"BATCHFRONT_{said[0][2:].partition(' ')[0].upper()}"
            raise UsageError(
                f"--together {self.together}: says it all; leave {said[0]} out, or unset {variable}"
            )
        if self.schedule == Schedule.ONE_BY_ONE and self.generation:
            raise UsageError(
                f"{said[1]}: contradicts {said[0]}; say --together 1, or "
                f"--together {self.generation}"
            )


_ALWAYS = ("seed", "sampler", "schedule", "count", "finishers", "continuing")


def search_identity(search: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a study's identity that says how its trials are sampled and raced.

    An option that is younger than the first of them is there where it is not as if there were none:
    studies from before it was an option stay what they are.
    """
    younger = {
        name: search[name]
        for name, said in options_of(SearchOptions).items()
        if said.defines and name not in _ALWAYS and search[name] != said.fallback
    }
    return {name: search[name] for name in _ALWAYS} | younger


def settle(asked: SearchOptions, there: Sequence[Study]) -> dict[str, Any]:
    """The value of each option of a search for one study, as that study keeps it.

    there -- the study itself, if it exists; or else the workload's others, whose values are taken
             for what wasn't asked for
    """
    before = there[0] if there else None
    stored = {} if before is None else _asked_for(before)
    search: dict[str, Any] = {}
    for name, said in options_of(SearchOptions).items():
        values = (getattr(asked, name), stored.get(name))
        # A flag that an environment variable says no to leaves a study that has it as it is.
        told = (v for v in values if v is not None and not (said.kind is bool and v is False))
        search[name] = next(told, said.fallback)
    search["trials"] = asked.trials or min((s.trials for s in there), default=search["trials"])
    search["continuing"] = _continuing(asked, search)
    search |= _racing(asked, before, search["sampler"])
    if asked.halving and not (before and before.halving):
        raise UsageError(
            "--halving: is no option of new studies, as it drops more winners than --extrapolate, "
            "which makes a search cheaper at all batch sizes; use that, or neither"
        )
    return search


def _asked_for(study: Study) -> dict[str, Any]:
    """The options with which a study has been planned."""
    search = study.identity.get("search", {})
    columns = {
        name: getattr(study, name) for name in options_of(SearchOptions) if name in study.columns
    }
    after_goal = AfterGoal.CONTINUE if study.continuing else AfterGoal.STOP
    # `finishers` and `continuing` may have been raised since: the columns know.
    return {**search, **columns, "goal": study.goal_value, "after_goal": after_goal}


def _continuing(asked: SearchOptions, search: Mapping[str, Any]) -> int:
    """How many trials go on past the goal."""
    if search["after_goal"] == AfterGoal.STOP:
        if asked.continuing is not None:
            raise UsageError(f"--continuing {asked.continuing}: needs --after-goal continue")
        return 0
    continuing = search["continuing"] or 1
    if continuing > search["finishers"]:
        raise UsageError(
            f"--continuing {continuing}: must be at most --finishers, {search['finishers']}, as "
            "the others are capped before they pass the goal"
        )
    return int(continuing)


def _racing(asked: SearchOptions, before: Study | None, sampler: str) -> dict[str, Any]:
    """How many trials race together, as a study keeps it: its schedule, and the trials of a
    generation where not all are in one."""
    learns, together = sampler in ADAPTIVE, _said_together(asked)
    stored: dict[str, Any] = {"schedule": Schedule.RACE, "generation": 0}
    if before is not None:
        alike = before.adaptive == learns  # unless it is the base of a variant
        stored = {"schedule": before.schedule, "generation": before.generation if alike else 0}
        if alike and together == before.together:
            return stored
    if together == ALL and learns:
        raise UsageError(
            f"--together {ALL}: a sampler learns from trials that have ended, and {sampler} would "
            f"sample all without any; say how many, such as --together {LEARNING_TOGETHER}"
        )
    if together is None:
        schedule = asked.schedule or stored["schedule"]
        default = LEARNING_TOGETHER if learns and schedule == Schedule.RACE else 0
        return {"schedule": schedule, "generation": stored["generation"] or default}
    if together == 1 and not asked.generation:
        return {"schedule": Schedule.ONE_BY_ONE, "generation": 0}
    return {"schedule": Schedule.RACE, "generation": 0 if together == ALL else together}


def _said_together(asked: SearchOptions) -> int | str | None:
    """How many trials race together, if that was said, in whichever form."""
    if asked.schedule == Schedule.ONE_BY_ONE:
        return 1
    return asked.together if asked.together is not None else asked.generation


def superseded(asked: SearchOptions) -> list[str]:
    """A line for each option of an earlier version that was asked for: what says the same today."""
    notes = []
    if asked.schedule is not None:
        default = "what a search does unless told otherwise; leave it out"
        now = default if asked.schedule == Schedule.RACE else "--together 1 now"
        notes.append(f"batchfront: --schedule {asked.schedule} is {now}")
    if asked.generation == 1:
        notes.append(
            "batchfront: --generation 1 runs one trial at a time, on all workers together; the "
            "--together 1 of now lets each worker run one after another"
        )
    elif asked.generation is not None:
        notes.append(
            f"batchfront: --generation {asked.generation} is --together {asked.generation} now"
        )
    return notes
