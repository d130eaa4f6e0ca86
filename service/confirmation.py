"""The best trials of each search run again with fresh seeds: their median beside the single best.

The winner of a search is the luckiest of many trials. How many steps its metaparameters need on
other seeds, and whether those of a runner-up need fewer, only running them again can tell.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_

from service.database import Storage
from service.errors import UsageError
from service.frontier import load_frontier, searched_points
from service.imported import refuse_imported
from service.repeats import (
    Candidate,
    PlannedRepeats,
    Repeated,
    load_repeats,
    plan_repeats,
)
from service.schema import reached, slots, studies
from service.search_space import Metaparameters
from service.slots import Filter

PURPOSE = "confirm"
DEFAULT_SEEDS, DEFAULT_CANDIDATES = 5, 2


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


def plan_confirmations(
    storage: Storage,
    workload: str,
    *,
    seeds: int = DEFAULT_SEEDS,
    candidates: int = DEFAULT_CANDIDATES,
    batch_sizes: Sequence[int] | None = None,
) -> PlannedRepeats:
    """Have the best trials at each batch size that has a winner run with so many seeds.

    candidates -- how many of the trials that reached the goal, the winner first

    Planning again adds only what is missing. Raises UsageError if there is no winner.
    """
    if candidates < 1:
        raise UsageError(f"--candidates {candidates}: must be at least 1")
    frontier = load_frontier(storage, workload)
    refuse_imported(storage, (point.study for point in frontier.points))
    points = searched_points(frontier, batch_sizes)
    best = {p.study.id: [f.number for f in p.finishers[:candidates]] for p in points if p.best}
    if not best:
        raise UsageError(f"{workload}: no trial has reached the goal yet, so there is no winner")
    params = _params(storage, best)
    wanted = [
        (p.study, [Candidate(n, params[p.study.id, n]) for n in best[p.study.id]])
        for p in points
        if p.best
    ]
    return plan_repeats(storage, PURPOSE, wanted, seeds)


def _params(
    storage: Storage, numbers: Mapping[int, Sequence[int]]
) -> dict[tuple[int, int], Metaparameters]:
    """The metaparameters of trials, by study and number. One query."""
    meant = [(study_id, n) for study_id, mine in numbers.items() for n in mine]
    query = select(slots).where(tuple_(slots.c.study_id, slots.c.number).in_(meant))
    with storage.read() as conn:
        return {(row.study_id, row.number): json.loads(row.params) for row in conn.execute(query)}


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
