"""What a trial that did not reach the goal still says about the steps that it would have needed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from batchfront.frontier.queries import Trial
from batchfront.median import median
from batchfront.vocabulary import Outcome

GIVEN_UP = (Outcome.DIVERGED, Outcome.STALLED, Outcome.FAILED)
"""Outcomes of trials that count as never reaching the goal, by the rules of their study."""


def may_go_on(trial: Trial) -> bool:
    """Whether the trial, trained for longer, might have got better or still may."""
    return trial.outcome not in GIVEN_UP


@dataclass(frozen=True)
class Needed:
    """Steps to the goal, as far as they are known: somewhere in [at_least, at_most].

    at_least -- no fewer than this
    at_most  -- no more than this; None if none was seen to get there
    """

    at_least: float
    at_most: float | None

    @property
    def exact(self) -> bool:
        return self.at_least == self.at_most

    def multiple(self, steps: float | None) -> float | None:
        """`at_least` in multiples of these steps; None if there are none, or 0 of them."""
        return self.at_least / steps if steps else None


def fewest(trials: Iterable[Trial]) -> Needed | None:
    """The fewest steps to target among trials; None if all were given up, or have not ended.

    One that was capped or dropped, or that spent its step budget, needs more than the steps it had.
    """
    reached: list[float] = []
    missed: list[float] = []
    for trial in trials:
        if trial.steps_to_target is not None:
            reached.append(trial.steps_to_target)
        elif trial.outcome in (Outcome.CAPPED, Outcome.DROPPED, Outcome.EXHAUSTED):
            missed.append(trial.steps)
    if not reached and not missed:
        return None
    return Needed(min(reached + missed), min(reached, default=None))


def median_needed(trials: Sequence[Trial]) -> Needed | None:
    """The median of the steps to target of one trial or more, all ended.

    One that did not reach the goal counts as infinitely many steps. Where that makes the median
    infinite it is a bound: the median if those that might have gone on had got there as they
    stopped; None if those that were given up make even that infinite.
    """
    middle = median(inf if t.steps_to_target is None else t.steps_to_target for t in trials)
    if isfinite(middle):
        return Needed(middle, middle)
    bound = median(_no_fewer(trial) for trial in trials)
    return Needed(bound, None) if isfinite(bound) else None


def _no_fewer(trial: Trial) -> float:
    """What a trial needs at least."""
    if trial.steps_to_target is not None:
        return trial.steps_to_target
    return trial.steps if may_go_on(trial) else inf


def stopped_short(trials: Iterable[Trial], steps: float) -> dict[str, int]:
    """Trials that might have gone on but have not been trained for so many steps: outcome to
    number; those not done yet are `open`."""
    found: dict[str, int] = {}
    for trial in trials:
        if may_go_on(trial) and (trial.outcome is None or trial.steps < steps):
            outcome = trial.outcome or "open"
            found[outcome] = found.get(outcome, 0) + 1
    return found
