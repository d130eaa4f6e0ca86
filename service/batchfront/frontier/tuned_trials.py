"""The trials of a search whose metaparameters are for use, one at each batch size."""

from dataclasses import dataclass

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.expected import ExpectedPoint
from batchfront.frontier.frontier import Frontier, Point
from batchfront.workload.search_space import Metaparameters


@dataclass(frozen=True)
class TunedTrial:
    """The winner of a batch size, or the trial that is recommended there.

    number   -- in its Optuna study
    expected -- what a run with its metaparameters takes; None of a winner
    """

    point: Point
    number: int
    params: Metaparameters
    expected: ExpectedPoint | None = None

    @property
    def batch_size(self) -> int:
        """That its metaparameters are tuned to."""
        return self.point.batch_size

    @property
    def wins(self) -> bool:
        """Whether it is the winner of its batch size, also where it is taken as recommended."""
        return self.number == self.point.trial

    @property
    def what(self) -> str:
        """What it is taken as: "winner" or "recommended trial"."""
        return "winner" if self.expected is None else "recommended trial"


def winners(frontier: Frontier) -> tuple[TunedTrial, ...]:
    """The winners, by batch size."""
    return tuple(
        TunedTrial(point, point.trial, point.params)
        for point in frontier.reached
        if point.trial is not None
    )


def tuned_trials(frontier: Frontier) -> tuple[TunedTrial, ...]:
    """The trials whose steps the curve of a frontier goes through, by batch size: the recommended
    ones where these are the expected steps, and the winners otherwise."""
    if not by_expected_steps(frontier):
        return winners(frontier)
    points = {point.batch_size: point for point in frontier.points}
    return tuple(
        TunedTrial(points[one.batch_size], one.trial, one.metaparameters, one)
        for one in frontier.expected.points
    )
