"""Our SGD family does what torch.optim does, and every optimizer continues from its state."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchfront.errors import CheckpointError, WorkloadError
from batchfront.workload.algorithm import (
    REQUIRED,
    SGD,
    Algorithm,
    Momentum,
    NesterovMomentum,
    TorchOptimizer,
    chosen,
    keyword_metaparameters,
)
from batchfront.workload.losses import cross_entropy
from batchfront.workload.optimizers import Optimizer

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


Parameters = list[Tensor]
Factory = Callable[..., torch.optim.Optimizer]


def slow_first(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
    slow = {"params": parameters[:2], "lr": 0.01 * learning_rate, "weight_decay": 0.1}
    return torch.optim.SGD([slow, {"params": parameters[2:]}], lr=learning_rate, momentum=0.9)


def frozen_last(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
    frozen = {"params": parameters[2:], "lr": 0.0}
    return torch.optim.Adam([{"params": parameters[:2]}, frozen], lr=learning_rate)


def thousandth(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate * 1e-3)


def one_constant(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
    constant = {"params": parameters[:1], "lr": 0.003, "betas": (0.5, 0.9)}
    return torch.optim.Adam([constant, {"params": parameters[1:]}], lr=learning_rate)


def in_tensors(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
    slow = {"params": parameters[:1], "lr": torch.tensor(0.1 * learning_rate)}
    rest = {"params": parameters[1:]}
    rate = torch.tensor(learning_rate)
    return torch.optim.AdamW([slow, rest], lr=rate, foreach=False, capturable=False)


GROUPED = [slow_first, frozen_last, thousandth, one_constant, in_tensors]


@pytest.mark.parametrize("factory", GROUPED, ids=lambda f: f.__name__)
def test_every_parameter_group_keeps_its_share_of_the_schedules_rate(factory: Factory) -> None:
    ours, theirs = network(), network()
    algorithm = TorchOptimizer(factory.__name__, factory)
    train(ours, algorithm.start(ours, {"learning_rate": 0.05}), range(20))
    reference = factory(list(theirs.parameters()), learning_rate=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda step: 0.9**step)
    for step in range(20):
        backward(theirs, step)
        reference.step()
        reference.zero_grad()
        schedule.step()
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-5, atol=1e-7)
    if factory is frozen_last:
        assert torch.equal(ours.state_dict()["2.weight"], network().state_dict()["2.weight"])


@pytest.mark.parametrize("factory", GROUPED, ids=lambda f: f.__name__)
def test_groups_go_on_from_a_checkpoint_bit_for_bit(factory: Factory) -> None:
    algorithm = TorchOptimizer(factory.__name__, factory)
    values = {"learning_rate": 0.05}
    whole, first, second = network(), network(), network()
    train(whole, algorithm.start(whole, values), range(20))
    optimizer = algorithm.start(first, values)
    train(first, optimizer, range(8))
    saved = copy.deepcopy((first.state_dict(), optimizer.state()))
    resumed = algorithm.start(second, values)
    second.load_state_dict(saved[0])
    resumed.restore(saved[1])
    train(second, resumed, range(8, 20))
    assert torch.equal(weights(second), weights(whole))


def test_a_checkpoint_of_groups_that_had_lost_their_own_rates_is_not_gone_on_from() -> None:
    """As all were until this was mended: half a trial at other rates would be a third one."""
    algorithm, model = TorchOptimizer("slow_first", slow_first), network()
    optimizer = algorithm.start(model, {"learning_rate": 0.05})
    train(model, optimizer, range(3))
    stale = copy.deepcopy(optimizer.state())
    for group in stale["param_groups"]:
        group["lr"] = 0.05
    with pytest.raises(CheckpointError, match="other learning rates"):
        optimizer.restore(stale)
    del stale["param_groups"][0]
    with pytest.raises(CheckpointError, match="had 1 parameter groups, and is made with 2"):
        optimizer.restore(stale)


def test_a_group_that_is_added_later_takes_part_with_its_share() -> None:
    model = network()
    parameters = list(model.parameters())

    def factory(_: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters[2:], lr=learning_rate)

    optimizer = TorchOptimizer("thawing", factory).start(model, {"learning_rate": 0.05})
    theirs: torch.optim.Optimizer = optimizer.made  # type: ignore[attr-defined]
    train(model, optimizer, range(2))
    theirs.add_param_group({"params": parameters[:1], "lr": 0.005})
    theirs.add_param_group({"params": parameters[1:2]})
    train(model, optimizer, range(2, 4))
    rates = [group["lr"] for group in theirs.param_groups]
    assert rates == pytest.approx([LEARNING_RATES[3], LEARNING_RATES[3] / 10, LEARNING_RATES[3]])


def test_a_factory_without_a_learning_rate_is_given_the_trials_in_place_of_its_default() -> None:
    def factory(parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            [{"params": parameters[:2], "lr": 1e-4}, {"params": parameters[2:]}]
        )

    model = network()
    optimizer = TorchOptimizer("adam", factory).start(model, {"learning_rate": 0.05})
    train(model, optimizer, range(1))
    groups = optimizer.made.param_groups  # type: ignore[attr-defined]
    assert [group["lr"] for group in groups] == pytest.approx([0.005, 0.05])


def _scheduled(make: Callable[[torch.optim.Optimizer], Any]) -> Factory:
    def factory(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)
        schedule = make(optimizer)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer

    return factory


SCHEDULERS = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    "make",
    [
        lambda o: SCHEDULERS.ExponentialLR(o, 0.5),
        lambda o: SCHEDULERS.StepLR(o, 1000),
        lambda o: SCHEDULERS.LinearLR(o, 0.1),
        lambda o: SCHEDULERS.OneCycleLR(o, 0.1, 100),
        lambda o: SCHEDULERS.LambdaLR(o, lambda step: min(1.0, (step + 1) / 5)),
        lambda o: SCHEDULERS.CosineAnnealingLR(o, 100),
    ],
    ids=["exponential", "step", "linear", "one cycle", "warm-up", "cosine"],
)
def test_a_scheduler_of_torchs_is_refused_before_the_first_step(
    make: Callable[[torch.optim.Optimizer], Any],
) -> None:
    with pytest.raises(
        WorkloadError, match=r"a torch.optim.lr_scheduler is attached .*LinearDecay"
    ):
        TorchOptimizer("scheduled", _scheduled(make)).start(network(), VALUES)


def _halved(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] *= 0.5


def test_rates_that_a_hook_sets_are_refused_at_the_first_step_that_it_does() -> None:
    def factory(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
        optimizer = in_tensors(parameters, learning_rate=learning_rate)
        done = iter(range(100))
        optimizer.register_step_post_hook(
            lambda *_: _halved(optimizer) if next(done) == 2 else None
        )
        return optimizer

    model = network()
    optimizer = TorchOptimizer("hooked", factory).start(model, VALUES)
    train(model, optimizer, range(2))
    with pytest.raises(WorkloadError, match="somebody else has set the rate of parameter group 0"):
        train(model, optimizer, range(2, 3))


def test_rates_that_are_set_between_two_steps_are_refused_at_the_next() -> None:
    model = network()
    optimizer = TorchOptimizer("edited", adamw).start(model, VALUES)
    train(model, optimizer, range(2))
    _halved(optimizer.made)  # type: ignore[attr-defined]
    with pytest.raises(WorkloadError, match=r"'edited': somebody else .* schedule=LinearDecay"):
        train(model, optimizer, range(2, 3))


def test_a_factory_that_ignores_the_learning_rate_is_refused_and_others_are_not() -> None:
    def ignoring(parameters: Parameters, *, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.3)

    with pytest.raises(WorkloadError, match=r"makes the same rates of any \(0.3\); pass it on"):
        TorchOptimizer("ignoring", ignoring).refuse_unused_rate(network(), VALUES)
    for factory in (*GROUPED, adamw, torch.optim.Adam):
        TorchOptimizer("using", factory).refuse_unused_rate(network(), VALUES)  # type: ignore[arg-type]
    Momentum().refuse_unused_rate(network(), VALUES)


class Renamed(torch.optim.Optimizer):
    def __init__(self, parameters: Parameters, pace: float) -> None:
        super().__init__(parameters, {"pace": pace})


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (
            lambda p, *, learning_rate: Renamed(p, learning_rate),
            "Renamed has no learning rate 'lr'",
        ),
        (
            lambda p, *, learning_rate: [torch.optim.SGD(p[:2]), "the rest"],
            "must return a torch.optim.Optimizer, .* returned list of SGD, str",
        ),
    ],
    ids=["a rate by another name", "something else"],
)
def test_what_a_schedule_can_not_set_is_refused(factory: Factory, says: str) -> None:
    with pytest.raises(WorkloadError, match=says):
        TorchOptimizer("other", factory).start(network(), VALUES)
