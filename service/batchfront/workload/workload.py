"""A workload that batchfront trains: data, a model, a loss and a training algorithm."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batchfront.errors import SearchSpaceError, WorkloadError
from batchfront.workload.algorithm import (
    REQUIRED,
    Algorithm,
    as_algorithm,
    first_parameter,
    keyword_metaparameters,
)
from batchfront.workload.base import WorkloadBase
from batchfront.workload.definition import (
    as_clip_norm,
    as_data,
    as_function,
    as_loss,
    as_metaparameters,
    as_model,
    as_one_of,
    as_plain,
)
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.execution import Execution
from batchfront.workload.lr_schedule import Constant, Schedule
from batchfront.workload.measures import as_measures
from batchfront.workload.search_space import SearchSpace
from batchfront.workload.torch_schedule import as_schedule
from batchfront.workload.weight_average import WeightAverage

if TYPE_CHECKING:  # which bring torch
    from torch import Tensor, nn

    from batchfront.workload.data import Splits
    from batchfront.workload.metrics import Metric, SplitMetric


def powers_of_two(low: int, high: int) -> tuple[int, ...]:
    """The powers of two from `low` to `high`, both included: `powers_of_two(2, 1024)`."""
    return tuple(2**k for k in range(64) if low <= 2**k <= high)


@dataclass(frozen=True, kw_only=True)
class Workload(WorkloadBase):
    """A workload whose training loop is batchfront's, beside what every `WorkloadBase` has.

    data      -- makes the splits; called once per process. If it has a parameter `data_dir`, it
                 is given the folder of --data-dir there, a Path
    model     -- makes an untrained model; its keyword-only parameters are metaparameters
    loss      -- `(outputs, targets) -> scalar`, the mean over a batch; or, for a model that is
                 called for its loss, `(model, batch) -> scalar`: its first parameter is then
                 called `model`, and the batch is as the data set gives it (`Batch.whole`). Its
                 keyword-only parameters (such as `label_smoothing`) are metaparameters
    algorithm -- the training algorithm
    update    -- `(model, batch, optimizers) -> loss`, in place of a loss: trains the model for a
                 step by itself, as adversarial or closure-taking updates do. The optimizers are
                 what the algorithm's factory has made, their rates set; the loss is recorded, and
                 may be None. Its keyword-only parameters are metaparameters
    clip_norm -- the norm that a step's gradient is clipped to, where the metaparameter `clip_norm`
                 isn't searched; None: it isn't clipped
    average   -- of the weights along training, what is evaluated in their place
    measures  -- metrics of the validation split that full evaluations record beside the goal's:
                 `(CROSS_ENTROPY, ...)`. They decide nothing, and are no part of a study's identity
    schedule  -- the learning rate over the steps
    grid      -- when to evaluate
    weight    -- targets of n examples to n weights, where the loss is not a mean over examples but
                 over something that they have different numbers of: `token_count`
    execution -- how the model is computed
    """

    data: Callable[..., Splits]
    model: Callable[..., nn.Module]
    loss: Callable[..., Tensor] | None = None
    algorithm: Algorithm
    update: Callable[..., Any] | None = None
    clip_norm: float | None = None
    average: WeightAverage | None = None
    measures: Sequence[Metric | SplitMetric] = ()
    schedule: Schedule = field(default_factory=Constant)
    grid: EvaluationGrid = field(default_factory=EvaluationGrid)
    weight: Callable[[Tensor], Tensor] | None = None
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.name
        self._take(
            goal=self.goal.by_batchfront(),
            data=as_data(name, self.data),
            model=as_model(name, self.model),
            loss=as_loss(name, self.loss),
            algorithm=as_algorithm(self.algorithm, name),
            clip_norm=as_clip_norm(name, self.clip_norm),
            schedule=as_schedule(self.schedule, name),
            grid=as_one_of(name, "grid", self.grid, EvaluationGrid, "EvaluationGrid()"),
            execution=as_one_of(
                name, "execution", self.execution, Execution, 'Execution(precision="bfloat16"), say'
            ),
        )
        self._take(measures=as_measures(name, self.measures, self.goal.metric.name))
        if self.weight is not None:
            as_function(name, "weight", self.weight, ("targets",))
        if self.update is not None:
            as_function(name, "update", self.update, ("model", "batch", "optimizers"))
        if self.average is not None:
            such_as = "WeightAverage(decay=0.999)"
            self._take(average=as_one_of(name, "average", self.average, WeightAverage, such_as))
        if self.loss is None and self.update is None:
            raise WorkloadError(
                f"{self.name}: a workload needs loss=, (outputs, targets) or (model, batch) to the "
                "mean over the batch; or update=, (model, batch, optimizers) for a step of its own"
            )
        if self.update is not None and self.execution.precision != "float32":
            raise WorkloadError(
                f"{self.name}: update= calls the model itself, where precision "
                f"{self.execution.precision!r} doesn't reach; use torch.autocast in it"
            )

    @property
    def first_step(self) -> int:
        return self.grid.first

    def with_precision(self, precision: str) -> Self:
        """The same workload computed in another precision: see `Execution`."""
        execution = replace(self.execution, precision=precision)  # type: ignore[arg-type]
        return replace(self, execution=execution)  # which refuses what is none

    def load_data(self) -> Splits:
        """What `data` gives, told where data sets are if it has a parameter `data_dir`.

        Raises WorkloadError if it wants that, and it isn't known.
        """
        wanted = inspect.signature(self.data).parameters.get("data_dir")
        if wanted is None:
            return self.data()
        folder = os.environ.get("BATCHFRONT_DATA_DIR")
        if folder:
            return self.data(data_dir=Path(folder).expanduser())
        if wanted.default is not inspect.Parameter.empty:
            return self.data()
        raise WorkloadError(
            f"{self.name}: its data(data_dir) is to be told the folder of its data set; give it "
            "with --data-dir or BATCHFRONT_DATA_DIR"
        )

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
            **({} if self.average is None else self.average.metaparameters()),
            **({} if self.update is None else keyword_metaparameters(self.update)),
            **({"clip_norm": self.clip_norm} if self.takes_clip_norm else {}),
            **self._metaparameters_of_parts(),
        }

    def _metaparameters_of_parts(self) -> dict[str, Any]:
        return {
            **keyword_metaparameters(self.model),
            **keyword_metaparameters(self.loss),
            **as_metaparameters(self.name, "schedule", self.schedule.metaparameters()),
            **as_metaparameters(self.name, "algorithm", self.algorithm.metaparameters()),
        }

    @cached_property
    def takes_clip_norm(self) -> bool:
        """Whether batchfront clips gradients to the metaparameter `clip_norm`, which may be fixed:
        neither an update computes them, nor does a function of the user's take that name."""
        return self.update is None and "clip_norm" not in self._metaparameters_of_parts()

    @cached_property
    def loss_takes_model(self) -> bool:
        """Whether the loss is `(model, batch) -> scalar`."""
        return self.loss is not None and first_parameter(self.loss) == "model"

    def describe(self) -> dict[str, Any]:
        """Goal, grid, algorithm, schedule and rules as plain data, for a study's identity."""
        more = {
            "update": None if self.update is None else _name_of(self.update),
            "clip_norm": self.clip_norm,
            "average": None if self.average is None else self.average.describe(),
        }
        return {
            "goal": self.goal.describe(),
            "algorithm": as_plain(f"{self.name}: algorithm.describe()", self.algorithm.describe()),
            "schedule": as_plain(f"{self.name}: schedule.describe()", self.schedule.describe()),
            "loss": None if self.loss is None else _name_of(self.loss),
            "grid": asdict(self.grid),
            "stopping": self.stopping.describe(),
            **{name: value for name, value in more.items() if value is not None},
            **self.execution.describe(),
        }


def _name_of(function: Callable[..., Any]) -> str:
    name: str = getattr(function, "__qualname__", type(function).__name__)
    return name
