"""Torch's schedulers and functions of the step as schedules, and what can't be one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim import lr_scheduler as schedulers

from batchfront.errors import WorkloadError
from batchfront.workload.algorithm import REQUIRED
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.lr_schedule import LinearDecay, Schedule, TrainingSize, WarmupCosine
from batchfront.workload.torch_schedule import FactorSchedule, TorchSchedule, as_schedule
from tests.batchfront.training.vectorized import trials

SIZE = TrainingSize(batch_size=8, examples=20, step_budget=100)
VALUES = {"learning_rate": 0.1}


def rates(schedule: Schedule, steps: int, **values: Any) -> list[float]:
    bound, given = schedule.at(SIZE), {**VALUES, **values}
    return [bound.learning_rate_at(step, given) for step in range(steps)]


def refused(given: object) -> str:
    with pytest.raises(WorkloadError) as error:
        as_schedule(given, "mine")
    assert "\n" not in str(error.value)
    return str(error.value)


def optimizer() -> optim.Optimizer:
    return optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def test_an_epoch_has_as_many_steps_as_a_loader_that_drops_nothing_has_batches() -> None:
    data = torch.utils.data.TensorDataset(torch.zeros(20))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    assert SIZE.steps_per_epoch == len(loader) == 3


def test_the_schedules_of_before_are_the_same_at_any_size() -> None:
    for schedule in (LinearDecay(), WarmupCosine()):
        assert schedule.at(SIZE) is schedule


def test_a_learning_rate_is_the_trials_times_the_factor() -> None:
    values = {"learning_rate": 0.3, "decay_steps": 7, "decay_factor": 0.1}
    assert LinearDecay().learning_rate_at(3, values) == 0.3 * LinearDecay().factor(3, values)


def test_by_epochs_a_rate_stays_for_as_many_steps_as_an_epoch_has() -> None:
    halving = TorchSchedule(schedulers.ExponentialLR, every="epoch")
    assert rates(halving, 7, gamma=0.5) == [0.1] * 3 + [0.05] * 3 + [0.025]


def test_what_is_asked_for_out_of_order_is_the_same() -> None:
    schedule = TorchSchedule(schedulers.StepLR, every="step")
    values = {**VALUES, "step_size": 2}
    bound = schedule.at(SIZE)
    found = {step: bound.learning_rate_at(step, values) for step in (9, 2, 0, 5)}
    assert found == {step: rates(schedule, 10, step_size=2)[step] for step in found}


def test_another_trials_metaparameters_have_rates_of_their_own() -> None:
    bound = TorchSchedule(schedulers.ExponentialLR, every="step").at(SIZE)
    one, other = {**VALUES, "gamma": 0.5}, {"learning_rate": 1.0, "gamma": 0.1}
    assert [bound.learning_rate_at(1, values) for values in (one, other, one)] == [0.05, 0.1, 0.05]


def test_an_absolute_rate_means_what_it_says() -> None:
    falling = TorchSchedule(partial(schedulers.CosineAnnealingLR, T_max=10), every="step")
    assert rates(falling, 11, eta_min=0.02)[10] == pytest.approx(0.02)


def test_batch_size_and_epochs_and_budget_are_filled_in() -> None:
    seen = []

    def factory(
        optimizer: Any, *, batch_size: int, steps_per_epoch: int, step_budget: int, gamma: float = 1
    ) -> schedulers.LRScheduler:
        seen.append((batch_size, steps_per_epoch, step_budget, gamma))
        return schedulers.ExponentialLR(optimizer, gamma)

    schedule = TorchSchedule(factory, every="step")
    assert schedule.metaparameters() == {"gamma": 1}
    rates(schedule, 5, gamma=0.5)
    assert seen == [(8, 3, 100, 0.5)]


def test_a_classs_keywords_are_metaparameters() -> None:
    step = TorchSchedule(schedulers.StepLR, every="epoch")
    assert step.metaparameters() == {"step_size": REQUIRED, "gamma": 0.1}
    part = TorchSchedule(partial(schedulers.StepLR, step_size=3), every="epoch")
    assert part.metaparameters() == {"step_size": 3, "gamma": 0.1}


@pytest.mark.parametrize(
    ("function", "steps"),
    [
        (lambda step: 0.5**step, [1.0, 0.5, 0.25, 0.125]),
        (lambda epoch: 0.5**epoch, [1.0, 1.0, 1.0, 0.5]),
        (lambda it, *, step_budget: 1 - it / step_budget, [1.0, 0.99, 0.98, 0.97]),
        (lambda step, *, base=0.5: base**step, [1.0, 0.1, 0.1**2, 0.1**3]),
    ],
)
def test_a_function_is_what_the_learning_rate_is_multiplied_by(
    function: Callable[..., float], steps: list[float]
) -> None:
    schedule = as_schedule(function, "mine")
    assert rates(schedule, 4, base=0.1) == [0.1 * factor for factor in steps]


def test_a_functions_keywords_are_metaparameters_but_for_those_filled_in() -> None:
    schedule = as_schedule(lambda step, *, warmup, step_budget: step / warmup / step_budget, "mine")
    assert schedule.metaparameters() == {"warmup": REQUIRED}


def test_a_schedule_class_that_needs_nothing_is_made() -> None:
    assert as_schedule(WarmupCosine, "mine") == WarmupCosine()


def test_a_workload_takes_a_function_for_its_schedule() -> None:
    of = trials.workload(schedule=lambda step, *, horizon: 1 / (1 + step / horizon))
    assert isinstance(of.schedule, FactorSchedule)
    assert of.metaparameters()["horizon"] is REQUIRED
    assert of.describe()["schedule"]["every"] == "step"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            schedulers.StepLR,
            'schedule=TorchSchedule(StepLR, every="epoch") or every="step", with its keywords '
            "(step_size, gamma) in the search space",
        ),
        (partial(schedulers.StepLR, step_size=3), "TorchSchedule(partial(StepLR, step_size=3), "),
        (
            schedulers.MultiStepLR,
            "MultiStepLR needs milestones, which no search space gives; give a function that makes "
            "one: TorchSchedule(lambda optimizer: MultiStepLR(optimizer, milestones=...), "
            'every="epoch")',
        ),
        (schedulers.ChainedScheduler, "ChainedScheduler needs schedulers"),
        (schedulers.ReduceLROnPlateau, "ReduceLROnPlateau sets rates by what evaluations find"),
        (
            schedulers.ReduceLROnPlateau(optimizer()),
            "ReduceLROnPlateau sets rates by what evaluations find",
        ),
        (
            schedulers.StepLR(optimizer(), 3),
            "a StepLR that is made belongs to one optimizer, and each trial has its own",
        ),
        (
            lambda optimizer: schedulers.StepLR(optimizer, 3),
            'every="step") or every="epoch"',
        ),
        (lambda x: 0.5**x, "its first parameter is called step or epoch; found 'x'"),
        ("cosine", "found 'cosine' (str); give a schedule such as WarmupCosine()"),
        (0.1, "found 0.1 (float); give a schedule"),
        (None, "found None; give a schedule"),
    ],
)
def test_what_is_no_schedule_is_told_what_to_write(given: object, said: str) -> None:
    assert said in refused(given)
    assert refused(given).startswith("mine: its schedule: ")


@pytest.mark.parametrize("every", [None, "batch"])
def test_how_often_a_scheduler_steps_has_to_be_said(every: Any) -> None:
    with pytest.raises(WorkloadError, match=r'every="step" or every="epoch"'):
        TorchSchedule(schedulers.StepLR, every)


MADE = schedulers.StepLR(optimizer(), 3)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            lambda optimizer: schedulers.OneCycleLR(optimizer, 0.1, 100),
            r"OneCycleLR sets momentum beside the learning rate.* write cycle_momentum=False",
        ),
        (
            lambda optimizer: schedulers.CyclicLR(optimizer, 0.01, 0.1),
            r"CyclicLR sets momentum beside the learning rate.* write cycle_momentum=False",
        ),
        (lambda optimizer: schedulers.ReduceLROnPlateau(optimizer), r"train by a batchfront.Loop"),
        (lambda optimizer: None, r"must return a torch.optim.lr_scheduler .* returned NoneType"),
        (lambda optimizer: MADE, r"must make a new scheduler of the optimizer that it is given"),
        (
            lambda optimizer: schedulers.LambdaLR(optimizer, [lambda k: 1.0, lambda k: 0.5]),
            r"give what holds for all parameter groups",
        ),
    ],
)
def test_what_a_schedule_cannot_have_is_told_what_to_write(
    factory: Callable[..., Any], said: str
) -> None:
    with pytest.raises(WorkloadError, match=said):
        rates(TorchSchedule(factory, every="step"), 3)


def test_without_a_size_there_are_no_factors() -> None:
    with pytest.raises(WorkloadError, match=r"schedule.at\(TrainingSize"):
        TorchSchedule(schedulers.StepLR, every="step").factor(0, {**VALUES, "step_size": 3})


def test_schedules_are_told_apart_by_what_describes_them() -> None:
    named = [
        TorchSchedule(schedulers.StepLR, every="step"),
        TorchSchedule(schedulers.StepLR, every="epoch"),
        TorchSchedule(schedulers.ExponentialLR, every="step"),
        TorchSchedule(partial(schedulers.StepLR, gamma=0.5), every="step"),
        FactorSchedule(lambda step: 1.0),
        FactorSchedule(lambda step: 1.0, "epoch"),
    ]
    described = [str(schedule.describe()) for schedule in named]
    assert len({*described}) == len(named)
    assert named[3].describe() == {
        "name": "TorchSchedule",
        "factory": "partial(StepLR, gamma=0.5)",
        "every": "step",
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda step: 1.0, lambda step: 0.5),
        (
            TorchSchedule(lambda optimizer: schedulers.StepLR(optimizer, 3), every="step"),
            TorchSchedule(lambda optimizer: schedulers.StepLR(optimizer, 4), every="step"),
        ),
    ],
)
def test_functions_of_one_name_are_told_apart_by_their_code(one: Any, other: Any) -> None:
    first, second = (Fingerprint.of(trials.workload(schedule=own)) for own in (one, other))
    assert first.parts != second.parts
