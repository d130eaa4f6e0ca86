"""How uncertain each point of a frontier is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchfront.frontier.curve.text import count, number
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.uncertainty.expected_best import LITTLE, MoreTrials, more_trials
from batchfront.frontier.uncertainty.luck import Noise, noise_of_best
from batchfront.frontier.uncertainty.order_statistics import Sample, sample
from batchfront.table import Column, Table


@dataclass(frozen=True)
class PointUncertainty:
    """What a point's trials tell about it: would more have changed it, and another draw of them?

    noise -- estimated from the finishers of all points together; None where there are too few
    """

    batch_size: int
    sample: Sample
    more: MoreTrials
    noise: Noise | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "batch_size": self.batch_size,
            "steps": self.sample.lowest[0],
            "trials": self.sample.trials,
            "finishers": len(self.sample.lowest),
            "halving_cost": self.more.halving_cost,
            "halving_unknown": self.more.half.unknown,
            "doubling_saves_at_most": self.more.next_doubling,
            "another_low": self.noise.low if self.noise else None,
            "another_high": self.noise.high if self.noise else None,
        }


def points_table(points: Sequence[PointUncertainty]) -> Table:
    """A row for each point: what fewer and more trials would have found, and another search."""
    columns = (
        Column("batch size", count),
        Column("steps", count),
        Column("trials", count),
        Column("reached", count),
        Column("half the trials", _half),
        Column("twice as many", lambda saved: f"at most -{100 * saved:.0f} %"),
        Column("best of another search", _another, words=True),
    )
    rows = []
    for one in points:
        lowest, trials = one.sample.lowest, one.sample.trials
        known = (one.batch_size, lowest[0], trials, len(lowest))
        more = one.more if len(lowest) > 1 else None
        rows.append((*known, more, one.more.next_doubling, one.noise))
    return Table(columns, rows)


def _half(more: MoreTrials) -> str:
    least = "" if more.half.unknown < LITTLE else "at least "
    return f"{least}+{100 * more.halving_cost:.0f} %"


def _another(noise: Noise) -> str:
    return f"{number(noise.low)} to {number(noise.high)} (90\u00a0%)"


def why_unknown(frontier: Frontier) -> str | None:
    """Why some points' trials can never tell anything, as the beginning of a sentence; None if all
    may."""
    if not any(point.study.adaptive for point in frontier.reached):
        return None
    return (
        "The trials were drawn from what earlier ones had shown, so how they spread doesn't tell "
        "what another search would have found"
    )


def point_uncertainties(frontier: Frontier) -> tuple[PointUncertainty, ...]:
    """Of the points whose search is finished and has reached the goal, by batch size."""
    found = [(point.batch_size, sample(point)) for point in frontier.reached]
    known = [(batch_size, one) for batch_size, one in found if one is not None]
    return tuple(
        PointUncertainty(
            batch_size,
            one,
            more_trials(one.lowest, one.trials),
            noise_of_best(
                one.lowest, one.trials, [other.lowest for _, other in known if other is not one]
            ),
        )
        for batch_size, one in known
    )
