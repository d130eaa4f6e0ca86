"""What the measured points say of an answer by themselves, whatever the form of the curve.

Only what lies beyond their noise: a floor and a cap of log batch size, infinite where the points
say nothing. Savings are taken to diminish with the batch size, and nothing else.
"""

from dataclasses import dataclass
from itertools import combinations
from math import inf, log

import numpy as np

from service.scaling.forms import Array


@dataclass(frozen=True)
class Bracket:
    """The range of logs in which an answer does not contradict the points."""

    floor: float = -inf
    cap: float = inf

    def capped(self, cap: float) -> "Bracket":
        """The same, and no more than this."""
        return Bracket(min(self.floor, cap), min(self.cap, cap))


ANYTHING = Bracket()
"""Where the points by themselves say nothing."""


def useful_bracket(log_batch: Array, log_steps: Array, share: float, margin: float) -> Bracket:
    """Of the batch size beyond which a doubling saves less than `share` of the steps.

    margin -- what log steps of two points may differ by from noise alone

    From where two points lie apart by more than that share a doubling, a doubling still saves it;
    and one does no more before the end of a stretch that saves less, if all the rest does so too.
    """
    floor, cap = -inf, inf
    end = len(log_batch) - 1
    need = -np.log1p(-share) / log(2)

    def saves_beyond(first: int, last: int) -> float:
        far = log_batch[last] - log_batch[first]
        return float(log_steps[first] - log_steps[last] - need * far)

    for first, last in combinations(range(len(log_batch)), 2):
        if saves_beyond(first, last) > margin:
            floor = max(floor, min(log_batch[first], log_batch[last] - log(2)))
        elif max(saves_beyond(first, last), saves_beyond(first, end)) < -margin:
            far = log_batch[last] - log_batch[first]
            cap = min(cap, log_batch[last] - (log(2) if far >= log(2) * 0.999 else 0))
    return Bracket(min(floor, cap), max(floor, cap))


def perfect_bracket(log_batch: Array, log_steps: Array, extra: float, margin: float) -> Bracket:
    """Of the largest batch size that takes at most 1 + `extra` times the examples of the smallest:
    from the largest one that does so on to where all larger ones take more."""
    more = log_batch + log_steps - log_batch[0] - log_steps[0] - np.log1p(extra)
    within = np.flatnonzero(more < -margin)
    not_over = np.flatnonzero(more <= margin)
    floor = float(log_batch[within[-1]]) if len(within) else -inf
    beyond = int(not_over[-1]) + 1 if len(not_over) else 0
    return Bracket(floor, float(log_batch[beyond]) if beyond < len(log_batch) else inf)
