"""What a reader of a frontier should beware of: points that may be wrong, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchfront.frontier.frontier import Frontier
from batchfront.frontier.next_commands import wider_space
from batchfront.phrases import percent

if TYPE_CHECKING:  # which bring scipy, and a frontier needs no curve
    from batchfront.frontier.curve.curve import Curve
    from batchfront.frontier.curve.outliers import Rise


@dataclass(frozen=True)
class PointWarning:
    """Something about a point of the frontier that a reader should beware of.

    kind -- "not-monotone": more steps than a smaller batch size needs, by more than the points
            scatter, though a larger one needs fewer; "edge": the winner lies at an end of its
            search space
    """

    batch_size: int
    kind: str
    text: str


def point_warnings(frontier: Frontier, curve: Curve | None) -> list[PointWarning]:
    """The warnings about a frontier's points, by batch size; `curve` is the one through them.

    Steps that were measured elsewhere have none: no search of theirs could have found fewer.
    """
    if frontier.measured_elsewhere:
        return []
    risen = {rise.larger: rise for rise in curve.rises} if curve else {}
    # Where steps rise to the end larger batches may well be worse, which more trials don't change.
    last = max((p.batch_size for p in frontier.reached if p.batch_size not in risen), default=0)
    found: list[PointWarning] = []
    widens = wider_space(frontier)
    for point in frontier.reached:
        if curve is not None and point.batch_size in risen and point.batch_size < last:
            found.append(_not_monotone(curve, risen[point.batch_size]))
        found += [
            PointWarning(
                point.batch_size,
                "edge",
                f"At batch size {point.batch_size:,} the winner's {name} lies at the {end} end of "
                f"its search space{f'; {widens} widens it' if widens else ''}.",
            )
            for name, end in point.edges.items()
        ]
    return found


def at_edges(frontier: Frontier) -> Iterator[str]:
    """All winners that lie at an end of their search space in one sentence, and what widens it."""
    edges = [
        f"{point.batch_size} ({', '.join(f'{name} {end}' for name, end in point.edges.items())})"
        for point in frontier.points
        if point.edges
    ]
    if edges:
        yield f"At an edge of the search space, so better may lie beyond: {'; '.join(edges)}"
        widens = wider_space(frontier)
        if widens:
            yield f"{widens} widens it."


def _not_monotone(curve: Curve, rise: Rise) -> PointWarning:
    steps = {seen.batch_size: seen.steps for seen in curve.observations}
    more = percent(steps[rise.larger] / steps[rise.batch_size] - 1)
    return PointWarning(
        rise.larger,
        "not-monotone",
        f"Batch size {rise.larger:,} takes {more} more steps than {rise.batch_size:,}, a smaller "
        "one: more trials would probably find fewer.",
    )


def outlier_warnings(curve: Curve) -> tuple[str, ...]:
    """The points that lie far from the curve, a sentence for each; none where there is no curve."""
    if curve.refusal:
        return ()
    return tuple(
        f"Batch size {one.batch_size:,} lies far {'above' if one.sigmas > 0 else 'below'} the "
        "curve, further than the others scatter."
        for one in curve.outliers
    )
