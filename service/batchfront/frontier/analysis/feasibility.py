"""How the trials of a study ended, by learning rate and momentum: where training is feasible."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchfront.frontier.frontier import Point
from batchfront.frontier.queries import Trial
from batchfront.vocabulary import Outcome
from batchfront.workload.scaling_rules import effective_rate


@dataclass(frozen=True)
class TrialOutcome:
    """A trial as a mark of the plane of learning rate against 1 - momentum.

    outcome -- `open` while it is not done
    steps   -- how far it was trained; steps_to_target where it reached the goal
    """

    number: int
    learning_rate: float | None
    momentum_gap: float | None
    effective: float | None
    outcome: str
    steps: int
    steps_to_target: float | None


@dataclass(frozen=True)
class Band:
    """The ended trials of one decade, low <= rate < high, by outcome; `feasible` is the share that
    did not diverge."""

    low: float
    high: float
    trials: int
    feasible: float
    outcomes: Mapping[str, int]


@dataclass(frozen=True)
class Outcomes:
    """The trials of one batch size, and the bands of their effective learning rates, or of their
    learning rates (`by`) where there is no momentum; no bands, with a `reason`, without either."""

    batch_size: int
    trials: tuple[TrialOutcome, ...]
    by: str
    bands: tuple[Band, ...]
    reason: str = ""


def outcomes(point: Point, trials: Sequence[Trial]) -> Outcomes:
    """Where in the search space the trials of a batch size reached, missed or diverged."""
    marks = tuple(_mark(trial) for trial in trials if trial.params)
    by = "effective learning rate"
    rates = [(mark, mark.effective) for mark in marks if mark.outcome != "open"]
    if all(rate is None for _, rate in rates):
        by = "learning rate"
        rates = [(mark, mark.learning_rate) for mark, _ in rates]
    known = [(mark, rate) for mark, rate in rates if rate is not None and rate > 0]
    if known:
        return Outcomes(point.batch_size, marks, by, _bands(known))
    ended = any(trial.outcome is not None for trial in trials)
    missing = "its trials have no learning rate" if ended else "no trial has ended"
    return Outcomes(point.batch_size, marks, by, (), missing)


def _mark(trial: Trial) -> TrialOutcome:
    rate, momentum = trial.params.get("learning_rate"), trial.params.get("momentum")
    return TrialOutcome(
        trial.number,
        None if rate is None else float(rate),
        None if momentum is None else 1 - float(momentum),
        effective_rate(trial.params),
        trial.outcome or "open",
        trial.steps,
        trial.steps_to_target,
    )


def _bands(rates: Sequence[tuple[TrialOutcome, float]]) -> tuple[Band, ...]:
    counts: dict[int, dict[str, int]] = {}
    for mark, rate in rates:
        band = counts.setdefault(math.floor(math.log10(rate)), {})
        band[mark.outcome] = band.get(mark.outcome, 0) + 1
    return tuple(_band(decade, found) for decade, found in sorted(counts.items()))


def _band(decade: int, found: Mapping[str, int]) -> Band:
    trials = sum(found.values())
    feasible = 1 - found.get(Outcome.DIVERGED, 0) / trials
    return Band(10.0**decade, 10.0 ** (decade + 1), trials, feasible, found)
