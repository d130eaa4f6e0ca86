"""A finished search as order statistics: the steps of its best trials, and how many it drew."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from batchfront.vocabulary import SEARCHES, Count, Outcome

if TYPE_CHECKING:
    from batchfront.frontier.frontier import Point


@dataclass(frozen=True)
class Sample:
    """A finished search as order statistics.

    lowest -- steps to target of its best trials, ascending, as far as no other can lie between
    trials -- how many it drew; those beyond `lowest` took at least as many steps, or never passed
    """

    lowest: tuple[float, ...]
    trials: int


def sample(point: "Point") -> Sample | None:
    """A point's trials as order statistics; None while some are not done, or none has passed, or
    they are not independent samples of a search: where the later were sampled from what the earlier
    had shown, the best of them says nothing of how often such a one is found.

    Failed trials count as never sampled, and so do diverged ones where the budget counts feasible
    trials. Dropped ones count as slower than the winner, as the option that dropped them supposes.
    Of more finishers than a race waits for, as when two workers' heats overlap, only so many are
    known to be the best.
    """
    study, outcomes = point.study, point.outcomes
    if study.purpose != SEARCHES[0] or study.adaptive:
        return None
    if not point.finishers or outcomes.get("open"):
        return None
    left_out = {Outcome.FAILED} | ({Outcome.DIVERGED} if study.count == Count.FEASIBLE else set())
    trials = sum(number for outcome, number in outcomes.items() if outcome not in left_out)
    ended = outcomes.get(Outcome.CAPPED) or outcomes.get(Outcome.DROPPED)
    known = study.finishers if study.finishers and ended else trials
    return Sample(tuple(finisher.steps for finisher in point.finishers[:known]), trials)


def check(finishers: Sequence[float], trials: int) -> None:
    """Raise ValueError unless these can be the lowest order statistics of so many trials."""
    if not finishers:
        raise ValueError("no trial has passed the goal, so there is no best one")
    if len(finishers) > trials:
        raise ValueError(f"{len(finishers)} finishers of {trials} trials")
    if any(a > b for a, b in pairwise(finishers)):
        raise ValueError("finishers must come in ascending order of their steps")
