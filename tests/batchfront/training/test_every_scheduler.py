"""Every scheduler of torch.optim.lr_scheduler trains as in a loop written by hand, to the bit."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler as schedulers

from batchfront.training.model_run import ModelRun
from batchfront.workload.algorithm import Momentum, TorchOptimizer
from batchfront.workload.torch_schedule import Every
from tests.batchfront.training.every_scheduler import (
    CASES,
    LEARNING_RATE,
    RATES,
    REFUSED,
    STEP_BUDGET,
    Case,
    by_hand,
    factory,
    start,
    workload,
)
from tests.batchfront.training.vectorized import trials

STEPS = 40


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)
either = pytest.mark.parametrize("every", ["step", "epoch"])


def assert_equal(run: ModelRun, net: nn.Module) -> None:
    ours, theirs = run.model.state_dict(), net.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def groups(net: nn.Module) -> optim.Optimizer:
    return factory(list(net.named_parameters()), **RATES)


def test_the_table_has_every_scheduler_that_torch_has() -> None:
    public = [one for name, one in vars(schedulers).items() if not name.startswith("_")]
    classes = {one for one in public if inspect.isclass(one)}
    found = {one for one in classes if issubclass(one, schedulers.LRScheduler)}
    missing = found - {*REFUSED} - {case.kind for case in CASES}
    assert not missing, "not in the table of tests/batchfront/training/every_scheduler.py"


@either
@every_case
def test_groups_with_rates_of_their_own_train_as_in_a_loop_by_hand(
    case: Case, every: Every
) -> None:
    data = trials.splits(16)
    of = workload(case, every, step_budget=STEP_BUDGET)
    run = start(of, data, {**RATES, **case.values})
    run.advance(STEPS)
    assert_equal(run, by_hand(data, groups, case.scheduler, every, STEPS))


@every_case
def test_our_own_momentum_trains_as_torchs_fused_one_in_a_loop_by_hand(case: Case) -> None:
    data = trials.splits(16)
    of = workload(case, "step", algorithm=Momentum(), step_budget=STEP_BUDGET)
    values = {"learning_rate": LEARNING_RATE, "momentum": 0.9, **case.values}
    run = start(of, data, values)
    run.advance(STEPS)
    fused: dict[str, Any] = {"lr": LEARNING_RATE, "momentum": 0.9, "fused": True}
    net = by_hand(
        data, lambda net: optim.SGD(net.parameters(), **fused), case.scheduler, "step", STEPS
    )
    assert_equal(run, net)


@either
@every_case
def test_each_goes_on_from_a_file_bit_for_bit(case: Case, every: Every, tmp_path: Path) -> None:
    data, of = trials.splits(16), workload(case, every, step_budget=STEP_BUDGET)
    first, second = (start(of, data, {**RATES, **case.values}) for _ in range(2))
    first.advance(17)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    second.advance(STEPS)
    assert_equal(second, by_hand(data, groups, case.scheduler, every, STEPS))


def test_several_optimizers_each_follow_the_schedule_at_their_own_rates() -> None:
    case = next(case for case in CASES if case.kind is schedulers.SequentialLR)

    def made(
        model: nn.Module, *, learning_rate: float, last_rate: float
    ) -> dict[str, optim.Optimizer]:
        first, *_, last = [one for one in model.modules() if isinstance(one, nn.Linear)]
        return {
            "body": optim.AdamW(first.parameters(), lr=learning_rate),
            "head": optim.SGD(last.parameters(), lr=last_rate),
        }

    data = trials.splits(16)
    algorithm = TorchOptimizer("two", made)
    run = start(
        workload(case, "step", algorithm=algorithm, step_budget=STEP_BUDGET),
        data,
        {**RATES, **case.values},
    )

    class Both:
        """Steps all optimizers, or all schedulers, of a loop."""

        def __init__(self, ones: list[Any]) -> None:
            self.ones = ones

        def zero_grad(self) -> None:
            for one in self.ones:
                one.zero_grad()

        def step(self) -> None:
            for one in self.ones:
                one.step()

    run.advance(STEPS)
    net = by_hand(
        data,
        lambda net: Both([*made(net, **RATES).values()]),  # type: ignore[arg-type,return-value]
        lambda both: Both([case.scheduler(one) for one in both.ones]),  # type: ignore[attr-defined,arg-type,return-value]
        "step",
        STEPS,
    )
    assert_equal(run, net)


def test_a_factory_that_is_given_no_rate_follows_the_trials() -> None:
    case = next(case for case in CASES if case.kind is schedulers.CosineAnnealingLR)
    data = trials.splits(16)
    algorithm = TorchOptimizer("adam", lambda parameters: optim.Adam(parameters))
    values = {"learning_rate": LEARNING_RATE, **case.values}
    run = start(workload(case, "epoch", algorithm=algorithm, step_budget=STEP_BUDGET), data, values)
    run.advance(STEPS)
    net = by_hand(
        data,
        lambda net: optim.Adam(net.parameters(), lr=LEARNING_RATE),
        case.scheduler,
        "epoch",
        STEPS,
    )
    assert_equal(run, net)
