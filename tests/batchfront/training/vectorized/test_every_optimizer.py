"""Every optimizer of torch.optim in a stack, and those that can't be."""

from collections.abc import Sequence

import pytest
import torch

from batchfront.training.engines import Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.eligibility import why_not
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload
from tests.batchfront.training.every_optimizer import BATCH_SIZE, CASES, Case, grouped, plain
from tests.batchfront.training.vectorized.trials import CPU, NEVER, is_stacked, runs, weights

STEPS, GOAL = 60, Goal(ERROR_RATE, 0.3)

stacked = pytest.mark.parametrize("case", [c for c in CASES if c.stacks], ids=lambda c: c.name)


def compare(case: Case, workload: Workload, values: Sequence[Metaparameters]) -> list[ModelRun]:
    """Trials of a stack take the steps to the target, and come to the weights, of the same trials
    alone."""
    data = case.data()
    alone, together = (runs(workload, data, values) for _ in range(2))
    engine, reached = Vectorized(), 0
    for step in range(1, STEPS + 1):
        Sequential().advance(alone, step, NEVER)
        assert engine.advance(together, step, NEVER) == [True] * len(values)
        passed = [run.evaluate(full=True).passed for run in alone]
        found = engine.evaluate(together, full=True)
        assert [check.passed for check in found] == passed  # type: ignore[union-attr]
        reached += sum(passed)
    assert reached
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights(other), weights(one), rtol=case.loose, atol=case.loose)
    return together


@stacked
def test_a_stack_takes_as_many_steps_to_the_target_as_each_alone(case: Case) -> None:
    rates = [case.rate * times for times in (1.0, 0.5, 0.7)]
    compare(
        case, plain(case, goal=GOAL), [{**case.values, "learning_rate": rate} for rate in rates]
    )


@stacked
def test_groups_by_name_keep_to_their_own_rates_in_a_stack(case: Case) -> None:
    rates = [(case.rate, case.rate / 3), (case.rate / 2, case.rate)]
    values = [{"learning_rate": rate, "last_rate": last} for rate, last in rates]
    assert all(map(is_stacked, compare(case, grouped(case, goal=GOAL), values)))


@stacked
def test_clipped_to_norms_of_their_own_they_take_the_steps_of_each_alone(case: Case) -> None:
    values = [{**case.values, "clip_norm": norm} for norm in (0.2, 1.0, 1e6)]
    assert all(map(is_stacked, compare(case, plain(case, goal=GOAL), values)))


@pytest.mark.parametrize("case", [c for c in CASES if not c.stacks], ids=lambda c: c.name)
def test_what_asks_for_more_than_a_gradient_is_trained_one_by_one(case: Case) -> None:
    data, workload = case.data(), plain(case)
    reason = why_not(workload, BATCH_SIZE, data, case.values, [CPU])
    assert reason in ("its optimizer calls a closure", "it has an embedding with `sparse`")
    alone, together = (runs(workload, data, [case.values] * 2) for _ in range(2))
    for run in alone:
        run.advance(20)
    Vectorized().advance(together, 20, NEVER)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(weights(one), weights(other))
