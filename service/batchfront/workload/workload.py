"""What a user describes: a data set, a model, a training algorithm, and a goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from batchfront.errors import SearchSpaceError, WorkloadError
from batchfront.workload.algorithm import REQUIRED, Algorithm, keyword_metaparameters
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.execution import Execution
from batchfront.workload.goal import Goal
from batchfront.workload.lr_schedule import Constant, Schedule
from batchfront.workload.search_space import SearchSpace, dimensions
from batchfront.workload.stopping_rules import StoppingRules

if TYPE_CHECKING:  # which bring torch
    from torch import Tensor, nn

    from batchfront.workload.data import Splits


VARIANT_SIGN = "@"
"""Between a workload's name and its variant's: no part of a variant's name."""


def powers_of_two(low: int, high: int) -> tuple[int, ...]:
    """The powers of two from `low` to `high`, both included: `powers_of_two(2, 1024)`."""
    return tuple(2**k for k in range(64) if low <= 2**k <= high)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A data set, a model and a training algorithm, with a goal on held-out data.

    name         -- `dataset/model/optimizer`
    data         -- makes the splits; called once per process
    model        -- makes an untrained model; its keyword-only parameters are metaparameters
    loss         -- `(outputs, targets) -> scalar`, the mean over a batch; its keyword-only
                    parameters (such as `label_smoothing`) are metaparameters
    algorithm    -- the training algorithm
    goal         -- what a trial has to pass on the validation split
    search_space -- metaparameter to dimension or fixed value; or a function from the batch size
                    to that, where the range should shift with it
    step_budget  -- the steps after which a trial is given up; or a function from the batch size
    batch_sizes  -- those studied unless the user says otherwise
    schedule     -- the learning rate over the steps
    grid         -- when to evaluate
    stopping     -- when to give a trial up
    weight       -- targets of n examples to n weights, where the loss is not a mean over examples
                    but over something that they have different numbers of: `token_count`
    execution    -- how the model is computed
    description  -- one line for a person
    """

    name: str
    data: Callable[[], Splits]
    model: Callable[..., nn.Module]
    loss: Callable[..., Tensor]
    algorithm: Algorithm
    goal: Goal
    search_space: SearchSpace | Callable[[int], SearchSpace]
    step_budget: int | Callable[[int], int]
    batch_sizes: Sequence[int]
    schedule: Schedule = field(default_factory=Constant)
    grid: EvaluationGrid = field(default_factory=EvaluationGrid)
    stopping: StoppingRules = field(default_factory=StoppingRules)
    weight: Callable[[Tensor], Tensor] | None = None
    execution: Execution = field(default_factory=Execution)
    description: str = ""

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if len(parts) < 3 or not all(parts) or self.name != self.name.strip():
            raise WorkloadError(f"workload name {self.name!r}: must read dataset/model/optimizer")
        if not self.batch_sizes:
            raise WorkloadError(f"{self.name}: batch_sizes is empty")

    def with_goal(self, value: float) -> Workload:
        """The same workload with another value to pass."""
        return replace(self, goal=replace(self.goal, value=value))

    def with_precision(self, precision: str) -> Workload:
        """The same workload computed in another precision: see `Execution`."""
        execution = replace(self.execution, precision=precision)  # type: ignore[arg-type]
        return replace(self, execution=execution)  # which refuses what is none

    def as_asked(self, goal: float | None, precision: str | None) -> Workload:
        """The same workload with what a user asked for in its place; None leaves its own."""
        asked = self if goal is None else self.with_goal(goal)
        return asked if precision is None else asked.with_precision(precision)

    def steps_allowed(self, batch_size: int) -> int:
        """The step budget of a trial at this batch size."""
        budget = self.step_budget
        steps = budget(batch_size) if callable(budget) else budget
        if steps < self.grid.first:
            raise WorkloadError(
                f"{self.name}: step budget {steps} at batch size {batch_size} must be at least "
                f"{self.grid.first}, the first evaluated step"
            )
        return int(steps)

    def space(self, batch_size: int) -> SearchSpace:
        """The search space at this batch size, checked against what the workload takes."""
        space = self.search_space(batch_size) if callable(self.search_space) else self.search_space
        taken = self.metaparameters()
        for name in space:
            if name not in taken:
                raise SearchSpaceError(
                    f"{self.name}: nothing takes the metaparameter {name!r}; "
                    f"this workload takes {', '.join(sorted(taken))} (of your own functions, the "
                    "keyword-only parameters)"
                )
        missing = [n for n, default in taken.items() if default is REQUIRED and n not in space]
        if missing:
            raise SearchSpaceError(f"{self.name}: the search space lacks {', '.join(missing)}")
        return space

    def metaparameters(self) -> dict[str, Any]:
        """Every metaparameter that some part takes: name to default, or to REQUIRED."""
        return {
            **keyword_metaparameters(self.model),
            **keyword_metaparameters(self.loss),
            **self.schedule.metaparameters(),
            **self.algorithm.metaparameters(),
        }

    def searched(self, batch_size: int) -> list[str]:
        """The names of the metaparameters that are searched at this batch size."""
        return list(dimensions(self.space(batch_size)))

    def describe(self) -> dict[str, Any]:
        """Goal, grid, algorithm, schedule and rules as plain data, for a study's identity."""
        return {
            "goal": {
                "metric": self.goal.metric.name,
                "better": self.goal.metric.better,
                "value": self.goal.value,
            },
            "algorithm": self.algorithm.describe(),
            "schedule": self.schedule.describe(),
            "loss": getattr(self.loss, "__qualname__", type(self.loss).__name__),
            "grid": asdict(self.grid),
            "stopping": asdict(self.stopping),
            **self.execution.describe(),
        }
