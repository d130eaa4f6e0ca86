"""A trial that a callback reports to, without a worker."""

from collections.abc import Callable
from typing import Any

import pytest

from batchfront.reporting import TrialEnded
from batchfront.workload.evaluation_grid import EvaluationGrid, EveryStep, GridSteps
from batchfront.workload.loop import Trial


class Recorded:
    """What has been reported of a trial, which is over once it reports `last`.

    grid -- None: the trial is evaluated where it chooses
    """

    def __init__(
        self, *, grid: EvaluationGrid | None, last: int, batch_size: int, **values: Any
    ) -> None:
        self.last = last
        self.reports: list[tuple[int, float, float | None]] = []
        steps = EveryStep(1000) if grid is None else GridSteps(grid, 1000)
        self.trial = Trial(values, batch_size, 7, steps, report=self._report)

    @property
    def steps(self) -> list[int]:
        return [step for step, _, _ in self.reports]

    def _report(
        self, step: int, value: float, loss: float | None, examples: int | None, measures: object
    ) -> None:
        self.reports.append((step, float(value), None if loss is None else float(loss)))
        if step >= self.last:
            raise TrialEnded("capped")


@pytest.fixture
def record() -> Callable[..., Recorded]:
    """Makes a trial of which the reports are recorded."""

    def record(
        *,
        grid: EvaluationGrid | None = EvaluationGrid(first=2, spacing=0.5),  # noqa: B008
        last: int = 9,
        batch_size: int = 8,
        **values: Any,
    ) -> Recorded:
        return Recorded(grid=grid, last=last, batch_size=batch_size, **values)

    return record
