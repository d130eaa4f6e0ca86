"""How uncertain each point of a frontier is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchfront.frontier.curve.text import count, number
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import WIDE, widest
from batchfront.frontier.uncertainty.expected_best import LITTLE, MoreTrials, more_trials
from batchfront.frontier.uncertainty.luck import Noise, noise_of_best
from batchfront.frontier.uncertainty.order_statistics import Sample, sample
from batchfront.phrases import listed
from batchfront.table import Column, Table


@dataclass(frozen=True)
class PointUncertainty:
    """What a point's trials tell about it: would more have changed it, and another search?

    noise  -- estimated from the finishers of all points together; None where there are too few
    merged -- whether evaluations lie too far apart to tell its finishers from each other; then
              nothing is known of more trials, or of another search
    """

    batch_size: int
    sample: Sample
    more: MoreTrials
    noise: Noise | None
    merged: bool = False

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
        Column("best of another search (90\u00a0%)", _another, words=True, whole=True),
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
    return f"{number(noise.low)} to {number(noise.high)}"


def why_unknown(frontier: Frontier) -> str | None:
    """Why some points' trials can never tell anything, as the beginning of a sentence; None if all
    may."""
    if not any(point.study.adaptive for point in frontier.reached):
        return None
    return (
        "The trials were sampled from what earlier ones had shown, so how they spread doesn't tell "
        "what another search would have found"
    )


def point_uncertainties(frontier: Frontier) -> tuple[PointUncertainty, ...]:
    """Of the points whose search is finished and has reached the goal, by batch size."""
    known = [(point, one) for point in frontier.reached if (one := sample(point)) is not None]
    merged = [_is_merged(point, one) for point, one in known]
    tails = [one for (_, one), unknown in zip(known, merged, strict=True) if not unknown]
    return tuple(
        _merged(point, one) if unknown else _uncertainty(point, one, tails)
        for (point, one), unknown in zip(known, merged, strict=True)
    )


def _uncertainty(point: Point, one: Sample, tails: Sequence[Sample]) -> PointUncertainty:
    others = [other.lowest for other in tails if other is not one]
    noise = noise_of_best(one.lowest, one.trials, others)
    return PointUncertainty(point.batch_size, one, more_trials(one.lowest, one.trials), noise)


def _merged(point: Point, one: Sample) -> PointUncertainty:
    more = replace(more_trials(one.lowest, one.trials), next_doubling=None)
    return PointUncertainty(point.batch_size, one, more, None, merged=True)


def _is_merged(point: Point, one: Sample) -> bool:
    """Whether the finishers differ by no more than lies between two evaluations, where that is
    much: that they have ended together says nothing of how trials spread."""
    ratio = widest([point])
    return len(one.lowest) > 1 and ratio >= WIDE and one.lowest[-1] / one.lowest[0] <= ratio


def why_merged(points: Sequence[PointUncertainty]) -> str | None:
    """At which of them evaluations are too few to tell, in a sentence; None where there is none."""
    sizes = [count(one.batch_size) for one in points if one.merged]
    if not sizes:
        return None
    return (
        f"At batch size{'s' if len(sizes) > 1 else ''} {listed(sizes)} the fastest trials differ "
        "by no more than lies between two evaluations, so what more of them would find isn't known."
    )
