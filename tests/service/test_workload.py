"""What a workload's parts promise: goals, splits, evaluation grid, and a checked search space."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from service.algorithm import SGD, Momentum
from service.data import Split, Splits
from service.errors import SearchSpaceError, UsageError, WorkloadError
from service.goal import Goal
from service.losses import cross_entropy
from service.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE, MEAN_SQUARED_ERROR, Metric
from service.rules import EvaluationGrid, StoppingRules
from service.schedule import LinearDecay
from service.search_space import Linear, Log, ReverseLog, SearchSpace
from service.workload import Workload, flatten, powers_of_two


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


# Goal


def test_a_goal_is_passed_only_strictly() -> None:
    assert Goal(ERROR_RATE, 0.25).passed(0.2499)
    assert not Goal(ERROR_RATE, 0.25).passed(0.25)
    assert Goal(ACCURACY, 0.75).passed(0.7501)
    assert not Goal(ACCURACY, 0.75).passed(0.75)


def test_a_value_that_is_not_a_number_never_passes() -> None:
    assert not Goal(ERROR_RATE, 0.25).passed(float("nan"))
    assert not Goal(ACCURACY, 0.25).passed(float("nan"))
    assert Goal(CROSS_ENTROPY, 0.25).out_of_reach(float("nan"), 3, 10)


@pytest.mark.parametrize("metric", [ERROR_RATE, ACCURACY], ids=lambda m: m.name)
@pytest.mark.parametrize("size", [1, 7, 300])
def test_out_of_reach_is_said_as_soon_as_it_is_certain_and_never_before(
    metric: Metric, size: int
) -> None:
    generator = random.Random(size)
    best = metric.low if metric.better == "lower" else metric.high
    for value in (0.0, 0.03, 1 / 3, 0.5, 0.97, 1.0):
        goal = Goal(metric, value)
        numbers = [float(generator.random() < value) for _ in range(size)]
        for seen in range(size + 1):
            total = sum(numbers[:seen])
            luckiest = (total + best * (size - seen)) / size
            assert goal.out_of_reach(total, seen, size) == (not goal.passed(luckiest))
        assert goal.out_of_reach(sum(numbers), size, size) != goal.passed(sum(numbers) / size)


def test_an_unbounded_score_is_never_out_of_reach_before_the_end() -> None:
    score = replace(CROSS_ENTROPY, better="higher")
    assert not Goal(score, 5.0).out_of_reach(0.0, 9, 10)
    assert Goal(score, 5.0).out_of_reach(50.0, 10, 10)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_goal_outside_its_metric_is_refused_with_the_bounds(value: float) -> None:
    with pytest.raises(UsageError, match="error rate lies between 0 and 1"):
        Goal(ERROR_RATE, value)


def test_a_goal_reads_as_what_it_asks() -> None:
    assert str(Goal(ERROR_RATE, 0.03)) == "validation error rate < 0.03"
    assert str(Goal(ACCURACY, 0.9)) == "validation accuracy > 0.9"


def test_metrics_give_one_number_per_example() -> None:
    outputs, targets = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])
    assert ERROR_RATE.per_example(outputs, targets).tolist() == [0.0, 1.0]
    assert ACCURACY.per_example(outputs, targets).tolist() == [1.0, 0.0]
    losses = CROSS_ENTROPY.per_example(outputs, targets)
    assert losses.mean() == pytest.approx(float(cross_entropy(outputs, targets)))
    squares = MEAN_SQUARED_ERROR.per_example(outputs, torch.zeros(2, 2))
    assert squares.tolist() == [2.5, 4.5]


# Splits


def test_a_batch_holds_the_examples_asked_for_in_that_order() -> None:
    inputs, targets = split(8).batch(torch.tensor([5, 0, 5]))
    assert inputs.tolist() == [[10.0, 11.0], [0.0, 1.0], [10.0, 11.0]]
    assert targets.tolist() == [1, 0, 1]


@pytest.mark.parametrize(("inputs", "targets"), [(3, 2), (0, 0)])
def test_a_split_without_as_many_targets_as_inputs_is_refused(inputs: int, targets: int) -> None:
    with pytest.raises(WorkloadError, match=f"found {inputs} and {targets}"):
        Split(torch.zeros(inputs, 2), torch.zeros(targets))


def test_a_split_is_described_by_sizes_and_a_checksum_of_all_its_contents() -> None:
    described = split(8).describe()
    assert described["examples"] == 8
    assert described["input_shape"] == [2]
    assert described["target_shape"] == []
    assert split(8).describe() == described
    changed = split(8)
    changed.targets[3] += 1
    assert changed.describe()["checksum"] != described["checksum"]


def test_only_the_splits_that_there_are_have_a_name() -> None:
    assert [name for name, _ in data().named()] == ["train", "validation"]
    with_test = Splits(split(1), split(2), split(3))
    assert [name for name, _ in with_test.to(torch.device("cpu")).named()][-1] == "test"


# The evaluation grid


def test_the_grid_is_every_step_up_to_100_and_then_one_percent_more() -> None:
    steps = EvaluationGrid().steps(100_000)
    assert steps[:110] == (*range(1, 111),)
    assert all(1 <= b - a <= max(1, 0.01 * a) for a, b in pairwise(steps))
    assert len(steps) < 900


GRIDS = [
    EvaluationGrid(),
    EvaluationGrid(first=37, spacing=0.05),
    EvaluationGrid(first=1000, spacing=0.01),
    EvaluationGrid(spacing=2.5),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_longer_grid_only_adds_steps_and_none_lies_beyond_the_limit(grid: EvaluationGrid) -> None:
    steps = grid.steps(5000)
    assert steps[0] == grid.first
    for limit in range(0, 5000, 7):
        assert grid.steps(limit) == tuple(step for step in steps if step <= limit)


def test_full_looks_are_a_factor_apart_and_the_first_evaluation_is_one() -> None:
    grid = EvaluationGrid()
    steps = grid.steps(10_000)
    looks = [s for before, s in pairwise((0, *steps)) if grid.is_look(s, before)]
    assert looks[:6] == [1, 2, 3, 4, 6, 8]
    ratios = [b / a for a, b in pairwise(looks[8:])]
    assert all(1.35 < ratio < 1.5 for ratio in ratios)


@pytest.mark.parametrize("wrong", [{"first": 0}, {"spacing": 0.0}, {"look": 1.0}])
def test_a_grid_that_does_not_advance_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(WorkloadError, match="first must be >= 1"):
        EvaluationGrid(**wrong)  # type: ignore[arg-type]


def test_stopping_rules_that_would_stop_everything_are_refused() -> None:
    for wrong in ({"diverged_at": 1.0}, {"patience": 0}, {"worse_by": 0.0}, {"stale_after": 1.0}):
        with pytest.raises(WorkloadError, match="must be > 1"):
            StoppingRules(**wrong)  # type: ignore[arg-type]


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
    taken |= {"learning_rate", "momentum", "weight_decay"}
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
    described = dict(flatten(WORKLOAD.describe()))
    assert described["goal.metric"] == "error rate"
    assert described["goal.value"] == 0.25
    assert described["algorithm.name"] == "momentum"
    assert described["schedule.name"] == "Constant"
    assert described["loss"] == "cross_entropy"
    assert described["grid.spacing"] == 0.01
    assert dict(flatten(WORKLOAD.with_goal(0.1).describe())) != described


def test_label_smoothing_moves_the_target_towards_the_even_distribution() -> None:
    outputs, targets = torch.tensor([[1.0, 0.0]]), torch.tensor([0])

    def by_hand(smoothing: float) -> Tensor:
        goal = torch.tensor([[1 - smoothing / 2, smoothing / 2]])
        return -(goal * outputs.log_softmax(dim=1)).sum()

    for smoothing in (0.0, 0.1):
        loss = cross_entropy(outputs, targets, label_smoothing=smoothing)
        torch.testing.assert_close(loss, by_hand(smoothing))
