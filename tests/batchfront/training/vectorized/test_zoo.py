"""Whatever people bring is computed by the vectorized engine as by the sequential one, or not at
all."""

from collections.abc import Sequence

import pytest
import torch

from batchfront.training.engines import Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.eligibility import why_not
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.data import Splits
from batchfront.workload.search_space import Metaparameters, quasi_random_points
from tests.batchfront.training.vectorized.trials import CPU, NEVER
from tests.zoo import ZOO, Case

_SEEDS = (3, 4, 5)
_BATCH_SIZE = 8
_CLOSE = 1e-4  # of a tensor's largest number, after 20 steps in float32


RIGHT_ALL_THE_SAME = {"branching_loss"}
"""Of the cases that come out otherwise if they are stacked naively, those of which a loss is called
for each trial by itself makes another matter."""


def values_of(case: Case) -> list[Metaparameters]:
    """Draws whose learning rates are too small to magnify what rounding does."""
    found = quasi_random_points(case.workload.space(_BATCH_SIZE), len(_SEEDS), 1)
    return [{**own, "learning_rate": min(float(own["learning_rate"]), 0.05)} for own in found]


def trained(case: Case, data: Splits, values: Sequence[Metaparameters]) -> list[ModelRun]:
    pairs = zip(values, _SEEDS, strict=True)
    return [ModelRun(case.workload, data, _BATCH_SIZE, own, seed, CPU) for own, seed in pairs]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("case", ZOO, ids=lambda case: case.name)
def test_trials_are_the_same_as_one_or_they_are_not_computed_so(case: Case) -> None:
    data, values = case.workload.data(), values_of(case)
    alone, together = (trained(case, data, values) for _ in range(2))
    engine = Vectorized()
    for to_step in (7, 20):
        for way, runs in ((Sequential(), alone), (engine, together)):
            assert way.advance(runs, to_step, NEVER) == [True] * len(runs)
        found, expected = (
            engine.evaluate(together, full=True),
            Sequential().evaluate(alone, full=True),
        )
    engines = {name for run in together for name in run.engines}
    if case.stacks == "must":
        assert engines == {"vectorized"}
    if case.stacks == "never" and case.name not in RIGHT_ALL_THE_SAME:
        assert engines == {"sequential"}
    if engines == {"sequential"}:
        return
    assert why_not(case.workload, _BATCH_SIZE, data, values[0], [CPU]) is None
    for one, other in zip(alone, together, strict=True):
        for name, weight in one.model.named_parameters():
            largest = weight.abs().max().item()
            same = {"rtol": 0.0, "atol": _CLOSE * largest}
            torch.testing.assert_close(other.model.get_parameter(name), weight, **same)
    for seen, true in zip(found, expected, strict=True):
        assert isinstance(seen, GoalCheck)
        assert isinstance(true, GoalCheck)
        assert seen.value == pytest.approx(true.value, rel=1e-4)
