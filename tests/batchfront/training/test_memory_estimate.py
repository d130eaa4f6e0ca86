"""How many examples fit is estimated before memory runs out."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from batchfront.training.memory import MicroBatchSizes
from batchfront.training.memory_estimate import Need, need_of
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Examples, Split, Splits
from batchfront.workload.layers import GhostBatchNorm2d
from tests.batchfront.training.test_gradient import BATCH, KINDS, VALUES, AtOnce
from tests.toy import clouds, splits

CPU = torch.device("cpu")
TOY = {**VALUES, "dropout": 0.1, "decay_steps": 150, "decay_factor": 0.1}


def toy(model: Callable[[], nn.Module], micro_batches: MicroBatchSizes | None = None) -> ModelRun:
    def made(*, dropout: float) -> nn.Module:
        return model()

    return ModelRun(replace(clouds(), model=made), splits(), 16, TOY, 3, CPU, micro_batches)


def wide(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 3))


def test_it_is_what_autograd_saves_and_a_few_gradients_of_the_largest_of_it() -> None:
    need = need_of(toy(lambda: wide(1000)).gradient)
    example, hidden, outputs, target = 2 * 4, 1000 * 4, 3 * 4, 8
    saved = example + hidden + outputs + target
    assert need.training == pytest.approx(saved + example + target + 3 * hidden, abs=4)
    assert need.evaluation == example + target + 4 * hidden


def test_of_a_model_that_an_update_trains_it_is_what_its_outputs_take() -> None:
    def update(model: nn.Module, batch: object, optimizer: object) -> None:
        raise AssertionError("not called for an estimate")

    own = replace(clouds(), model=lambda: wide(1000), loss=None, update=update)
    usual = toy(lambda: wide(1000))
    run = ModelRun(own, splits(), 16, TOY, 3, CPU)
    assert need_of(run.alone).evaluation == need_of(usual.alone).evaluation


def test_weights_do_not_count_and_what_is_saved_twice_counts_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 3), nn.Linear(2, 3)
            self.register_buffer("large", torch.ones(10_000))

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.first(x) + self.second(x) * self.large.mean()
            return outputs

    need = need_of(toy(Twice).gradient)
    assert need.training < 200


def test_both_sizes_are_powers_of_two_that_fit_into_the_room() -> None:
    micro_batches = MicroBatchSizes(room=100_000)
    run = toy(lambda: wide(1000), micro_batches)
    need = need_of(run.gradient)
    assert micro_batches.limits == (4, 4)
    assert 4 * need.training <= 100_000 < 8 * need.training
    run.advance(2)
    assert micro_batches.micro_batch(16) == 4
    assert micro_batches.room is None


def test_groups_that_are_normalized_together_stay_whole() -> None:
    for groups, room in ((4, 4.9), (1, 0.1)):
        kind = KINDS["ghost batch normalization"]
        need = need_of(kind.run(None).gradient)
        micro_batches = MicroBatchSizes(room=int(room * 4 * need.training))
        ModelRun(kind.workload(), kind.data(), BATCH, VALUES, 3, CPU, micro_batches)
        assert micro_batches.training.limit == groups * 4


def test_an_estimate_leaves_no_trace_in_the_trial() -> None:
    kind = KINDS["ghost batch normalization"]
    runs = [
        ModelRun(kind.workload(), kind.data(), BATCH, VALUES, 3, CPU, micro_batches)
        for micro_batches in (MicroBatchSizes(), MicroBatchSizes(room=1 << 40))
    ]
    for run in runs:
        run.advance(3)
    states = [run.model.state_dict() for run in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(m._seen for m in runs[1].model.modules() if isinstance(m, GhostBatchNorm2d))


def test_batches_that_are_normalized_as_a_whole_are_not_cut_by_an_estimate() -> None:
    micro_batches = MicroBatchSizes(room=1)
    model = lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))  # noqa: E731
    toy(model, micro_batches).advance(1)
    assert micro_batches.training.limit is None


def test_a_model_that_cannot_be_tried_on_a_few_is_left_to_the_trial() -> None:
    class Choosy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and len(x) < 16:
                raise ValueError("16 or more")
            return super().forward(x)

    micro_batches = MicroBatchSizes(room=1)
    toy(lambda: Choosy(2, 3), micro_batches).advance(1)
    assert micro_batches.limits == (None, None)


def test_examples_of_many_lengths_count_as_long_as_those_of_large_batches() -> None:
    class Padded(AtOnce):
        def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
            inputs, targets = super().batch(indices, seed)
            length = 5 if len(indices) > 4 else 1
            return inputs[:, :length].long(), targets[:, :length]

    kind = KINDS["tokens"]
    split = kind.data().train
    assert isinstance(split, Split)

    def need(data: Examples) -> Need:
        run = ModelRun(kind.workload(), Splits(data, split), BATCH, VALUES, 3, CPU)
        return need_of(run.gradient)

    assert need(Padded(split)) == need(split)


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_a_handful_of_examples_is_enough(examples: int) -> None:
    few = Split(torch.randn(examples, 2), torch.arange(examples))
    workload = replace(clouds(), model=lambda *, dropout: wide(10))
    micro_batches = MicroBatchSizes(room=10_000)
    ModelRun(workload, Splits(few, few), 1, TOY, 3, CPU, micro_batches).advance(2)
    assert micro_batches.training.limit is not None
