"""The goals of the public archive's workloads: those that installed packages offer, and those that
a user writes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from itertools import product

from batchfront.errors import UsageError
from batchfront.study.study import goal_text

GROUP = "batchfront.archive_goals"
"""The entry points that offer goals: each refers to a sequence of GoalOf, the first of which that
matches counts."""

METRICS = {
    "classification_error": "error rate",
    "cross_entropy_error": "cross-entropy",
    "average_precision": "average precision",
}
"""Metrics of the archive to what batchfront calls them."""

_SIGNS = {"<": "lower", ">": "higher"}


class GoalError(UsageError):
    """A workload without a goal, or with one on a metric that it was not measured by."""


@dataclass(frozen=True)
class GoalOf:
    """A goal on the validation split, of all workloads that `of` matches.

    of     -- a glob over names; for the archive's own goals over `dataset/model/optimizer`
    better -- "lower" or "higher"
    origin -- who set it: "the paper", "ours", or "--goal"
    """

    of: str
    metric: str
    better: str
    value: float
    origin: str

    def described(self) -> dict[str, str | float]:
        """The goal as a study's identity keeps it."""
        return {"metric": self.metric, "better": self.better, "value": self.value}

    def __str__(self) -> str:
        return goal_text(self.described())


@cache
def offered() -> tuple[GoalOf, ...]:
    """The goals that installed packages offer for the archive's workloads."""
    return tuple(goal for entry_point in entry_points(group=GROUP) for goal in entry_point.load())


def goal_of(workload: str, archive_name: str, given: Sequence[GoalOf]) -> GoalOf:
    """The goal of a workload of the archive: as given, or else the first of those offered that
    matches its name, or else its archive name.

    archive_name -- `dataset/model/optimizer`, as its studies state it, where the workload's own
                    name may stand for a subset of the data
    """
    for goal in given:
        if fnmatchcase(workload, goal.of):
            return goal
    for name, goal in product((workload, archive_name), offered()):
        if fnmatchcase(name, goal.of):
            origin = goal.origin if workload == archive_name else "ours"
            return GoalOf(workload, goal.metric, goal.better, goal.value, origin)
    raise GoalError(
        f"no goal is known for {workload}: give one, such as --goal '{workload}=error rate<0.1'"
    )


def parse_goal(text: str) -> GoalOf:
    """A goal as a user writes it: WORKLOAD_OR_GLOB=METRIC<VALUE, or > for a score."""
    workload, equals, goal = text.partition("=")
    if not equals or not workload.strip():
        raise UsageError(
            f"--goal {text!r}: write WORKLOAD=METRIC<VALUE, such as 'mnist/*=error rate<0.01'"
        )
    metric, better, value = parse_comparison(goal, f"--goal {text!r}")
    return GoalOf(workload.strip(), metric, better, value, "--goal")


def parse_comparison(text: str, where: str) -> tuple[str, str, float]:
    """Metric, "lower" or "higher", and value of `METRIC<VALUE`; metrics by either name."""
    found = re.fullmatch(r"\s*(.*?)\s*([<>])\s*(\S+)\s*", text)
    value = _number(found[3]) if found else None
    if not found or not found[1] or value is None:
        raise UsageError(
            f"{where}: {text.strip()!r} is no goal; write METRIC<VALUE or METRIC>VALUE"
        )
    split, slash, name = found[1].rpartition("/")
    if slash and split not in ("val", "validation"):
        raise UsageError(f"{where}: a goal is of the validation split, not of {split!r}")
    name = re.sub(r"^validation ", "", name)
    return METRICS.get(name, name), _SIGNS[found[2]], value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
