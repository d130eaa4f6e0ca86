"""A schedule's learning rates are asked for before the first slot."""

from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import lr_scheduler as schedulers

from batchfront.errors import WorkloadError
from batchfront.training.preflight.rates import check_rates
from batchfront.workload.search_space import Log
from batchfront.workload.torch_schedule import TorchSchedule
from batchfront.workload.weight_average import WeightAverage
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized import trials

RATE = {"learning_rate": Log(0.01, 0.1), "momentum": 0.9}


def workload(schedule: Any, space: dict[str, Any] | None = None, **other: Any) -> Workload:
    made = trials.workload(schedule=schedule, **other)
    object.__setattr__(made, "search_space", RATE if space is None else space)
    return made


def check(of: Workload) -> None:
    check_rates(of, 8, 96)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda step: 1.0,
        lambda step, *, step_budget: step / step_budget,  # which is 0 at first
        lambda step, *, step_budget: max(0, 1 - 2 * step / step_budget),  # and at last
        lambda epoch: 0.9**epoch,
        TorchSchedule(lambda optimizer: schedulers.StepLR(optimizer, 10), every="epoch"),
        TorchSchedule(
            lambda optimizer, *, learning_rate, step_budget: schedulers.OneCycleLR(
                optimizer, learning_rate, step_budget, cycle_momentum=False
            ),
            every="step",
        ),
    ],
)
def test_what_has_a_rate_for_every_step_is_let_through(schedule: Any) -> None:
    check(workload(schedule))


def test_a_warm_up_longer_than_what_is_asked_of_is_no_rate() -> None:
    long = workload(lambda step: min(1, step / 50_000), step_budget=100_000)
    check(long)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.5])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(WorkloadError, match=r"makes a learning rate of (nan|inf|-\d\S*) at step 0"):
        check(workload(lambda step: rate))


def test_a_function_of_learning_rates_in_place_of_factors_is_refused() -> None:
    def get_lr(it: int) -> float:
        return 6e-4 * min(1, it / 100)

    with pytest.raises(WorkloadError, match=r"gives at most 0.0006.*divide by its largest rate"):
        check(workload(get_lr))


def test_a_scheduler_that_ends_before_the_budget_is_refused() -> None:
    def short(optimizer: Any, *, learning_rate: float) -> schedulers.LRScheduler:
        return schedulers.OneCycleLR(optimizer, learning_rate, 50, cycle_momentum=False)

    with pytest.raises(WorkloadError, match=r"its schedule fails at batch size 8 .*50"):
        check(workload(TorchSchedule(short, every="step")))


def absolute(optimizer: Any) -> schedulers.LRScheduler:
    return schedulers.CyclicLR(optimizer, 0.01, 0.1, cycle_momentum=False)


def test_a_rate_that_is_searched_in_vain_is_refused() -> None:
    schedule = TorchSchedule(absolute, every="step")
    with pytest.raises(WorkloadError, match=r"same rates of any learning_rate \(0.01 at first\)"):
        check(workload(schedule))
    check(workload(schedule, {"learning_rate": 0.1, "momentum": 0.9}))


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda optimizer: None, r"points/any/any: its schedule: its factory must return"),
        (lambda optimizer: 1 / 0, r"its schedule fails at batch size 8 .*ZeroDivisionError"),
    ],
)
def test_what_a_factory_cannot_do_names_the_workload(
    factory: Callable[..., Any], said: str
) -> None:
    with pytest.raises(WorkloadError, match=said):
        check(workload(TorchSchedule(factory, every="step")))


def test_a_decay_of_the_weights_average_that_is_none_is_refused() -> None:
    space = {**RATE, "average_decay": Log(0.5, 2.0)}
    with pytest.raises(WorkloadError, match=r"average_decay must be a number"):
        check(workload(lambda step: 1.0, space, average=WeightAverage()))
