"""Hand-made studies for the analyses, written into the tables and loaded as they load them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.queries import Curves, Trials, load_goal_curves, load_workload_trials
from batchfront.store.url import Storage

ERROR = "error rate"


class Loaded(NamedTuple):
    """What the analyses of one workload are given."""

    frontier: Frontier
    trials: Trials
    curves: Curves


def loaded(storage: Storage, workload: str) -> Loaded:
    frontier = load_frontier(storage, workload)
    trials = load_workload_trials(storage, workload)
    return Loaded(frontier, trials, load_goal_curves(storage, workload, frontier.goal["metric"]))


def reached(steps: int, **columns: Any) -> dict[str, Any]:
    """A trial that reached the goal in so many steps."""
    passed = columns.get("steps_to_target", steps)
    return {"outcome": "reached", "steps": steps, "steps_lower": passed - 1, **columns}


def ended(outcome: str, steps: int, **columns: Any) -> dict[str, Any]:
    """A trial that ended otherwise."""
    return {"outcome": outcome, "steps": steps, **columns}


def curve(
    *looks: tuple[int, float | None], metric: str = ERROR
) -> Sequence[tuple[int, str, str, float | None]]:
    """The goal metric at these steps, beside a training loss that no analysis may take for it."""
    return [
        row
        for step, value in looks
        for row in ((step, "validation", metric, value), (step, "train", "loss", 0.001))
    ]
