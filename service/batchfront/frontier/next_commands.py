"""What a frontier's reader may want to run next, as whole commands; None where that is no use."""

from batchfront.frontier.frontier import Frontier
from batchfront.frontier.uncertainty.luck import FEWEST
from batchfront.store.commands import command


def advise(frontier: Frontier, name: str, *options: str) -> str | None:
    """A command about this workload, whole, in backticks. None if that needs the workload's code,
    and there is none, as of trials that were imported."""
    study = frontier.points[0].study
    subject: tuple[str, ...] = (frontier.workload,)
    if name in ("plan", "run"):
        subject = (study.spec, *(() if study.variant is None else ("--variant", study.variant)))
    if not study.spec and name in ("plan", "run", "confirm"):
        return None
    if name == "confirm":
        options = (*options, *study.allowed)
    return command(frontier.url, name, *subject, *options)


def more_finishers(frontier: Frontier) -> str | None:
    """After which enough trials pass the goal to tell how sure the points are."""
    there = [point.study.finishers for point in frontier.points]
    if min(there) >= FEWEST or any(point.study.adaptive for point in frontier.points):
        return None
    return advise(frontier, "run", "--finishers", str(max(FEWEST, *there)))


def going_on(frontier: Frontier) -> str | None:
    """Which lets the first trials that pass the goal go on to the step budget."""
    if any(point.study.continuing for point in frontier.points):
        return None
    return advise(frontier, "run", "--after-goal", "continue")


def wider_space(frontier: Frontier) -> str | None:
    """Which widens the search space where winners lie at an edge of it."""
    return advise(frontier, "plan", "--extend")


def rerun_winners(frontier: Frontier) -> str | None:
    """Which runs the winners again, with other seeds."""
    return advise(frontier, "confirm")


def rule_run(frontier: Frontier) -> str | None:
    """Which follows a scaling rule from the winner of the smallest batch size."""
    return advise(frontier, "confirm", "--rule", "linear")
