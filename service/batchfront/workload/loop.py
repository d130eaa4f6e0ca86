"""A workload whose training loop is a Python function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchfront.workload.base import WorkloadBase
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Loop(WorkloadBase):
    """A workload that a function trains.

    train          -- `(trial) -> iterator of Measured`, a generator, which yields at evaluations;
                      or a function that calls `trial.report` there, for frameworks that call back
    grid           -- the steps at which `trial.evaluates` asks for an evaluation
    train_examples -- in an epoch; 0: not known
    """

    train: Callable[..., Any]
    grid: EvaluationGrid = field(default_factory=EvaluationGrid)
    train_examples: int = 0

    @property
    def first_step(self) -> int:
        return self.grid.first

    def check_space(self, space: SearchSpace) -> None:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Kind, goal, grid and rules."""
        raise NotImplementedError
