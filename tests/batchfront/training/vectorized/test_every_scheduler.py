"""Every scheduler of torch.optim.lr_scheduler in a stack."""

import pytest
import torch

from batchfront.training.engines import Sequential
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.algorithm import Algorithm, Momentum, TorchOptimizer
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.torch_schedule import Every
from tests.batchfront.training.every_scheduler import CASES, STEP_BUDGET, Case, factory, workload
from tests.batchfront.training.vectorized.trials import NEVER, is_stacked, runs, splits, weights

STEPS = STEP_BUDGET  # to the last, past which some have no rate


TWO: list[Metaparameters] = [
    {"learning_rate": 0.03, "last_rate": 0.02},
    {"learning_rate": 0.013, "last_rate": 0.05},
]
ONE: list[Metaparameters] = [
    {"learning_rate": 0.03, "momentum": 0.9},
    {"learning_rate": 0.1, "momentum": 0.5},
]


@pytest.mark.parametrize(
    ("algorithm", "rates", "every"),
    [
        (TorchOptimizer("two", factory), TWO, "step"),
        (TorchOptimizer("two", factory), TWO, "epoch"),
        (Momentum(), ONE, "step"),
    ],
    ids=["groups", "groups by epoch", "written"],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)
def test_a_stack_takes_as_many_steps_to_the_target_as_each_alone(
    case: Case, algorithm: Algorithm, rates: list[Metaparameters], every: Every
) -> None:
    goal = Goal(ERROR_RATE, 0.6)
    of = workload(case, every, algorithm=algorithm, step_budget=STEP_BUDGET, goal=goal)
    data, values = splits(16), [{**own, **case.values} for own in rates]
    alone, together = (runs(of, data, values) for _ in range(2))
    engine, reached = Vectorized(), 0
    for step in range(3, STEPS + 1, 3):
        Sequential().advance(alone, step, NEVER)
        assert engine.advance(together, step, NEVER) == [True] * len(values)
        passed = [run.evaluate(full=True).passed for run in alone]
        found = engine.evaluate(together, full=True)
        assert [check.passed for check in found] == passed  # type: ignore[union-attr]
        reached += sum(passed)
    assert reached
    assert all(map(is_stacked, together))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights(other), weights(one), rtol=1e-9, atol=1e-9)
