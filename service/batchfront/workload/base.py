"""What all workloads have in common, whoever owns their training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from batchfront.errors import BatchfrontError, SearchSpaceError, UsageError, WorkloadError
from batchfront.workload.definition import (
    as_batch_sizes,
    as_name,
    as_one_of,
    as_step_budget,
    as_text,
    steps_in,
)
from batchfront.workload.goal import Goal, as_goal
from batchfront.workload.ranges import as_space, as_space_or_function
from batchfront.workload.search_space import SearchSpace, dimensions
from batchfront.workload.stopping_rules import StoppingRules
from batchfront.workload.user_error import error_in

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
        name = as_name(self.name)
        self._take(
            goal=as_goal(name, self.goal),
            search_space=as_space_or_function(name, self.search_space),
            step_budget=as_step_budget(name, self.step_budget),
            batch_sizes=as_batch_sizes(name, self.batch_sizes),
            stopping=as_one_of(name, "stopping", self.stopping, StoppingRules, "StoppingRules()"),
            description=as_text(name, "description", self.description),
        )

    def _take(self, **meant: Any) -> None:
        """Put what is meant by a field in the place of what was given."""
        for field_, value in meant.items():
            object.__setattr__(self, field_, value)

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
        if callable(budget):
            with _naming(f"{self.name}: step_budget({batch_size}) fails", WorkloadError):
                found = budget(batch_size)
            steps = steps_in(f"{self.name}: step_budget({batch_size})", found)
        else:
            steps = budget
        if steps < self.first_step:
            raise WorkloadError(
                f"{self.name}: step budget {steps} at batch size {batch_size} must be at least "
                f"{self.first_step}, the first evaluated step"
            )
        return steps

    def space(self, batch_size: int) -> SearchSpace:
        """The search space at this batch size, checked against what the workload takes."""
        space = self.search_space
        if callable(space):
            where = f"{self.name}: search_space({batch_size})"
            hint = "; it is a function of the batch size that returns a dict of ranges"
            with _naming(f"{where} fails", SearchSpaceError, hint):
                found = space(batch_size)
            space = as_space(self.name, found)
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


@contextmanager
def _naming(what: str, kind: type[WorkloadError], hint: str = "") -> Iterator[None]:
    """Turn an error of a function of the user's into one line that says which function it was."""
    try:
        yield
    except BatchfrontError:
        raise
    except (Exception, SystemExit) as error:
        raise kind(f"{what}: {error_in(error)}{hint}") from error
