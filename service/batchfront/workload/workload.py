"""A workload that batchfront trains: data, a model, a loss and a training algorithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from batchfront.errors import SearchSpaceError
from batchfront.workload.algorithm import REQUIRED, Algorithm, keyword_metaparameters
from batchfront.workload.base import WorkloadBase
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.execution import Execution
from batchfront.workload.lr_schedule import Constant, Schedule
from batchfront.workload.search_space import SearchSpace

if TYPE_CHECKING:  # which bring torch
    from torch import Tensor, nn

    from batchfront.workload.data import Splits


def powers_of_two(low: int, high: int) -> tuple[int, ...]:
    """The powers of two from `low` to `high`, both included: `powers_of_two(2, 1024)`."""
    return tuple(2**k for k in range(64) if low <= 2**k <= high)


@dataclass(frozen=True, kw_only=True)
class Workload(WorkloadBase):
    """A workload whose training loop is batchfront's, beside what every `WorkloadBase` has.

    data      -- makes the splits; called once per process
    model     -- makes an untrained model; its keyword-only parameters are metaparameters
    loss      -- `(outputs, targets) -> scalar`, the mean over a batch; its keyword-only parameters
                 (such as `label_smoothing`) are metaparameters
    algorithm -- the training algorithm
    schedule  -- the learning rate over the steps
    grid      -- when to evaluate
    weight    -- targets of n examples to n weights, where the loss is not a mean over examples but
                 over something that they have different numbers of: `token_count`
    execution -- how the model is computed
    """

    data: Callable[[], Splits]
    model: Callable[..., nn.Module]
    loss: Callable[..., Tensor]
    algorithm: Algorithm
    schedule: Schedule = field(default_factory=Constant)
    grid: EvaluationGrid = field(default_factory=EvaluationGrid)
    weight: Callable[[Tensor], Tensor] | None = None
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.goal.computed  # which refuses one that isn't

    @property
    def first_step(self) -> int:
        return self.grid.first

    def with_precision(self, precision: str) -> Self:
        """The same workload computed in another precision: see `Execution`."""
        execution = replace(self.execution, precision=precision)  # type: ignore[arg-type]
        return replace(self, execution=execution)  # which refuses what is none

    def check_space(self, space: SearchSpace) -> None:
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

    def metaparameters(self) -> dict[str, Any]:
        """Every metaparameter that some part takes: name to default, or to REQUIRED."""
        return {
            **keyword_metaparameters(self.model),
            **keyword_metaparameters(self.loss),
            **self.schedule.metaparameters(),
            **self.algorithm.metaparameters(),
        }

    def describe(self) -> dict[str, Any]:
        """Goal, grid, algorithm, schedule and rules as plain data, for a study's identity."""
        return {
            "goal": self.goal.describe(),
            "algorithm": self.algorithm.describe(),
            "schedule": self.schedule.describe(),
            "loss": getattr(self.loss, "__qualname__", type(self.loss).__name__),
            "grid": asdict(self.grid),
            "stopping": self.stopping.describe(),
            **self.execution.describe(),
        }
