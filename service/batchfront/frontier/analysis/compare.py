"""Several workloads side by side: normalized so that their perfect-scaling lines coincide.

Steps are divided by those at one batch size, as Shallue et al. 2018 draw them, so that what is left
to compare is how far each workload goes along the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchfront.errors import UsageError
from batchfront.frontier.curve import EXTRA
from batchfront.frontier.curve.answers import by_expected_steps, fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import perfect_answer, unreached_answers
from batchfront.frontier.expected_table import fitted_to
from batchfront.frontier.frontier import Frontier


@dataclass(frozen=True)
class ComparedPoint:
    """A point of the frontier, normalized.

    batches  -- batch size in multiples of the one that all are compared at
    relative -- steps in multiples of those at that batch size; 1 / `batches` if scaling is perfect
    examples -- examples in multiples of those at the workload's smallest batch size that reached
                the goal
    """

    batch_size: int
    steps: float
    batches: float
    relative: float
    examples: float


@dataclass(frozen=True)
class Series:
    """One workload's points.

    measured       -- whether it has reached the goal at the batch size of comparison; if not, the
                      steps there are those of perfect scaling from its smallest batch size
    perfect_until  -- how far its curve scales near-perfectly: as `batchfront curve` answers
    answers        -- the same in a sentence, where the goal was not reached, and whether the curve
                      goes through the expected steps, which those of the points are not
    measured_until -- the largest batch size measured that takes at most EXTRA more examples than
                      the smallest, whatever the curve through all of them says
    leaves_at      -- the next larger one measured, which took more; None if none did
    """

    workload: str
    goal: str
    measured: bool
    points: tuple[ComparedPoint, ...]
    perfect_until: Estimate
    answers: tuple[str, ...]
    measured_until: int
    leaves_at: int | None


@dataclass(frozen=True)
class Comparison:
    """Workloads at one batch size `at`, None if none has reached its goal; and why others were left
    out, by workload."""

    at: int | None
    series: tuple[Series, ...]
    skipped: dict[str, str]


def compare(frontiers: Sequence[Frontier], at: int | None = None) -> Comparison:
    """Normalize at batch size `at`.

    By default that is the smallest at which all have reached their goal. If there is none, each is
    compared by its own perfect-scaling line, from its smallest batch size. Raises UsageError if no
    workload has reached its goal at the batch size that was asked for.
    """
    won = [frontier for frontier in frontiers if _steps(frontier)]
    skipped = {f.workload: "the goal has not been reached" for f in frontiers if not _steps(f)}
    if at is not None:
        there = [frontier for frontier in won if at in _steps(frontier)]
        if not there:
            raise UsageError(f"--at {at}: none of these workloads has reached the goal there")
        missing = f"the goal has not been reached at batch size {at}"
        skipped |= {f.workload: missing for f in won if f not in there}
        won = there
    if not won:
        return Comparison(None, (), skipped)
    common = set.intersection(*(set(_steps(frontier)) for frontier in won))
    if at is None:
        at = min(common or set.union(*(set(_steps(frontier)) for frontier in won)))
    series = tuple(_series(frontier, at, measured=bool(common)) for frontier in won)
    return Comparison(at, series, skipped)


def _steps(frontier: Frontier) -> dict[int, float]:
    """Batch size to the steps of its point; a goal that is passed untrained has none to compare."""
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
    until = max(point.batch_size for point in points if point.examples <= 1 + EXTRA)
    later = [point.batch_size for point in points if point.batch_size > until]
    shown = replace(frontier, points=tuple(p for p in frontier.points if p.steps != 0))
    curve = fit_curve(shown)
    through = fitted_to(shown) if by_expected_steps(shown) else None  # else the points are these
    return Series(
        frontier.workload,
        frontier.goal_text,
        measured,
        points,
        curve.perfect_until,
        (
            perfect_answer(curve),
            *unreached_answers(frontier, curve),
            *filter(None, [through]),
        ),
        until,
        min(later, default=None),
    )
