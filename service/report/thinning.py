"""How much of a large study the page draws: it must open in a browser, and stay quick to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.frontier import Point, Trial

Seen = TypeVar("Seen")

TRIALS = 300
"""So many trials of a study are drawn, unless the page has many studies."""

CURVES = 100
"""So many learning curves of a study are drawn, unless the page has many studies."""

LOOKS = 64
"""So many points of a curve are drawn."""

_TRIALS_ON_PAGE = 30_000
_CURVES_ON_PAGE = 4_000
_FEWEST = 8


@dataclass(frozen=True)
class Limits:
    """The most trials and curves that are drawn of each study."""

    trials: int = TRIALS
    curves: int = CURVES

    @classmethod
    def for_page(cls, studies: int) -> "Limits":
        """What each study of a page with so many may have."""
        share = max(studies, 1)
        return cls(
            min(TRIALS, max(_FEWEST, _TRIALS_ON_PAGE // share)),
            min(CURVES, max(_FEWEST, _CURVES_ON_PAGE // share)),
        )


def chosen(point: Point, trials: Sequence[Trial], most: int) -> Sequence[Trial]:
    """At most so many trials, by number: the best that reached the goal, a third at the most, and
    the others evenly over the search, so that each region of its space keeps its share."""
    if len(trials) <= most:
        return trials
    there = {trial.number for trial in trials}
    best = [finisher.number for finisher in point.finishers if finisher.number in there]
    kept = set(best[: max(most // 3, 1)])
    others = [trial.number for trial in trials if trial.number not in kept]
    left = most - len(kept)
    kept |= {others[n * len(others) // left] for n in range(left)}
    return [trial for trial in trials if trial.number in kept]


def evenly(line: Sequence[Seen], most: int = LOOKS) -> list[Seen]:
    """At most so many points of a curve, its first and its last among them."""
    if len(line) <= most:
        return list(line)
    return [line[n * (len(line) - 1) // (most - 1)] for n in range(most)]
