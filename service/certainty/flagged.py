"""The points of a frontier that a reader should doubt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.advice import wider_space
from service.certainty.expected_best import percent

if TYPE_CHECKING:
    from service.frontier import Frontier, Point


@dataclass(frozen=True)
class Flag:
    """Something about a point of the frontier that a reader should doubt.

    kind -- "not-monotone": more steps than a smaller batch size needs; "edge": the winner lies at
            an end of its search space
    """

    batch_size: int
    kind: str
    text: str


def flags(frontier: "Frontier") -> list[Flag]:
    """The flags of a frontier's points, by batch size."""
    found: list[Flag] = []
    widens = wider_space(frontier)
    best: Point | None = None
    for point in frontier.reached:
        steps, missed = point.steps or 0, point.steps_lower
        missed = steps - 1 if missed is None else missed  # of steps measured elsewhere
        if best is not None and missed >= (best.steps or 0):
            found.append(_not_monotone(point, best))
        if best is None or steps < (best.steps or 0):
            best = point
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


def _not_monotone(point: "Point", best: "Point") -> Flag:
    more = percent((point.steps or 0) / (best.steps or 1) - 1)
    return Flag(
        point.batch_size,
        "not-monotone",
        f"Batch size {point.batch_size:,} takes {more} more steps than {best.batch_size:,}, a "
        "smaller one: more trials would probably find fewer.",
    )
