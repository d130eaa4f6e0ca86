"""The commands that make the same searches again, in a database of their own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from batchfront.errors import UsageError
from batchfront.options import arguments, options_of
from batchfront.plan.options import AUTO, SearchOptions, settle
from batchfront.store.commands import command
from batchfront.store.database import parse_url
from batchfront.study.study import Study
from batchfront.vocabulary import AfterGoal, Evaluate, Sampler

DATABASE = "sqlite:///again.db"
"""Where the commands search: a database that holds the same already would be left as it is."""


def commands_again(studies: Sequence[Study]) -> list[str]:
    """The commands, in backticks, that plan and run these searches of one workload anew, each those
    batch sizes that were searched alike; none of those whose code isn't known.

    Options that are as they are by default are left out. Raises UsageError for what no options of
    today say.
    """
    alike: dict[SearchOptions, list[int]] = {}
    for study in studies:
        if study.spec and study.sampler != Sampler.IMPORTED:
            alike.setdefault(_said(study), []).append(study.batch_size)
    first = studies[0]
    subject = (first.spec, *(() if first.variant is None else ("--variant", first.variant)))
    return [
        command(
            parse_url(DATABASE),
            "run",
            *subject,
            *arguments(replace(_shortened(said), batch_sizes=tuple(sorted(sizes)))),
        )
        for said, sizes in alike.items()
    ]


def _said(study: Study) -> SearchOptions:
    """All that a search was planned with, but for its batch size."""
    auto, one_at_a_time = study.max_trials is not None, study.generation == 1
    return SearchOptions(
        trials=AUTO if auto else study.trials,
        until=study.until,
        max_trials=study.max_trials,
        seed=study.seed,
        goal=study.goal_value,
        precision=study.precision,
        count=study.count,
        sampler=study.sampler,
        together=None if one_at_a_time else study.together,
        generation=1 if one_at_a_time else None,  # which --together 1 means otherwise
        finishers=study.finishers,
        after_goal=AfterGoal.CONTINUE if study.continuing else None,
        continuing=study.continuing or None,
        warm_start=study.warm_start or None,
        extrapolate=study.extrapolate or None,
        evaluate=Evaluate.SPARSE if study.sparse else None,
    )


def _shortened(said: SearchOptions) -> SearchOptions:
    """The same without the options that needn't be said."""
    meant = _meant(said)
    for name in options_of(SearchOptions):
        without = replace(said, **{name: None})
        with suppress(UsageError):  # of an option that another one needs
            said = without if _meant(without) == meant else said
    return said


def _meant(said: SearchOptions) -> dict[str, Any]:
    """What a search is planned with: of how many race together, what that comes to."""
    return {name: value for name, value in settle(said, ()).items() if name != "together"}
