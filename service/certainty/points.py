"""How sure each point of a frontier is."""

from dataclasses import dataclass
from typing import Any

from service.certainty.expected_best import MoreTrials, more_trials
from service.certainty.noise import Noise, noise_of_best
from service.certainty.order_statistics import Sample, sample
from service.frontier import Frontier


@dataclass(frozen=True)
class PointCertainty:
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


def why_unknown(frontier: Frontier) -> str | None:
    """Why some points' trials can never tell anything, as the beginning of a sentence; None if all
    may."""
    if not any(point.study.adaptive for point in frontier.reached):
        return None
    return (
        "The trials were drawn from what earlier ones had shown, so how they spread doesn't tell "
        "what another search would have found"
    )


def point_certainties(frontier: Frontier) -> tuple[PointCertainty, ...]:
    """Of the points whose search is finished and has reached the goal, by batch size."""
    found = [(point.batch_size, sample(point)) for point in frontier.reached]
    known = [(batch_size, one) for batch_size, one in found if one is not None]
    return tuple(
        PointCertainty(
            batch_size,
            one,
            more_trials(one.lowest, one.trials),
            noise_of_best(
                one.lowest, one.trials, [other.lowest for _, other in known if other is not one]
            ),
        )
        for batch_size, one in known
    )
