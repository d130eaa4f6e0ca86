"""How sure each point of a frontier is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchfront.frontier.certainty.expected_best import MoreTrials, more_trials, percent
from batchfront.frontier.certainty.luck import Noise, noise_of_best
from batchfront.frontier.certainty.order_statistics import Sample, sample
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.next_commands import wider_space

if TYPE_CHECKING:
    from batchfront.frontier.curve.curve import Curve
    from batchfront.frontier.curve.outliers import Rise
    from batchfront.frontier.frontier import Frontier


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


@dataclass(frozen=True)
class Flag:
    """Something about a point of the frontier that a reader should doubt.

    kind -- "not-monotone": more steps than a smaller batch size needs, by more than the points
            scatter, though a larger one needs fewer; "edge": the winner lies at an end of its
            search space
    """

    batch_size: int
    kind: str
    text: str


def flags(frontier: "Frontier", curve: "Curve | None") -> list[Flag]:
    """The flags of a frontier's points, by batch size; `curve` is the one through them.

    Steps that were measured elsewhere have none: no search of theirs could have found fewer.
    """
    if frontier.measured_elsewhere:
        return []
    risen = {rise.larger: rise for rise in curve.rises} if curve else {}
    # Where steps rise to the end larger batches may well be worse, which more trials don't change.
    last = max((p.batch_size for p in frontier.reached if p.batch_size not in risen), default=0)
    found: list[Flag] = []
    widens = wider_space(frontier)
    for point in frontier.reached:
        if point.batch_size in risen and point.batch_size < last:
            found.append(_not_monotone(frontier, risen[point.batch_size]))
        found += [
            Flag(
                point.batch_size,
                "edge",
                f"At batch size {point.batch_size:,} the winner's {name} lies at the {end} end of "
                f"its search space{f'; {widens} widens it' if widens else ''}.",
            )
            for name, end in point.edges.items()
        ]
    return found


def _not_monotone(frontier: "Frontier", rise: "Rise") -> Flag:
    steps = {point.batch_size: point.steps or 0 for point in frontier.reached}
    more = percent(steps[rise.larger] / steps[rise.batch_size] - 1)
    return Flag(
        rise.larger,
        "not-monotone",
        f"Batch size {rise.larger:,} takes {more} more steps than {rise.batch_size:,}, a smaller "
        "one: more trials would probably find fewer.",
    )
