"""batchfront.frontier.reruns"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from sqlalchemy import select

from batchfront.frontier.frontier import Frontier, Point
from batchfront.median import median
from batchfront.store.database import Storage
from batchfront.store.schema import reached, slots, studies
from batchfront.study.study import Filter
from batchfront.workload.search_space import Metaparameters


@dataclass(frozen=True)
class Candidate:
    """What is to be run again: the number of a search's trial, and metaparameters."""

    trial: int
    params: Metaparameters


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Metaparameters run with several seeds.

    params    -- of all of them
    steps     -- steps to target of those that reached the goal, ascending
    unreached -- how many ended without: by the study's rules, or at the end of their step budget
    failed    -- how many ended with an error, which says nothing of their steps
    open      -- how many are not done yet
    """

    params: Metaparameters
    steps: tuple[int, ...]
    unreached: int
    failed: int
    open: int

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
    def low(self) -> int | None:
        """The fewest steps; None if no seed has reached the goal, and until all are done."""
        return None if self.open or not self.steps else self.steps[0]

    @property
    def high(self) -> int | None:
        """The most steps; None if some seed has not reached the goal, and until all are done."""
        return None if self.open or self.unreached or not self.steps else self.steps[-1]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        shown = ("steps", "unreached", "failed", "open", "median", "low", "high")
        return {"params": dict(self.params), **{name: getattr(self, name) for name in shown}}


def _ended(rows: Sequence[Any]) -> dict[str, Any]:
    steps = sorted(row.steps_to_target for row in rows if row.steps_to_target is not None)
    others = [row.outcome for row in rows if row.steps_to_target is None]
    failed, unfinished = others.count("failed"), others.count(None)
    unreached = len(others) - failed - unfinished
    return {"steps": tuple(steps), "unreached": unreached, "failed": failed, "open": unfinished}


def load_repeats(
    storage: Storage, workload: str, purpose: str
) -> dict[int, list[tuple[Candidate, Mapping[str, Any]]]]:
    """By batch size, each candidate with how its trials ended, as the fields of a `Repeated`; in
    the order in which they were first planned. One query."""
    wanted = Filter((workload,), purposes=(purpose,))
    columns = (slots.c.repeats, slots.c.params, slots.c.steps_to_target, slots.c.outcome)
    query = (
        select(studies.c.batch_size, *columns)
        .select_from(slots.join(studies))
        .where(wanted.clause())
        .order_by(studies.c.batch_size, slots.c.number)
    )
    found: dict[int, dict[tuple[int, str], list[Any]]] = {}
    with storage.read() as conn:
        for row in conn.execute(query):
            mine = found.setdefault(row.batch_size, {})
            mine.setdefault((row.repeats, row.params), []).append(row)
    return {
        batch_size: [
            (Candidate(trial, params := json.loads(text)), {"params": params, **_ended(rows)})
            for (trial, text), rows in mine.items()
        ]
        for batch_size, mine in found.items()
    }


PURPOSE = "confirm"


@dataclass(frozen=True, kw_only=True)
class Confirmation(Repeated):
    """One of the best trials of a search, run again.

    trial -- its number in the search
    best  -- the steps to target that it needed there
    """

    trial: int
    best: int

    @property
    def ratio(self) -> float | None:
        """The median as a multiple of the steps in the search: how lucky that trial was."""
        return None if self.median is None else self.median / self.best

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"trial": self.trial, "best": self.best, **super().to_dict(), "ratio": self.ratio}


def load_confirmations(storage: Storage, workload: str) -> dict[int, tuple[Confirmation, ...]]:
    """By batch size, the trials that were run again, by their place in the search. Two queries."""
    searched = (
        select(studies.c.batch_size, slots.c.number, slots.c.steps_to_target)
        .select_from(slots.join(studies))
        .where(Filter((workload,), purposes=("search",)).clause(), reached)
    )
    with storage.read() as conn:
        best = {(batch_size, n): steps for batch_size, n, steps in conn.execute(searched)}
    confirmed = {}
    for batch_size, found in load_repeats(storage, workload, PURPOSE).items():
        mine = [
            Confirmation(trial=one.trial, best=best[batch_size, one.trial], **ended)
            for one, ended in found
        ]
        confirmed[batch_size] = tuple(sorted(mine, key=lambda c: (c.best, c.trial)))
    return confirmed


def steadiest(confirmations: Sequence[Confirmation]) -> Confirmation | None:
    """The one with the smallest median, of equals the one that was better in the search; None
    while some of them is not done, or if none has a median."""
    if any(confirmation.open for confirmation in confirmations):
        return None
    known = [c for c in confirmations if c.median is not None]
    return min(known, key=lambda c: c.median or 0.0, default=None)


@dataclass(frozen=True, kw_only=True)
class RuleRun(Repeated):
    """A rule followed at one batch size.

    trial -- the number of the winner that it starts from, in the search of the smallest batch size
    """

    trial: int

    @property
    def learning_rate(self) -> float:
        """As the rule has it."""
        return float(self.params["learning_rate"])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"trial": self.trial, "learning_rate": self.learning_rate, **super().to_dict()}


def anchor(frontier: Frontier) -> Point | None:
    """The point that a rule starts from: the smallest searched batch size with a winner."""
    searched = (point for point in frontier.reached if point.study.purpose == "search")
    return next(searched, None)


def load_rule_runs(storage: Storage, workload: str, rule: str) -> dict[int, RuleRun]:
    """By batch size, the runs that followed a rule, from the anchor planned last. One query."""
    return {
        batch_size: RuleRun(trial=candidate.trial, **ended)
        for batch_size, found in load_repeats(storage, workload, rule).items()
        for candidate, ended in found[-1:]
    }
