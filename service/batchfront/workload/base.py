"""What all workloads have in common, whoever owns their training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from batchfront.errors import UsageError, WorkloadError
from batchfront.workload.goal import Goal
from batchfront.workload.search_space import SearchSpace, dimensions
from batchfront.workload.stopping_rules import StoppingRules

VARIANT_SIGN = "@"
"""Between a workload's name and its variant's: no part of a variant's name."""


@dataclass(frozen=True, kw_only=True)
class WorkloadBase(ABC):
    """A data set, a model and a training algorithm, with a goal on held-out data.

    name         -- `dataset/model/optimizer`
    goal         -- what a trial has to pass on held-out data
    search_space -- metaparameter to dimension or fixed value; or a function from the batch size
                    to that, where the range should shift with it
    step_budget  -- the steps after which a trial is given up; or a function from the batch size
    batch_sizes  -- those studied unless the user says otherwise
    stopping     -- when to give a trial up
    description  -- one line for a person
    """

    name: str
    goal: Goal
    search_space: SearchSpace | Callable[[int], SearchSpace]
    step_budget: int | Callable[[int], int]
    batch_sizes: Sequence[int]
    stopping: StoppingRules = field(default_factory=StoppingRules)
    description: str = ""

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if len(parts) < 3 or not all(parts) or self.name != self.name.strip():
            raise WorkloadError(f"workload name {self.name!r}: must read dataset/model/optimizer")
        if not self.batch_sizes:
            raise WorkloadError(f"{self.name}: batch_sizes is empty")

    @property
    def first_step(self) -> int:
        """The first step at which a trial is evaluated, at the earliest."""
        return 1

    def with_goal(self, value: float) -> Self:
        """The same workload with another value to pass."""
        return replace(self, goal=replace(self.goal, value=value))

    def with_precision(self, precision: str) -> Self:
        """The same workload computed in another precision: see `Execution`."""
        raise UsageError(
            f"--precision {precision}: {self.name} has a training loop of its own, which says what "
            "it computes in"
        )

    def as_asked(self, goal: float | None, precision: str | None) -> Self:
        """The same workload with what a user asked for in its place; None leaves its own."""
        asked = self if goal is None else self.with_goal(goal)
        return asked if precision is None else asked.with_precision(precision)

    def steps_allowed(self, batch_size: int) -> int:
        """The step budget of a trial at this batch size."""
        budget = self.step_budget
        steps = budget(batch_size) if callable(budget) else budget
        if steps < self.first_step:
            raise WorkloadError(
                f"{self.name}: step budget {steps} at batch size {batch_size} must be at least "
                f"{self.first_step}, the first evaluated step"
            )
        return int(steps)

    def space(self, batch_size: int) -> SearchSpace:
        """The search space at this batch size, checked against what the workload takes."""
        space = self.search_space(batch_size) if callable(self.search_space) else self.search_space
        self.check_space(space)
        return space

    def searched(self, batch_size: int) -> list[str]:
        """The names of the metaparameters that are searched at this batch size."""
        return list(dimensions(self.space(batch_size)))

    @abstractmethod
    def check_space(self, space: SearchSpace) -> None:
        """Raise SearchSpaceError for a metaparameter that nothing takes, or one that is missing."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All that defines its trials, but for what depends on the batch size, as plain data: for a
        study's identity."""
