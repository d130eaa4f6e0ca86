"""Out of memory: the pass gets smaller, the batch and the answer stay."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from batchfront.errors import WorkloadError
from batchfront.training.evaluation import full_metric
from batchfront.training.memory import (
    MicroBatchSize,
    MicroBatchSizes,
    is_lost_device,
    is_out_of_memory,
)
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Split, Splits
from tests.toy import clouds, model, splits

CPU = torch.device("cpu")
VALUES = {
    "learning_rate": 0.05,
    "momentum": 0.8,
    "dropout": 0.0,
    "label_smoothing": 0.1,
    "decay_steps": 150,
    "decay_factor": 0.1,
}


class Narrow(nn.Module):
    """Has memory for so many examples at once, and raises as torch does beyond."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.room, self.error, self.seen = room, error, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        if len(x) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return x


def double(data: Splits) -> Splits:
    return Splits(**{name: Split(s.inputs.double(), s.targets) for name, s in data.named()})


def run(
    batch_size: int, micro_batches: MicroBatchSizes, first: nn.Module | None = None
) -> ModelRun:
    """A trial in float64, whose model begins with `first`."""

    def in_double(*, dropout: float) -> nn.Module:
        return model(dropout=dropout).double()

    workload = replace(clouds(), model=in_double)
    made = ModelRun(workload, double(splits()), batch_size, VALUES, 3, CPU, micro_batches)
    made.loss_sum = made.loss_sum.double()
    if first is not None:
        made.model[0] = first
    return made


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_errors_that_mean_it(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory


def test_a_true_allocation_that_fails_is_recognized() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(failed.value)


@pytest.mark.parametrize("size", [1, 3, 5, 8, 16])
def test_passes_of_any_size_give_the_batchs_gradient_and_loss(size: int) -> None:
    whole, parts = (
        run(16, MicroBatchSizes()),
        run(16, MicroBatchSizes(training=MicroBatchSize(size))),
    )
    for trial in (whole, parts):
        trial.advance(30)
    for mine, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-10)
    assert whole.loss_sum.item() == pytest.approx(parts.loss_sum.item(), abs=1e-10)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_pass_until_it_fits_and_keeps_the_batch(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    micro_batches, narrow = MicroBatchSizes(), Narrow(5, error)
    small, whole = run(16, micro_batches, narrow), run(16, MicroBatchSizes())
    for trial in (small, whole):
        trial.advance(3)
    assert narrow.seen == [16, 8, *(4 for _ in range(12))]
    assert micro_batches.micro_batch(16) == 4
    assert micro_batches.micro_batch(4) is None
    for mine, theirs in zip(small.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)
    assert "out of memory with 16 examples at once; going on with 8" in caplog.text


def test_the_next_trial_on_the_device_starts_with_what_fits() -> None:
    micro_batches = MicroBatchSizes()
    run(16, micro_batches, Narrow(5)).advance(1)
    narrow = Narrow(5)
    run(16, micro_batches, narrow).advance(1)
    assert narrow.seen == [4] * 4


def test_memory_that_runs_out_in_the_backward_pass_leaves_no_half_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, whole = run(16, MicroBatchSizes()), run(16, MicroBatchSizes())
    backward, calls = torch.Tensor.backward, 0

    def fails_late(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        backward(self, *arguments, **named)
        if calls == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", fails_late)
    small.advance(1)
    whole.advance(1)
    assert small.micro_batches.micro_batch(16) == 8
    for mine, theirs in zip(small.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_an_example_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run(16, MicroBatchSizes(), Narrow(0)).advance(1)


def test_another_error_is_not_tried_again() -> None:
    narrow = Narrow(5, ValueError)
    with pytest.raises(ValueError, match="out of memory"):
        run(16, MicroBatchSizes(), narrow).advance(1)
    assert narrow.seen == [16]


def test_a_look_gives_the_same_answer_in_smaller_passes() -> None:
    micro_batches = MicroBatchSizes()
    small, whole = run(16, micro_batches, Narrow(7)), run(16, MicroBatchSizes())
    for trial in (small, whole):
        trial.advance(9)
    for full in (True, False):
        mine, theirs = small.evaluate(full=full), whole.evaluate(full=full)
        assert (mine.passed, mine.value, mine.examples) == (
            theirs.passed,
            theirs.value,
            theirs.examples,
        )
    assert torch.equal(small.evaluator.order, whole.evaluator.order)
    assert micro_batches.evaluation.limit is not None
    metric = clouds().goal.metric
    data = double(splits())
    assert data.test is not None
    assert (
        full_metric(small.model, data.test, metric, micro_batches.evaluation) == small.test_metric()
    )


def test_what_failed_is_undone_before_the_next_try() -> None:
    events: list[str] = []

    def work(size: int) -> int:
        events.append(f"try {size}")
        if size > 2:
            raise torch.OutOfMemoryError
        return size

    assert MicroBatchSize().fit(8, work, lambda: events.append("undone")) == 2
    assert events == ["try 8", "undone", "try 4", "undone", "try 2"]


def test_a_batch_that_is_normalized_as_a_whole_is_not_split() -> None:
    def normalizing(*, dropout: float) -> nn.Module:
        return nn.Sequential(nn.Identity(), nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    workload = replace(clouds(), model=normalizing)
    micro_batches = MicroBatchSizes()
    trial = ModelRun(workload, splits(), 16, VALUES, 3, CPU, micro_batches)
    trial.model[0] = Narrow(5)
    with pytest.raises(WorkloadError, match="batch normalization of whole batches can't be split"):
        trial.advance(1)
    assert micro_batches.training.limit is None  # room that there may be later, for another attempt


def test_a_device_that_is_lost_is_told_from_a_full_one() -> None:
    assert is_lost_device(RuntimeError("CUDA error: device-side assert triggered"))
    assert is_lost_device(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_lost_device(RuntimeError("CUDA error: out of memory"))
    assert not is_lost_device(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not is_lost_device(ValueError("CUDA error"))
