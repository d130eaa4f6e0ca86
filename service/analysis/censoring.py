"""What a trial that did not reach the goal still says about the steps that it would have needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.frontier import Trial

GIVEN_UP = ("diverged", "stalled", "failed")
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

    at_least: int
    at_most: int | None

    @property
    def exact(self) -> bool:
        return self.at_least == self.at_most

    def multiple(self, steps: int | None) -> float | None:
        """`at_least` in multiples of these steps; None if there are none, or 0 of them."""
        return self.at_least / steps if steps else None


def fewest(trials: Iterable[Trial]) -> Needed | None:
    """The fewest steps to target among trials; None if all were given up, or have not ended.

    One that was capped or dropped, or that spent its step budget, needs more than the steps it had.
    """
    reached, missed = [], []
    for trial in trials:
        if trial.steps_to_target is not None:
            reached.append(trial.steps_to_target)
        elif trial.outcome in ("capped", "dropped", "exhausted"):
            missed.append(trial.steps)
    if not reached and not missed:
        return None
    return Needed(min(reached + missed), min(reached, default=None))


def median(trials: Sequence[Trial]) -> Needed | None:
    """The lower median of steps to target of one trial or more, all ended, those without counted as
    longer.

    Where the median is a trial that did not reach the goal, it is a bound: the fewest steps that
    any of those was trained for; None if all of those were given up.
    """
    reached = sorted(t.steps_to_target for t in trials if t.steps_to_target is not None)
    middle = (len(trials) - 1) // 2
    if middle < len(reached):
        return Needed(reached[middle], reached[middle])
    missed = [t.steps for t in trials if t.steps_to_target is None and may_go_on(t)]
    return Needed(min(missed), None) if missed else None


def stopped_short(trials: Iterable[Trial], steps: int) -> dict[str, int]:
    """Trials that might have gone on but have not been trained for so many steps: outcome to
    number; those not done yet are `open`."""
    found: dict[str, int] = {}
    for trial in trials:
        if may_go_on(trial) and (trial.outcome is None or trial.steps < steps):
            outcome = trial.outcome or "open"
            found[outcome] = found.get(outcome, 0) + 1
    return found


def in_words(outcomes: Mapping[str, int]) -> str:
    """Outcomes and their numbers: "1 reached, 31 capped"."""
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
