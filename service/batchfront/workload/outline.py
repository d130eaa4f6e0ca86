"""What a workload searches and how far it trains, as plain data, known before its code runs.

A package that offers workloads to the catalog may offer their outlines too, so that nobody waits
for what its code imports only to be told that a goal can't be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from batchfront.errors import UsageError
from batchfront.workload.base import WorkloadBase
from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.search_space import SearchSpace, describe_space, restore_space

_PARTS = ("algorithm", "schedule", "grid", "command", "output", "env", "cwd", "resume")
"""What some kinds of workload have and others haven't."""


def outline(workload: WorkloadBase) -> dict[str, Any]:
    """Describe a workload as JSON would give it back; search spaces by batch size where they
    differ, and the bounds of its metric where it has some."""
    spaces = {b: describe_space(workload.space(b)) for b in workload.batch_sizes}
    first = next(iter(spaces.values()))
    same = all(space == first for space in spaces.values())
    described = workload.describe()
    metric = workload.goal.metric
    bounds = {"low": metric.low, "high": metric.high}
    return {
        "name": workload.name,
        "description": workload.description,
        "goal": described["goal"] | {k: v for k, v in bounds.items() if math.isfinite(v)},
        **{part: described[part] for part in _PARTS if part in described},
        "search_space": first if same else {str(b): space for b, space in spaces.items()},
        "batch_sizes": list(workload.batch_sizes),
        "step_budget": {str(b): workload.steps_allowed(b) for b in workload.batch_sizes},
        "stopping": described["stopping"],
    }


@dataclass(frozen=True, kw_only=True)
class Outlined(WorkloadBase):
    """A workload as far as its outline tells: what is asked of it can be looked at, and nothing of
    it can be trained."""

    outlined: Mapping[str, Any]

    @classmethod
    def of(cls, outlined: Mapping[str, Any]) -> Outlined:
        """The workload of an outline."""
        goal = outlined["goal"]
        bounds = {name: goal[name] for name in ("low", "high") if name in goal}
        metric = ReportedMetric(goal["metric"], goal["better"], **bounds)
        return cls(
            name=outlined["name"],
            goal=Goal(metric, goal["value"]),
            search_space=partial(_space, outlined["search_space"]),
            step_budget=max(outlined["step_budget"].values()),
            batch_sizes=outlined["batch_sizes"],
            description=outlined["description"],
            outlined=outlined,
        )

    def refuse_larger(self, batch_sizes: Iterable[int]) -> None:
        """Raise UsageError for a batch size beyond the number of training examples, if that is
        known."""
        count = self.outlined.get("train_examples", math.inf)
        for batch_size in batch_sizes:
            if batch_size > count:
                raise UsageError(
                    f"{self.name}: batch size {batch_size} is larger than the training set of "
                    f"{count:,} examples"
                )

    def with_precision(self, precision: str) -> Self:
        """The same: an outline says nothing of how it is computed."""
        return self

    def check_space(self, space: SearchSpace) -> None:
        """Nothing: whoever made the outline has checked it."""

    def describe(self) -> dict[str, Any]:
        """The outline itself."""
        return dict(self.outlined)


def _space(described: Mapping[str, Any], batch_size: int) -> SearchSpace:
    """The search space at a batch size or, where they differ and it has none, at another: they are
    of the same metaparameters."""
    first = next(iter(described))
    if not first.isdigit():
        return restore_space(described)
    return restore_space(described.get(str(batch_size), described[first]))
