"""What it would cost to follow a scaling rule from the smallest batch size instead of tuning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchfront.frontier.analysis.as_raced import as_raced
from batchfront.frontier.analysis.censoring import Needed, fewest, median_needed
from batchfront.frontier.analysis.exponents import Exponents, exponents
from batchfront.frontier.analysis.nearest import NearTrial, nearest_trials, outside
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Reruns, Trial, Trials
from batchfront.vocabulary import Outcome
from batchfront.workload.scaling_rules import RULES, ScalingRule, effective_rate, optimizer_of
from batchfront.workload.search_space import SearchSpace, Value, dimensions

FAR = 0.25
"""From this distance on, a trial says little about a rule's point."""


@dataclass(frozen=True)
class Winner:
    """The best trial of a batch size, and what each rule would make of the first one's.

    learning_rate, momentum, effective -- None where it has none; effective = lr / (1 - momentum)
    metaparameters  -- those that some rule here scales
    ruled           -- rule to what it makes of those that it scales
    effective_ruled -- rule that scales the learning rate to the effective one
    """

    batch_size: int
    trial: int
    steps: float
    learning_rate: float | None
    momentum: float | None
    effective: float | None
    metaparameters: Mapping[str, Value]
    ruled: Mapping[str, Mapping[str, Value]]
    effective_ruled: Mapping[str, float]


@dataclass(frozen=True)
class Followed:
    """What following a rule from the smallest batch size would need at a batch size.

    params   -- the rule's point
    scaled   -- what of it the rule scales
    clipped  -- of these, what would go beyond what it can be
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
    scaled: tuple[str, ...]
    clipped: tuple[str, ...]
    outside: tuple[str, ...]
    source: str
    needed: Needed | None
    loss: float | None
    outcomes: Mapping[str, int]
    nearest: tuple[NearTrial, ...]
    far: bool


@dataclass(frozen=True)
class Rules:
    """The winners of a workload against the rules; empty, with a `reason`, if none can be told.

    exponents -- how each searched metaparameter goes with the batch size
    refused   -- rules for such an optimizer that can't be followed here, to why, as follows a name
    """

    workload: str
    winners: tuple[Winner, ...]
    exponents: tuple[Exponents, ...]
    followed: tuple[Followed, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that can be followed, in their order."""
        return tuple(self.winners[0].ruled) if self.winners else ()


def rules(frontier: Frontier, trials: Trials, runs: Reruns) -> Rules:
    """The winners' metaparameters, the exponents with which they go, and the steps lost by each
    rule at each batch size."""
    won = frontier.reached
    if not won:
        return Rules(frontier.workload, (), (), (), reason="the goal has not been reached")
    anchor = won[0]
    trials, _ = as_raced(frontier, trials)
    followable, refused = _applied(anchor)
    measured = exponents(won, trials)
    if not followable and not measured:
        missing = "its points have no learning rate"
        return Rules(frontier.workload, (), (), (), refused, missing)
    lost = [
        _followed(rule, anchor, point, trials.get(point.study.id, ()), runs)
        for point in won[1:]
        for rule in followable
    ]
    winners = tuple(_winner(followable, anchor, point) for point in won)
    return Rules(frontier.workload, winners, measured, tuple(lost), refused)


def _applied(anchor: Point) -> tuple[list[ScalingRule], dict[str, str]]:
    """The rules that can be followed from a point, and why others of its optimizer can't."""
    optimizer = optimizer_of(anchor.study.identity, anchor.params)
    followable, refused = [], {}
    for name, rule in RULES.items():
        why_not = rule.refusal(optimizer, anchor.space, anchor.params)
        if why_not is None:
            followable.append(rule)
        elif rule.speaks_of(optimizer, anchor.params):
            refused[name] = why_not
    return followable, refused


def _winner(followable: Sequence[ScalingRule], anchor: Point, point: Point) -> Winner:
    assert point.best is not None
    assert point.steps is not None
    ratio = point.batch_size / anchor.batch_size
    ruled = {rule.name: rule.followed(anchor.params, ratio) for rule in followable}
    effective = {
        rule.name: effective_rate(ruled[rule.name])
        for rule in followable
        if "learning_rate" in rule.powers
    }
    scaled = dict.fromkeys(name for rule in followable for name in rule.powers)
    rate, momentum = point.params.get("learning_rate"), point.params.get("momentum")
    return Winner(
        point.batch_size,
        point.best.number,
        point.steps,
        None if rate is None else float(rate),
        None if momentum is None else float(momentum),
        effective_rate(point.params),
        {name: point.params[name] for name in scaled if name in point.params},
        {rule.name: {n: ruled[rule.name][n] for n in rule.powers} for rule in followable},
        {rule: rate for rule, rate in effective.items() if rate is not None},
    )


def _followed(
    rule: ScalingRule, anchor: Point, point: Point, trials: Sequence[Trial], runs: Reruns
) -> Followed:
    ratio = point.batch_size / anchor.batch_size
    params = rule.followed(anchor.params, ratio)
    space = point.space
    comparable = _comparable(rule, space, params, trials)
    near = nearest_trials(space, params, comparable)
    ran = _ran(params, runs.get((rule.name, point.batch_size), ()))
    seeds = ran or (comparable if point.measured_elsewhere else [])
    standing = seeds or [trial for trial, _ in near[:1]]
    needed = median_needed(seeds) if seeds else fewest(standing)
    outcomes: dict[str, int] = {}
    for trial in standing:
        name = trial.outcome or "open"
        outcomes[name] = outcomes.get(name, 0) + 1
    return Followed(
        rule.name,
        point.batch_size,
        params,
        tuple(rule.powers),
        rule.clipped(anchor.params, ratio),
        outside(space, params),
        "run" if seeds else "nearest",
        needed,
        needed.multiple(point.steps) if needed else None,
        outcomes,
        tuple(NearTrial.of(trial, distance) for trial, distance in near),
        not seeds and (not near or near[0][1] >= FAR),
    )


def _comparable(
    rule: ScalingRule,
    space: SearchSpace,
    params: Mapping[str, Value],
    trials: Sequence[Trial],
) -> list[Trial]:
    """Those whose distance tells of the rule: where something that it scales was not searched, as
    in steps measured elsewhere, only those that ran at the rule's."""
    fixed = [name for name in rule.powers if name not in dimensions(space)]
    return [trial for trial in trials if _at({name: params[name] for name in fixed}, trial)]


def _ran(params: Mapping[str, Value], runs: Sequence[Trial]) -> list[Trial]:
    """The runs of the rule's point, once all are done: those that end first are the fastest.

    Others ran what the rule made of an earlier winner; errors say nothing of the steps.
    """
    mine = [trial for trial in runs if _at(params, trial)]
    if any(trial.outcome is None for trial in mine):
        return []
    return [trial for trial in mine if trial.outcome != Outcome.FAILED]


def _at(params: Mapping[str, Value], trial: Trial) -> bool:
    """Whether a trial ran at these metaparameters."""
    return all(name in trial.params and _same(trial.params[name], params[name]) for name in params)


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(float(one), float(other))
