"""What a study searches, and how: the options of a search, and what they come to for one study."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from batchfront.errors import UsageError
from batchfront.options import BATCH_SIZES, Kind, Must, check, flag, option, options_of
from batchfront.study.study import ALL, Study
from batchfront.vocabulary import (
    ADAPTIVE,
    SAMPLERS,
    SCHEDULES,
    AfterGoal,
    Count,
    Evaluate,
    Sampler,
    Schedule,
)

LEARNING_TOGETHER = 8
"""Trials that race together where a sampler learns: few enough that it learns early, and enough
that what computes them as one gains by it."""

JOINT_TOGETHER = 4
"""The same where it learns from all batch sizes at once: each round has so many at each of them."""

AUTO = "auto"
"""What --trials says where they are shared out between batch sizes."""

AUTO_FINISHERS = 8
"""Trials of a batch size that pass the goal, where trials are shared out: one that is capped tells
little of the expected steps."""

_MOST = 100_000  # of a batch size: each trial is a row that is made before any runs

_COUNT: Must = (
    lambda n: type(n) is int and 1 <= n <= _MOST,
    f"must be a whole number from 1 to {_MOST:,}",
)

_CLOSE: Must = (lambda factor: 1 < factor < inf, "must be a factor above 1, such as 1.3")

_SEED: Must = (lambda seed: -(2**63) <= seed < 2**63, "must lie between -2^63 and 2^63 - 1")

_TOGETHER: Must = (lambda n: n == ALL or _COUNT[0](n), _COUNT[1])


def _trials(text: str) -> int | str:
    if text != AUTO and not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"{text!r} is no number of trials; write 32, or {AUTO}")
    return text if text == AUTO else int(text)


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
        must=(lambda sizes: len(sizes) > 0, "must be one at least, such as 32"),
        otherwise="those planned before, or else the workload's own",
    )
    trials: int | str | None = option(
        Kind("N|auto", _trials),
        "Trials per batch size; more than before adds some. With auto each round goes to the batch "
        "sizes where it is expected to tell the most of how far a larger one is useful.",
        must=(lambda n: n == AUTO or _COUNT[0](n), _COUNT[1]),
        fallback=32,
    )
    until: float | None = option(
        float,
        "With --trials auto: stop when the 90 % interval of how far a larger batch size is useful "
        "lies within this factor of it, or when no further trial is expected to help.",
        must=_CLOSE,
        fallback=1.3,
    )
    max_trials: int | None = option(
        int, "With --trials auto: trials of a batch size at most.", must=_COUNT, fallback=64
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
        "What samples the metaparameters: quasi-random points (sobol), or what learns from trials "
        "that have ended: a sampler of Optuna's (tpe, gp) from those of its batch size, and joint "
        "from those of all batch sizes at once.",
        choices=SAMPLERS,
        fallback=Sampler.SOBOL,
        defines=True,
    )
    together: int | str | None = option(
        Kind("N|all", _together),
        "How many trials of a batch size race together: all that fit, or N at a time, each N up "
        "to the best so far and, with tpe, gp or joint, sampled from what those before have shown. "
        "With 1 each worker runs one after another.",
        must=_TOGETHER,
        otherwise=f"all; with tpe or gp {LEARNING_TOGETHER}, with joint {JOINT_TOGETHER}",
    )
    finishers: int | None = option(
        int,
        "Trials of a batch size that pass the goal before its others are stopped. It can be raised "
        "later.",
        must=_COUNT,
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
        must=_COUNT,
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
    evaluate: str | None = option(
        str,
        "At which of the evaluated steps a trial is evaluated: every one; or sparse, between full "
        "evaluations only where it may have passed the goal. It may miss that a noisy trial passed "
        "the goal for a moment.",
        choices=tuple(Evaluate),
        fallback=Evaluate.EVERY,
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
        must=_COUNT,
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
    auto = _is_auto(asked, before, search["sampler"])
    if auto:
        search |= _sampled_for_auto(asked, before, search)
    else:
        _refuse_auto_options(asked)
        counted = (s.trials for s in there if s.max_trials is None)
        default = options_of(SearchOptions)["trials"].fallback
        search["trials"] = asked.trials or min(counted, default=default)
    search["continuing"] = _continuing(asked, search)
    search["warm_start"] = _warm_start(asked, search)
    search |= _racing(asked, before, search["sampler"])
    search |= _shared_out(asked, search) if auto else {"until": None, "max_trials": None}
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


def _is_auto(asked: SearchOptions, before: Study | None, sampler: str) -> bool:
    """Whether trials are shared out: as was asked, or as those before are, by the same sampler."""
    if asked.trials is not None:
        return asked.trials == AUTO
    return before is not None and before.max_trials is not None and sampler == Sampler.JOINT


def _sampled_for_auto(
    asked: SearchOptions, before: Study | None, search: Mapping[str, Any]
) -> dict[str, Any]:
    """What a search samples by, and how many of its trials finish, whose trials are shared out.

    Raises UsageError for what that can't be done with.
    """
    sampler = search["sampler"] if asked.sampler or before else Sampler.JOINT
    if sampler != Sampler.JOINT:
        lead = (
            f"--trials {AUTO}: needs --sampler {Sampler.JOINT}, whose surrogate says what further "
            "trials would tell; "
        )
        if before and not asked.sampler:
            raise UsageError(
                f"{lead}study {before.name} has {sampler}: say how many, or search anew beside it, "
                f"with --sampler {Sampler.JOINT} and --variant NAME"
            )
        raise UsageError(f"{lead}with {sampler} all batch sizes have as many: say how many")
    if search["count"] == Count.FEASIBLE:
        raise UsageError(
            f"--count {Count.FEASIBLE}: counts up to a number of trials, and --trials {AUTO} has "
            "none; leave it out"
        )
    told = asked.finishers or before
    return {"sampler": sampler, "finishers": search["finishers"] if told else AUTO_FINISHERS}


def _shared_out(asked: SearchOptions, search: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of a search whose trials are shared out, which begins with a round."""
    most, a_round = search["max_trials"], search["generation"]
    if most < a_round and asked.max_trials is None:
        raise UsageError(
            f"--together {a_round}: a batch size has at most {most} trials; say fewer, or more by "
            "--max-trials"
        )
    if most < a_round:
        raise UsageError(
            f"--max-trials {most}: must be at least {a_round}, as many as race together in a round"
        )
    return {"trials": a_round}


def _refuse_auto_options(asked: SearchOptions) -> None:
    for name in ("until", "max_trials"):
        value = getattr(asked, name)
        if value is not None:
            raise UsageError(f"{flag(name)} {value:g}: needs --trials {AUTO}")


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


def _warm_start(asked: SearchOptions, search: Mapping[str, Any]) -> bool:
    """Whether the first trials start at the winners of neighbours; in rounds, the last of which is
    over when the next is sampled, all learn from all."""
    if search["sampler"] != Sampler.JOINT:
        return bool(search["warm_start"])
    if asked.warm_start:
        raise UsageError(
            "--warm-start: has nothing to add to --sampler joint, which samples trials from what "
            "those of all batch sizes have shown; leave it out"
        )
    return False  # of a variant, whose base may have it


def _racing(asked: SearchOptions, before: Study | None, sampler: str) -> dict[str, Any]:
    """How many trials race together, as a study keeps it: its schedule, and the trials of a
    generation where not all are in one."""
    learns, together = sampler in ADAPTIVE, _said_together(asked)
    in_rounds = sampler == Sampler.JOINT
    few = JOINT_TOGETHER if in_rounds else LEARNING_TOGETHER
    stored: dict[str, Any] = {"schedule": Schedule.RACE, "generation": 0}
    if before is not None:
        # Unless it is the base of a variant.
        alike = before.adaptive == learns and before.in_rounds == in_rounds
        stored = {"schedule": before.schedule, "generation": before.generation if alike else 0}
        if alike and together == before.together:
            return stored
    if together == ALL and learns:
        raise UsageError(
            f"--together {ALL}: a sampler learns from trials that have ended, and {sampler} would "
            f"sample all without any; say how many, such as --together {few}"
        )
    if in_rounds:  # also of one
        one = stored["schedule"] == Schedule.ONE_BY_ONE
        each = together or stored["generation"] or (1 if one else few)
        return {"schedule": Schedule.RACE, "generation": each}
    if together is None:
        schedule = asked.schedule or stored["schedule"]
        default = few if learns and schedule == Schedule.RACE else 0
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
