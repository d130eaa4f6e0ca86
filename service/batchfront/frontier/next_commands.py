"""What a frontier's reader may want to run next, as whole commands; None where that is no use."""

from typing import TYPE_CHECKING

from batchfront.frontier.certainty.luck import FEWEST

if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier


def more_finishers(frontier: "Frontier") -> str | None:
    """After which enough trials pass the goal to tell how sure the points are."""
    there = [point.study.finishers for point in frontier.points]
    if min(there) >= FEWEST or any(point.study.adaptive for point in frontier.points):
        return None
    return frontier.advise("run", "--finishers", str(max(FEWEST, *there)))


def going_on(frontier: "Frontier") -> str | None:
    """Which lets the first trials that pass the goal go on to the step budget."""
    if any(point.study.continuing for point in frontier.points):
        return None
    return frontier.advise("run", "--after-goal", "continue")


def wider_space(frontier: "Frontier") -> str | None:
    """Which widens the search space where winners lie at an edge of it."""
    return frontier.advise("plan", "--extend")


def rule_run(frontier: "Frontier") -> str | None:
    """Which follows a rule of scaling from the winner of the smallest batch size."""
    return frontier.advise("confirm", "--rule", "linear")
