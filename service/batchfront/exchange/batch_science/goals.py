"""The goals of the public archive's workloads, and goals that a user writes.

Shallue et al. 2018 state the goals of their standard workloads, and their analysis code holds
them; for the others the goals here are ours, and said to be wherever they are used.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product

from batchfront.errors import UsageError
from batchfront.study.study import goal_text

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


def _error(of: str, value: float, origin: str = "the paper") -> GoalOf:
    return GoalOf(of, "error rate", "lower", value, origin)


def _nats(of: str, origin: str = "the paper") -> GoalOf:
    return GoalOf(of, "cross-entropy", "lower", 3.9, origin)


GOALS = (
    _error("mnist/simple_cnn*", 0.01),
    _error("fashion_mnist/simple_cnn*", 0.1),
    _error("cifar_10/resnet_8/*", 0.3),
    _error("imagenet/resnet_50/*", 0.25),
    _error("imagenet/vgg_11/*", 0.35),
    GoalOf("open_images_v4/resnet_50/*", "average precision", "higher", 0.31, "the paper"),
    _nats("lm1b/transformer/*"),
    _nats("lm1b/transformer_base/*"),
    _nats("lm1b/lstm/*"),
    _nats("common_crawl/transformer/*"),
    _nats("common_crawl/transformer_base/*"),
    # Those of workloads and data sets that resemble them.
    _error("mnist_subsets/*", 0.02, "ours"),
    _error("*mnist*/fc*", 0.04, "ours"),
    _error("*fashion_mnist*", 0.1, "ours"),
    _error("*mnist*", 0.01, "ours"),
    _error("*cifar*", 0.3, "ours"),
    _error("*imagenet*/vgg*", 0.35, "ours"),
    _error("*imagenet*", 0.25, "ours"),
    GoalOf("*open_images*", "average precision", "higher", 0.31, "ours"),
    _nats("*lm1b*", "ours"),
    _nats("*common_crawl*", "ours"),
)
"""The first that matches counts. Those of the catalog's workloads are the catalog's."""


def goal_of(workload: str, archive_name: str, given: Sequence[GoalOf]) -> GoalOf:
    """The goal of a workload of the archive: as given, or else the first of GOALS that matches
    its name, or else its archive name.

    archive_name -- `dataset/model/optimizer`, as its studies state it, where the workload's own
                    name may stand for a subset of the data
    """
    for goal in given:
        if fnmatchcase(workload, goal.of):
            return goal
    for name, goal in product((workload, archive_name), GOALS):
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
