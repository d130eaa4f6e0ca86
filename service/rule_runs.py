"""What following a rule for the learning rate costs: the winner of the smallest batch size, its
learning rate scaled by the rule, run at every other batch size instead of a search there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.confirmation import DEFAULT_SEEDS
from service.database import Storage
from service.errors import UsageError
from service.frontier import Frontier, Point, load_frontier, searched_points
from service.imported import refuse_imported
from service.repeats import (
    Candidate,
    PlannedRepeats,
    Repeated,
    load_repeats,
    plan_repeats,
)
from service.scaling_rules import followed


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


def plan_rule(
    storage: Storage,
    workload: str,
    rule: str,
    *,
    seeds: int = DEFAULT_SEEDS,
    batch_sizes: Sequence[int] | None = None,
) -> PlannedRepeats:
    """Have a rule followed with so many seeds from the smallest batch size with a winner, there
    and at every larger one.

    Planning again adds only what is missing. Raises UsageError if there is no winner.
    """
    frontier = load_frontier(storage, workload)
    refuse_imported(storage, (point.study for point in frontier.points))
    points = searched_points(frontier, batch_sizes)
    first = anchor(frontier)
    if first is None or first.best is None:
        raise UsageError(f"{workload}: no trial has reached the goal yet, so there is no winner")
    larger = [point for point in points if point.batch_size >= first.batch_size]
    if not larger:
        raise UsageError(
            f"--batch-sizes {', '.join(map(str, batch_sizes or ()))}: smaller than "
            f"{first.batch_size}, the smallest with a winner, from which a rule starts"
        )
    number, params = first.best.number, first.best.params
    wanted = [
        (p.study, [Candidate(number, followed(rule, params, p.batch_size / first.batch_size))])
        for p in larger
    ]
    return plan_repeats(storage, rule, wanted, seeds)


def load_rule_runs(storage: Storage, workload: str, rule: str) -> dict[int, RuleRun]:
    """By batch size, the runs that followed a rule, from the anchor planned last. One query."""
    return {
        batch_size: RuleRun(trial=candidate.trial, **ended)
        for batch_size, found in load_repeats(storage, workload, rule).items()
        for candidate, ended in found[-1:]
    }
