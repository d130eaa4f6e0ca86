"""The trials of a study that lie nearest to a point of its search space."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchfront.frontier.analysis.censoring import Needed, fewest, median_needed
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Reruns, Trial, Trials
from batchfront.vocabulary import Outcome
from batchfront.workload.lr_scaling import RULES, effective_rate, followed
from batchfront.workload.search_space import Choice, Dimension, SearchSpace, Value, dimensions

NEAREST = 3
"""So many trials nearest to a point are given."""


@dataclass(frozen=True)
class NearTrial:
    """A trial near a point.

    distance -- in the unit cube of the search space, where 1 is the whole range of a metaparameter,
                or another choice of one that has choices
    steps    -- to the goal if it reached it, or else how far it was trained
    """

    number: int
    distance: float
    outcome: str | None
    steps: float

    @classmethod
    def of(cls, trial: Trial, distance: float) -> "NearTrial":
        """A trial at this distance."""
        steps = trial.steps if trial.steps_to_target is None else trial.steps_to_target
        return cls(trial.number, distance, trial.outcome, steps)


def nearest_trials(
    space: SearchSpace, params: Mapping[str, Value], trials: Sequence[Trial]
) -> list[tuple[Trial, float]]:
    """The nearest few ended trials with their distances; of equals the lowest number first.

    Trials that failed, or that lack a searched metaparameter, are no neighbours.
    """
    ended = [trial for trial in trials if trial.outcome not in (None, Outcome.FAILED)]
    searched = dimensions(space)
    found = [(trial, _distance(searched, params, trial.params)) for trial in ended]
    known = [(trial, distance) for trial, distance in found if distance is not None]
    return sorted(known, key=lambda pair: (pair[1], pair[0].number))[:NEAREST]


def _distance(
    searched: Mapping[str, Dimension], one: Mapping[str, Value], other: Mapping[str, Value]
) -> float | None:
    """How far apart two points lie in the unit cube; None if one lacks a searched metaparameter."""
    total = 0.0
    for name, dimension in searched.items():
        if name not in one or name not in other:
            return None
        if isinstance(dimension, Choice):
            total += one[name] != other[name]
        else:
            total += (dimension.position(one[name]) - dimension.position(other[name])) ** 2
    return math.sqrt(total)


def outside(space: SearchSpace, params: Mapping[str, Value]) -> tuple[str, ...]:
    """The searched metaparameters of a point that lie outside the search space."""
    found = []
    for name, dimension in dimensions(space).items():
        if name not in params:
            continue
        if isinstance(dimension, Choice):
            inside = params[name] in dimension.values
        else:
            inside = -1e-9 <= dimension.position(params[name]) <= 1 + 1e-9
        if not inside:
            found.append(name)
    return tuple(found)


FAR = 0.25
"""From this distance on, a trial says little about a rule's point."""


@dataclass(frozen=True)
class Winner:
    """The best trial of a batch size: its rates, and what each rule would make of the first's.

    momentum, effective -- None if the winner has no momentum; effective = lr / (1 - momentum)
    ruled               -- rule to learning rate
    effective_ruled     -- rule to effective learning rate
    """

    batch_size: int
    trial: int
    steps: float
    learning_rate: float
    momentum: float | None
    effective: float | None
    ruled: Mapping[str, float]
    effective_ruled: Mapping[str, float]


@dataclass(frozen=True)
class Exponent:
    """The power of the batch size that the winners' rate goes with: 1 is linear, 0.5 square root.

    Least squares in log-log; `error` is its standard error, None for fewer than three points.
    """

    name: str
    value: float
    error: float | None
    points: int


@dataclass(frozen=True)
class Followed:
    """What following a rule from the smallest batch size would need at a batch size.

    params   -- the rule's point
    outside  -- searched metaparameters of it that lie outside the search space there
    source   -- `run`: the median of trials that ran it; `nearest`: the nearest trial of the search
    needed   -- steps to the goal; None if what stands for it never gets there
    loss     -- `needed.at_least` in multiples of the winner's steps; a bound unless `needed.exact`
    outcomes -- of what stands for it
    nearest  -- the nearest trials of the search, nearest first
    far      -- the nearest is so far away that it says little
    """

    rule: str
    batch_size: int
    params: Mapping[str, Value]
    outside: tuple[str, ...]
    source: str
    needed: Needed | None
    loss: float | None
    outcomes: Mapping[str, int]
    nearest: tuple[NearTrial, ...]
    far: bool


@dataclass(frozen=True)
class Rules:
    """The winners of a workload against the rules; empty, with a `reason`, if none can be told."""

    workload: str
    winners: tuple[Winner, ...]
    exponents: tuple[Exponent, ...]
    followed: tuple[Followed, ...]
    reason: str = ""


def rules(frontier: Frontier, trials: Trials, runs: Reruns) -> Rules:
    """The winners' rates, their exponents, and the steps lost by each rule at each batch size."""
    won = [point for point in frontier.reached if "learning_rate" in point.params]
    if not won:
        there = frontier.reached
        missing = "its points have no learning rate" if there else "the goal has not been reached"
        return Rules(frontier.workload, (), (), (), missing)
    anchor = won[0]
    lost = [
        _followed(rule, anchor, point, trials.get(point.study.id, ()), runs)
        for point in won[1:]
        for rule in RULES
    ]
    winners = tuple(_winner(anchor, point) for point in won)
    return Rules(frontier.workload, winners, _exponents(winners), tuple(lost))


def _winner(anchor: Point, point: Point) -> Winner:
    assert point.best is not None
    assert point.steps is not None
    ruled = {
        rule: followed(rule, anchor.params, point.batch_size / anchor.batch_size) for rule in RULES
    }
    effective = {rule: effective_rate(params) for rule, params in ruled.items()}
    momentum = point.params.get("momentum")
    return Winner(
        point.batch_size,
        point.best.number,
        point.steps,
        float(point.params["learning_rate"]),
        None if momentum is None else float(momentum),
        effective_rate(point.params),
        {rule: float(params["learning_rate"]) for rule, params in ruled.items()},
        {rule: rate for rule, rate in effective.items() if rate is not None},
    )


def _exponents(winners: Sequence[Winner]) -> tuple[Exponent, ...]:
    rates = {
        "learning rate": [(w.batch_size, w.learning_rate) for w in winners],
        "effective learning rate": [
            (w.batch_size, w.effective) for w in winners if w.effective is not None
        ],
    }
    fits = (_exponent(name, pairs) for name, pairs in rates.items())
    return tuple(fit for fit in fits if fit is not None)


def _exponent(name: str, pairs: Sequence[tuple[int, float]]) -> Exponent | None:
    """The slope of log rate over log batch size; None for fewer than two batch sizes."""
    x = [math.log(batch_size) for batch_size, rate in pairs if rate > 0]
    y = [math.log(rate) for _, rate in pairs if rate > 0]
    n = len(x)
    if len(set(x)) < 2:
        return None
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    if n < 3:
        return Exponent(name, slope, None, n)
    missed = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return Exponent(name, slope, math.sqrt(missed / (n - 2) / spread), n)


def _followed(
    rule: str, anchor: Point, point: Point, trials: Sequence[Trial], runs: Reruns
) -> Followed:
    params = followed(rule, anchor.params, point.batch_size / anchor.batch_size)
    space = point.space
    comparable = _comparable(space, params, trials)
    near = nearest_trials(space, params, comparable)
    ran = _ran(params, runs.get((rule, point.batch_size), ()))
    seeds = ran or (comparable if point.measured_elsewhere else [])
    standing = seeds or [trial for trial, _ in near[:1]]
    needed = median_needed(seeds) if seeds else fewest(standing)
    outcomes: dict[str, int] = {}
    for trial in standing:
        name = trial.outcome or "open"
        outcomes[name] = outcomes.get(name, 0) + 1
    return Followed(
        rule,
        point.batch_size,
        params,
        outside(space, params),
        "run" if seeds else "nearest",
        needed,
        needed.multiple(point.steps) if needed else None,
        outcomes,
        tuple(NearTrial.of(trial, distance) for trial, distance in near),
        not seeds and (not near or near[0][1] >= FAR),
    )


def _comparable(
    space: SearchSpace, params: Mapping[str, Value], trials: Sequence[Trial]
) -> list[Trial]:
    """Those whose distance tells of the rule: where no learning rate was searched, as in steps
    measured elsewhere, only those that ran at the rule's."""
    if "learning_rate" in dimensions(space):
        return list(trials)
    rate = float(params["learning_rate"])
    return [t for t in trials if math.isclose(float(t.params.get("learning_rate", 0)), rate)]


def _ran(params: Mapping[str, Value], runs: Sequence[Trial]) -> list[Trial]:
    """The runs of the rule's point, once all are done: those that end first are the fastest.

    Others ran what the rule made of an earlier winner; errors say nothing of the steps.
    """
    rate = float(params["learning_rate"])
    mine = [t for t in runs if math.isclose(float(t.params["learning_rate"]), rate)]
    if any(trial.outcome is None for trial in mine):
        return []
    return [trial for trial in mine if trial.outcome != Outcome.FAILED]
