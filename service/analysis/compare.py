"""Several workloads side by side: normalized so that their perfect-scaling lines coincide.

Steps are divided by those at one batch size, as Shallue et al. 2018 draw them, so that what is left
to compare is how far each workload goes along the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import UsageError
from service.frontier import Frontier

PERFECT = 1.2
"""Scaling is perfect while it takes at most so many times the examples of the smallest batch."""


@dataclass(frozen=True)
class ComparedPoint:
    """A point of the frontier, normalized.

    batches  -- batch size in multiples of the one that all are compared at
    relative -- steps in multiples of those at that batch size; 1 / `batches` if scaling is perfect
    examples -- examples in multiples of those at the workload's smallest batch size with a winner
    """

    batch_size: int
    steps: int
    batches: float
    relative: float
    examples: float


@dataclass(frozen=True)
class Series:
    """One workload's points.

    measured      -- whether it has a winner at the batch size of comparison; if not, the steps
                     there are those of perfect scaling from its smallest batch size
    perfect_until -- the largest batch size at which scaling was still perfect
    leaves_at     -- the next larger one measured, where it no longer was; None if it was to the end
    """

    workload: str
    goal: str
    measured: bool
    points: tuple[ComparedPoint, ...]
    perfect_until: int
    leaves_at: int | None


@dataclass(frozen=True)
class Comparison:
    """Workloads at one batch size `at`, None if none has a winner; and why others were left out,
    by workload."""

    at: int | None
    series: tuple[Series, ...]
    skipped: dict[str, str]


def compare(frontiers: Sequence[Frontier], at: int | None = None) -> Comparison:
    """Normalize at batch size `at`.

    By default that is the smallest at which all have a winner. If there is none, each is compared
    by its own perfect-scaling line, from its smallest batch size. Raises UsageError if no workload
    has a winner at the batch size that was asked for.
    """
    won = [frontier for frontier in frontiers if _steps(frontier)]
    skipped = {f.workload: "no trial has reached the goal" for f in frontiers if not _steps(f)}
    if at is not None:
        there = [frontier for frontier in won if at in _steps(frontier)]
        if not there:
            raise UsageError(f"--at {at}: none of these workloads has a winner at that batch size")
        missing = f"no winner at batch size {at}"
        skipped |= {f.workload: missing for f in won if f not in there}
        won = there
    if not won:
        return Comparison(None, (), skipped)
    common = set.intersection(*(set(_steps(frontier)) for frontier in won))
    if at is None:
        at = min(common or set.union(*(set(_steps(frontier)) for frontier in won)))
    series = tuple(_series(frontier, at, measured=bool(common)) for frontier in won)
    return Comparison(at, series, skipped)


def _steps(frontier: Frontier) -> dict[int, int]:
    """Batch size to the winner's steps; a goal that is passed untrained has none to compare."""
    return {point.batch_size: point.steps for point in frontier.reached if point.steps}


def _series(frontier: Frontier, at: int, *, measured: bool) -> Series:
    steps = _steps(frontier)
    first = min(steps)
    examples = {batch_size: batch_size * count for batch_size, count in steps.items()}
    unit = steps[at] if measured else examples[first] / at
    points = tuple(
        ComparedPoint(
            batch_size, count, batch_size / at, count / unit, examples[batch_size] / examples[first]
        )
        for batch_size, count in sorted(steps.items())
    )
    until = max(point.batch_size for point in points if point.examples <= PERFECT)
    later = [point.batch_size for point in points if point.batch_size > until]
    leaves_at = min(later, default=None)
    return Series(frontier.workload, frontier.goal_text, measured, points, until, leaves_at)
