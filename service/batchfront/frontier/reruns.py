"""Trials run again with fresh seeds: the best of a search, and what a scaling rule makes of one.

A search's winner is the luckiest of its trials; the median of its reruns is what to expect of its
metaparameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Self

from batchfront.frontier.frontier import Frontier, Point, load_frontier
from batchfront.frontier.queries import Reruns, Trial, load_reruns
from batchfront.median import median
from batchfront.store.snapshot import Source, snapshot
from batchfront.vocabulary import Outcome, Purpose
from batchfront.workload.scaling_rules import RULES
from batchfront.workload.search_space import Metaparameters

PURPOSE = Purpose.CONFIRM
"""Of the studies that run the best trials of a search again."""


@dataclass(frozen=True)
class Candidate:
    """What is to be run again: the number of a search's trial, and metaparameters."""

    trial: int
    params: Metaparameters


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """Metaparameters run with several seeds.

    trial     -- the number in the search of the trial that they are of, or are scaled from
    params    -- of all of them
    steps     -- steps to target of those that reached the goal, ascending
    unreached -- how many ended without: by the study's rules, or at the end of their step budget
    failed    -- how many ended with an error, which says nothing of their steps
    open      -- how many are not done yet
    """

    trial: int
    params: Metaparameters
    steps: tuple[float, ...]
    unreached: int
    failed: int
    open: int

    @classmethod
    def of(cls, trials: Sequence[Trial], **fields: Any) -> Self:
        """How these trials, at least one, all of the same metaparameters, ended."""
        steps = [t.steps_to_target for t in trials if t.steps_to_target is not None]
        others = [trial.outcome for trial in trials if trial.steps_to_target is None]
        failed, unfinished = others.count(Outcome.FAILED), others.count(None)
        assert trials[0].rerun_of is not None
        return cls(
            trial=trials[0].rerun_of,
            params=trials[0].params,
            steps=tuple(sorted(steps)),
            unreached=len(others) - failed - unfinished,
            failed=failed,
            open=unfinished,
            **fields,
        )

    @property
    def seeds(self) -> int:
        """How many have ended, one way or the other, but for those that failed."""
        return len(self.steps) + self.unreached

    @property
    def median(self) -> float | None:
        """Of the steps of all seeds, infinitely many where one has not reached the goal. None where
        it is infinite, and until all are done: those that end first are the fastest."""
        if self.open or not self.seeds:
            return None
        middle = median([*self.steps, *[inf] * self.unreached])
        return middle if isfinite(middle) else None

    @property
    def never(self) -> bool:
        """Whether all are done, and the median of them has not reached the goal."""
        return not self.open and self.seeds > 0 and self.median is None

    @property
    def low(self) -> float | None:
        """The fewest steps; None if no seed has reached the goal, and until all are done."""
        return None if self.open or not self.steps else self.steps[0]

    @property
    def high(self) -> float | None:
        """The most steps; None if some seed has not reached the goal, and until all are done."""
        return None if self.open or self.unreached or not self.steps else self.steps[-1]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        shown = ("steps", "unreached", "failed", "open", "median", "low", "high")
        return {"params": dict(self.params), **{name: getattr(self, name) for name in shown}}


@dataclass(frozen=True, kw_only=True)
class Confirmation(Rerun):
    """One of the best trials of a search, run again; `best` is the steps to target that it needed
    there."""

    best: float

    @property
    def ratio(self) -> float | None:
        """The median as a multiple of the steps in the search: how lucky that trial was."""
        return None if self.median is None else self.median / self.best

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"trial": self.trial, "best": self.best, **super().to_dict(), "ratio": self.ratio}


Confirmations = Mapping[int, Sequence[Confirmation]]
"""Batch size to the trials that were run again, the best one of the search first."""


@dataclass(frozen=True, kw_only=True)
class RuleRun(Rerun):
    """A scaling rule, by its name, followed at one batch size from the winner of the smallest."""

    rule: str

    @property
    def scaled(self) -> Metaparameters:
        """The metaparameters that the rule scales, as it has them."""
        return {name: self.params[name] for name in RULES[self.rule].powers if name in self.params}

    @property
    def clipped(self) -> tuple[str, ...]:
        """Those of them that are as far as they can go."""
        powers = RULES[self.rule].powers
        return tuple(
            name
            for name, value in self.scaled.items()
            if value == powers[name].quantity.value(powers[name].quantity.most)
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        said = {"trial": self.trial, **self.scaled, "clipped": list(self.clipped)}
        return {**said, **super().to_dict()}


def anchor(frontier: Frontier) -> Point | None:
    """The point that a rule starts from: the smallest searched batch size with a winner."""
    searched = (point for point in frontier.reached if point.study.purpose == Purpose.SEARCH)
    return next(searched, None)


def load_confirmations(source: Source, workload: str) -> dict[int, tuple[Confirmation, ...]]:
    """By batch size, the trials of a workload that were run again, by their place in the search."""
    with snapshot(source) as moment:
        return confirmations(load_frontier(moment, workload), load_reruns(moment, workload))


def confirmations(frontier: Frontier, reruns: Reruns) -> dict[int, tuple[Confirmation, ...]]:
    """By batch size, the trials that were run again, by their place in the search."""
    found = {}
    for point in frontier.points:
        best = {finisher.number: finisher.steps for finisher in point.finishers}
        same = _same(reruns.get((PURPOSE, point.batch_size), ()))
        mine = [
            Confirmation.of(trials, best=best[number])
            for trials in same
            if (number := trials[0].rerun_of) is not None
        ]
        if mine:
            found[point.batch_size] = tuple(sorted(mine, key=lambda c: (c.best, c.trial)))
    return found


def steadiest(found: Sequence[Confirmation]) -> Confirmation | None:
    """The one with the smallest median, of equals the one that was better in the search; None
    while some of them is not done, or if none has a median."""
    if any(confirmation.open for confirmation in found):
        return None
    known = [c for c in found if c.median is not None]
    return min(known, key=lambda c: c.median or 0.0, default=None)


def rule_runs(rule: str, reruns: Reruns) -> dict[int, RuleRun]:
    """By batch size, the runs that followed a rule, from the anchor that was planned last."""
    return {
        batch_size: RuleRun.of(_same(trials)[-1], rule=rule)
        for (purpose, batch_size), trials in sorted(reruns.items())
        if purpose == rule
    }


def _same(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Those that run the same again, in the order in which they were first planned."""
    found: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.rerun_of, *trial.params.items()), []).append(trial)
    return list(found.values())
