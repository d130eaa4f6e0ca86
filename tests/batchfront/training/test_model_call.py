"""One problem in other structures of tensors has the same trials, to the bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront import Execution, Workload
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from tests import nested

CPU = torch.device("cpu")
STEPS = 30


def trained(workload: Workload, micro_batch: int | None = None) -> ModelRun:
    sizes = MicroBatchSizes(MicroBatchSize(micro_batch), MicroBatchSize(micro_batch))
    run = ModelRun(workload, workload.data(), 16, nested.VALUES, 3, CPU, sizes)
    run.advance(STEPS)
    run.evaluate(full=True)
    return run


def weights(run: ModelRun) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


every_structure = pytest.mark.parametrize("made", nested.ALL, ids=lambda made: made.__name__)


@every_structure
def test_a_trial_is_the_same_whatever_its_tensors_lie_in(made: Callable[[], Workload]) -> None:
    wanted, found = trained(nested.plain()), trained(made())
    assert torch.equal(weights(found), weights(wanted))
    assert found.evaluations == wanted.evaluations
    assert found.untrained_loss == wanted.untrained_loss


@every_structure
def test_micro_batches_of_any_structure_have_the_gradient_of_the_whole(
    made: Callable[[], Workload],
) -> None:
    torch.testing.assert_close(
        weights(trained(made(), 3)), weights(trained(made())), rtol=0, atol=1e-12
    )


@every_structure
def test_what_is_checked_before_the_first_slot_finds_nothing_in_it(
    made: Callable[[], Workload],
) -> None:
    checked = check(made(), [8, 16])
    assert (checked.whole, checked.lost) == (None, None)


def test_a_loss_that_calls_the_model_and_is_a_sum_is_found() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    checked = check(replace(nested.plain(), loss=loss), [8, 16])
    assert "a loss that calls the model" in str(checked.whole)


def test_a_loss_that_calls_the_model_is_computed_in_bfloat16_where_that_is_asked_for() -> None:
    seen = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        outputs = model(batch[0].float())
        seen.append(outputs.dtype)
        return F.cross_entropy(outputs, batch[1])

    def single() -> nn.Module:
        return nested.net().float()

    lower = replace(
        nested.plain(), model=single, loss=loss, execution=Execution(precision="bfloat16")
    )
    run = ModelRun(lower, lower.data(), 16, nested.VALUES, 3, CPU)
    run.advance(2)
    assert set(seen) == {torch.bfloat16}
    assert run.loss_sum.dtype == torch.float32
