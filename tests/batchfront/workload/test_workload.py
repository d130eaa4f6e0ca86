"""What a workload's parts promise: goals, splits, evaluation grid, and a checked search space."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.errors import SearchSpaceError, UsageError, WorkloadError
from batchfront.workload.algorithm import SGD, Momentum
from batchfront.workload.data import Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Linear, Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two


def data() -> Splits:
    return Splits(split(8), split(4))


def split(examples: int) -> Split:
    return Split(torch.arange(examples * 2.0).view(examples, 2), torch.arange(examples) % 2)


def model(*, dropout: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout(dropout))


SPACE: SearchSpace = {"learning_rate": Log(1e-3, 1.0), "momentum": ReverseLog(0.0, 0.9)}
WORKLOAD = Workload(
    name="toy/linear/momentum",
    data=data,
    model=model,
    loss=cross_entropy,
    algorithm=Momentum(),
    goal=Goal(ERROR_RATE, 0.25),
    search_space=SPACE,
    step_budget=lambda batch_size: 100 // batch_size,
    batch_sizes=(1, 2, 4),
)


def test_powers_of_two_include_both_ends() -> None:
    assert powers_of_two(2, 16) == (2, 4, 8, 16)
    assert powers_of_two(3, 15) == (4, 8)
    assert powers_of_two(1, 1) == (1,)


# The workload


@pytest.mark.parametrize("name", ["toy", "toy/linear", "toy//sgd", "", " toy/linear/sgd"])
def test_a_name_that_is_not_dataset_model_optimizer_is_refused(name: str) -> None:
    with pytest.raises(WorkloadError, match="must read dataset/model/optimizer"):
        replace(WORKLOAD, name=name)


def test_a_workload_without_batch_sizes_is_refused() -> None:
    with pytest.raises(WorkloadError, match="batch_sizes is empty"):
        replace(WORKLOAD, batch_sizes=())


def test_another_goal_leaves_all_else_as_it_was() -> None:
    changed = WORKLOAD.with_goal(0.1)
    assert changed.goal == Goal(ERROR_RATE, 0.1)
    assert replace(changed, goal=WORKLOAD.goal) == WORKLOAD
    with pytest.raises(UsageError, match="error rate lies between"):
        WORKLOAD.with_goal(4)


def test_the_step_budget_may_depend_on_the_batch_size() -> None:
    assert WORKLOAD.steps_allowed(4) == 25
    assert replace(WORKLOAD, step_budget=7).steps_allowed(4) == 7
    with pytest.raises(WorkloadError, match="step budget 0 at batch size 200"):
        WORKLOAD.steps_allowed(200)


def test_the_search_space_may_depend_on_the_batch_size() -> None:
    shifted = replace(
        WORKLOAD,
        algorithm=SGD(),
        search_space=lambda batch_size: {"learning_rate": Log(1e-3 * batch_size, batch_size)},
    )
    assert shifted.space(4) == {"learning_rate": Log(0.004, 4)}


def test_metaparameters_come_from_the_model_the_loss_the_schedule_and_the_algorithm() -> None:
    workload = replace(WORKLOAD, schedule=LinearDecay())
    taken = {"dropout", "label_smoothing", "decay_steps", "decay_factor"}
    taken |= {"learning_rate", "momentum", "weight_decay", "clip_norm"}
    assert set(workload.metaparameters()) == taken


def test_every_part_may_be_searched_and_a_fixed_value_is_not() -> None:
    space = {**SPACE, "dropout": Linear(0.0, 0.5), "weight_decay": 1e-4}
    searched = replace(WORKLOAD, search_space=space).searched(1)
    assert searched == ["learning_rate", "momentum", "dropout"]


def test_a_metaparameter_that_nothing_takes_is_refused_with_those_that_are_taken() -> None:
    workload = replace(WORKLOAD, search_space={**SPACE, "lr": Log(0.1, 1.0)})
    with pytest.raises(SearchSpaceError, match=r"nothing takes the metaparameter 'lr'.*momentum"):
        workload.space(1)


def test_a_metaparameter_that_must_be_given_and_is_not_is_named() -> None:
    workload = replace(WORKLOAD, search_space={"learning_rate": 0.1}, schedule=LinearDecay())
    with pytest.raises(SearchSpaceError, match="lacks decay_steps, decay_factor, momentum"):
        workload.space(1)


def test_a_workload_is_described_by_all_that_decides_its_steps_to_target() -> None:
    described = WORKLOAD.describe()
    assert described["goal"]["metric"] == "error rate"
    assert described["goal"]["value"] == 0.25
    assert described["algorithm"]["name"] == "momentum"
    assert described["schedule"]["name"] == "Constant"
    assert described["loss"] == "cross_entropy"
    assert described["grid"]["spacing"] == 0.01
    assert WORKLOAD.with_goal(0.1).describe() != described


def test_label_smoothing_moves_the_target_towards_the_even_distribution() -> None:
    outputs, targets = torch.tensor([[1.0, 0.0]]), torch.tensor([0])

    def by_hand(smoothing: float) -> Tensor:
        goal = torch.tensor([[1 - smoothing / 2, smoothing / 2]])
        return -(goal * outputs.log_softmax(dim=1)).sum()

    for smoothing in (0.0, 0.1):
        loss = cross_entropy(outputs, targets, label_smoothing=smoothing)
        torch.testing.assert_close(loss, by_hand(smoothing))


def test_data_that_asks_for_it_is_told_the_data_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[Any] = []

    def asking(data_dir: Path) -> Any:
        told.append(data_dir)
        return data()

    workload = replace(WORKLOAD, data=asking)
    monkeypatch.delenv("BATCHFRONT_DATA_DIR", raising=False)
    with pytest.raises(WorkloadError, match=r"data\(data_dir\).*--data-dir or BATCHFRONT_DATA_DIR"):
        workload.load_data()
    optional = replace(workload, data=lambda data_dir=None: asking(data_dir))
    optional.load_data()
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    optional.load_data()
    workload.load_data()
    WORKLOAD.load_data()
    assert told == [None, tmp_path, tmp_path]
