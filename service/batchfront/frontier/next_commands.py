"""What a frontier's reader may want to run next, as whole commands; None where that is no use."""

from collections.abc import Sequence

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
    if not study.spec and name in ("plan", "run", "confirm", "time"):
        return None
    if name in ("confirm", "time"):
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


def run_recommended(frontier: Frontier) -> str | None:
    """Which runs what is recommended, with fresh seeds."""
    return advise(frontier, "confirm", "--recommended")


def open_dashboard(frontier: Frontier) -> str:
    """Which opens its trials in the Optuna dashboard."""
    return command(frontier.url, "dashboard")


def linked_report(frontier: Frontier, dashboard: str) -> str:
    """Which writes its page with each trial linked to a dashboard."""
    return command(frontier.url, "report", frontier.workload, "--dashboard", dashboard)


def rule_run(frontier: Frontier, rules: Sequence[str]) -> str | None:
    """Which follows the first of these scaling rules from the winner of the smallest batch size."""
    return advise(frontier, "confirm", "--rule", rules[0]) if rules else None


def time_steps(frontier: Frontier) -> str:
    """Which times the steps; without the workload's code, which takes in what was timed
    elsewhere."""
    return advise(frontier, "time") or command(frontier.url, "import timings", "FILE")
