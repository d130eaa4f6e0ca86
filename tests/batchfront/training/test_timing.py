"""Parts of training are timed as a trial computes them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from batchfront import Workload
from batchfront.training import timing
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.timing import REPETITIONS, time_alone
from batchfront.vocabulary import TimedPart
from batchfront.workload.search_space import point_at
from tests import toy

CPU = torch.device("cpu")
Step = Callable[..., Any]


def run(workload: Workload, limit: int | None = None, **changed: Any) -> ModelRun:
    """A trial of a toy workload, in micro-batches of a size."""
    workload = replace(workload, **changed)
    values = point_at(workload.space(16), [0.5] * len(workload.searched(16)))
    sizes = MicroBatchSizes(MicroBatchSize(limit))
    return ModelRun(workload, toy.splits(), 16, values, 5, CPU, sizes)


def once(batch_size: int) -> int:
    """An evaluation after each step."""
    return 1


def sizes_of(part: TimedPart, found: timing.Alone) -> set[int]:
    return {examples for timed, examples in found.seconds if timed is part}


def test_every_part_is_timed_at_every_size_often_enough() -> None:
    found = time_alone(run(toy.clouds()), {2, 8}, {8, 16}, once, None)
    assert sizes_of(TimedPart.PASS, found) == sizes_of(TimedPart.LOADING, found) == {2, 8}
    assert sizes_of(TimedPart.STEP, found) == {8, 16}
    assert sizes_of(TimedPart.UPDATE, found) == {0}
    assert sizes_of(TimedPart.EVALUATION, found) == {len(toy.splits().validation)}
    assert all(len(took) >= REPETITIONS for took in found.seconds.values())
    assert all(seconds > 0 for took in found.seconds.values() for seconds in took)


def test_what_memory_does_not_hold_is_no_pass_and_its_steps_are_timed_all_the_same() -> None:
    found = time_alone(run(toy.clouds(), limit=4), {2, 4, 8, 16}, {8, 16}, once, None)
    assert sizes_of(TimedPart.PASS, found) == {2, 4}
    assert sizes_of(TimedPart.STEP, found) == {8, 16}


def test_an_update_of_the_workloads_own_is_timed_as_whole_steps() -> None:
    def update(model: nn.Module, batch: Any, optimizers: torch.optim.Optimizer) -> torch.Tensor:
        inputs, targets = batch
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizers.step()
        return loss

    space = {"learning_rate": 0.01, "momentum": 0.9, "dropout": 0.0, "decay_steps": 50}
    found = time_alone(
        run(
            toy.clouds(),
            loss=None,
            update=update,
            search_space={**space, "decay_factor": 0.1},
        ),
        {8},
        {8, 16},
        once,
        None,
    )
    assert sizes_of(TimedPart.STEP, found) == {8, 16}
    assert not sizes_of(TimedPart.PASS, found) | sizes_of(TimedPart.UPDATE, found)


def test_a_batch_that_is_too_large_and_cannot_be_split_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def normalizing(*, dropout: float = 0.0) -> nn.Module:
        return nn.Sequential(Full(), nn.Linear(2, 12), nn.BatchNorm1d(12), nn.Linear(12, 3))

    found = time_alone(run(toy.clouds(), model=normalizing), {4, 8, 16}, {4, 8, 16}, once, None)
    assert found.too_large == (16,)
    assert sizes_of(TimedPart.STEP, found) == sizes_of(TimedPart.PASS, found) == {4, 8}


class Full(nn.Module):
    """Runs out of memory in training, past eight examples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > 8 and x.shape[0] == 16:
            raise MemoryError
        return x


def test_sizes_that_would_take_too_long_are_left_out_and_named() -> None:
    found = time_alone(run(toy.clouds()), {2, 8, 16}, {2, 8, 16}, once, 1e-3)
    assert found.too_long == (8, 16)
    assert sizes_of(TimedPart.STEP, found) == {2}


def test_timing_starts_again_where_the_step_budget_ends() -> None:
    timed = run(toy.clouds(), step_budget=30)
    found = time_alone(timed, {16}, {16}, lambda _: 20, None)
    assert len(found.seconds[TimedPart.STEP, 16]) == REPETITIONS
    assert timed.step <= 30
