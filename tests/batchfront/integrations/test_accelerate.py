"""A training loop with the real Accelerate reports as any, once its batch size is checked."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from batchfront.errors import WorkloadError
from tests.batchfront.integrations.conftest import Recorded

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


@pytest.fixture
def accelerate() -> Any:
    return pytest.importorskip("accelerate", reason="Accelerate is not installed")


@pytest.mark.parametrize(("per_device", "accumulation"), [(8, 1), (2, 4)])
def test_a_loop_with_accelerate_reports_its_updates(
    accelerate: Any, record: Callable[..., Recorded], per_device: int, accumulation: int
) -> None:
    from batchfront.integrations.accelerate import check_batch_size

    recorded = record(learning_rate=0.1, last=1000)
    trial = recorded.trial
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=accumulation, cpu=True)
    model = nn.Linear(3, 1)
    model, optimizer, loader = accelerator.prepare(
        model,
        torch.optim.SGD(model.parameters(), lr=trial["learning_rate"]),
        DataLoader(TensorDataset(torch.ones(64, 3)), per_device),
    )
    check_batch_size(trial, accelerator, loader)
    step = 0
    for (x,) in loader:
        with accelerator.accumulate(model):
            loss = model(x).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            step += 1
            if trial.evaluates(step):
                trial.report(step, loss)
    assert recorded.steps == [2, 3, 4, 6]  # of 8 in an epoch


def test_another_batch_size_is_refused_with_the_three_numbers(
    accelerate: Any, record: Callable[..., Recorded]
) -> None:
    from batchfront.integrations.accelerate import check_batch_size

    accelerator = accelerate.Accelerator(gradient_accumulation_steps=2, cpu=True)
    loader = accelerator.prepare(DataLoader(TensorDataset(torch.ones(64, 3)), 8))
    with pytest.raises(
        WorkloadError, match="8 examples per device x 2 accumulated x 1 device = 16"
    ):
        check_batch_size(record().trial, accelerator, loader)
