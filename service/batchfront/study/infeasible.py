"""Searches of which no trial has trained: what their space may lack."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from batchfront.phrases import listed
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome, Purpose
from batchfront.workload.search_space import dimensions

_GIVEN_UP = (Outcome.DIVERGED, Outcome.STALLED)


class Ended(NamedTuple):
    """A study, how those of its trials ended that have, and how many trials it has."""

    study: Study
    outcomes: Mapping[str, int]
    trials: int


def nothing_trains(studies: Iterable[Ended]) -> list[str]:
    """Say of which searches all trials so far have diverged or stalled, and what to change in their
    space; a sentence for those that are alike.

    A race has to be over to be one of them, a search in generations, or rounds, the first of these:
    a trial that diverges ends before those that train.
    """
    alike: dict[tuple[str, str], list[Ended]] = {}
    for one in studies:
        if _is_lost(one):
            alike.setdefault((_ended(one), _advice(one.study)), []).append(one)
    return [
        f"At batch size{'s' if len(same) > 1 else ''} "
        f"{listed([f'{one.study.batch_size:,}' for one in same])} all "
        f"{sum(sum(one.outcomes.values()) for one in same):,} trials so far {ended}: {advice}."
        for (ended, advice), same in alike.items()
    ]


def are_given_up(outcomes: Mapping[str, int]) -> bool:
    """Whether trials have ended, and all of them diverged or stalled."""
    return bool(outcomes) and set(outcomes) <= {*_GIVEN_UP}


def _is_lost(one: Ended) -> bool:
    enough = min(one.study.generation or one.trials, one.trials)
    if one.study.purpose != Purpose.SEARCH or not one.study.spec:
        return False
    return are_given_up(one.outcomes) and sum(one.outcomes.values()) >= enough


def _ended(one: Ended) -> str:
    return " or ".join(outcome for outcome in _GIVEN_UP if one.outcomes.get(outcome))


def _advice(study: Study) -> str:
    searched = dimensions(study.space)
    rate = searched.get("learning_rate")
    if rate is None:
        return f"change the search space, {', '.join(f'{n} {d}' for n, d in searched.items())}"
    return f"lower the range of learning_rate, {rate}, or its upper end"
