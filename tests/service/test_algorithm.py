"""Our SGD family does what torch.optim does, and every optimizer continues from its state."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from service.algorithm import (
    REQUIRED,
    SGD,
    Algorithm,
    Momentum,
    NesterovMomentum,
    Optimizer,
    TorchOptimizer,
    chosen,
    keyword_metaparameters,
)
from service.errors import WorkloadError
from service.losses import cross_entropy

LEARNING_RATES = [0.05 * 0.9**step for step in range(20)]


def adamw(
    parameters: list[Tensor], *, learning_rate: float, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)


ADAMW = TorchOptimizer("adamw", adamw)
ALL: list[Algorithm] = [SGD(), Momentum(), NesterovMomentum(), ADAMW]
VALUES = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def backward(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 5, generator=generator)
    targets = torch.randint(0, 3, (8,), generator=generator)
    cross_entropy(model(inputs), targets).backward()


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        backward(model, step)
        optimizer.step(LEARNING_RATES[step])


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("algorithm", "momentum", "nesterov"),
    [(SGD(), 0.0, False), (Momentum(), 0.9, False), (NesterovMomentum(), 0.9, True)],
    ids=["sgd", "momentum", "nesterov_momentum"],
)
def test_twenty_steps_are_those_of_torchs_own_sgd(
    algorithm: Algorithm, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    ours, theirs = network(), network()
    optimizer = algorithm.start(ours, {"momentum": momentum, "weight_decay": weight_decay})
    train(ours, optimizer, range(20))
    reference = torch.optim.SGD(
        theirs.parameters(), 0.1, momentum, weight_decay=weight_decay, nesterov=nesterov
    )
    for step, rate in enumerate(LEARNING_RATES):
        backward(theirs, step)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        reference.zero_grad()
    assert not torch.allclose(weights(ours), weights(network()))
    torch.testing.assert_close(weights(ours), weights(theirs))


def test_a_torch_optimizer_takes_its_metaparameters_and_the_schedules_learning_rate() -> None:
    ours, theirs = network(), network()
    train(ours, ADAMW.start(ours, VALUES), range(20))
    reference = torch.optim.AdamW(theirs.parameters(), weight_decay=0.1)
    for step, rate in enumerate(LEARNING_RATES):
        backward(theirs, step)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(weights(ours), weights(theirs))


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_a_restored_optimizer_continues_bit_for_bit(algorithm: Algorithm) -> None:
    whole = network()
    train(whole, algorithm.start(whole, VALUES), range(20))

    first = network()
    optimizer = algorithm.start(first, VALUES)
    train(first, optimizer, range(8))
    saved = copy.deepcopy((first.state_dict(), optimizer.state()))

    second = network()
    resumed = algorithm.start(second, VALUES)
    second.load_state_dict(saved[0])
    resumed.restore(saved[1])
    train(second, resumed, range(8, 20))
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_a_step_leaves_no_gradient_behind(algorithm: Algorithm) -> None:
    model = network()
    optimizer = algorithm.start(model, VALUES)
    backward(model, 0)
    optimizer.step(0.1)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("make", [SGD(), NesterovMomentum()], ids=lambda a: a.name)
def test_frozen_parameters_are_left_alone(make: Algorithm) -> None:
    model = network()
    model.get_parameter("0.weight").requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    train(model, make.start(model, VALUES), range(3))
    assert torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(model.state_dict()["0.bias"], before["0.bias"])


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda model: model.requires_grad_(False), "found none"),
        (lambda model: model[2].double(), "float32 on cpu, torch.float64 on cpu"),
    ],
    ids=["nothing to train", "two dtypes"],
)
def test_a_model_that_cannot_be_trained_is_refused_with_what_was_found(
    break_it: Callable[[nn.Module], object], says: str
) -> None:
    model = network()
    break_it(model)
    with pytest.raises(WorkloadError, match=says):
        SGD().start(model, VALUES)


def test_each_algorithm_says_which_metaparameters_it_takes() -> None:
    assert SGD().metaparameters() == {"learning_rate": REQUIRED, "weight_decay": 0.0}
    for algorithm in (Momentum(), NesterovMomentum()):
        assert algorithm.metaparameters()["momentum"] is REQUIRED
    assert ADAMW.metaparameters() == {"learning_rate": REQUIRED, "weight_decay": 0.01}


def test_algorithms_are_described_by_name_and_factory() -> None:
    assert NesterovMomentum().describe() == {"name": "nesterov_momentum"}
    assert ADAMW.describe() == {"name": "adamw", "factory": "adamw"}


def test_keyword_only_parameters_are_the_metaparameters_of_a_function() -> None:
    assert keyword_metaparameters(cross_entropy) == {"label_smoothing": 0.0}
    assert chosen(cross_entropy, {"label_smoothing": 0.1, "other": 1}) == {"label_smoothing": 0.1}
    assert keyword_metaparameters(dict) == {}
