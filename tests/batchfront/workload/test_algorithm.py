"""Our SGD family does what torch.optim does, and every optimizer continues from its state."""

import copy
from collections.abc import Callable
from functools import partial
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
from batchfront.workload.workload import Workload
from tests.zoo.cases import plain

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
        WorkloadError, match=r"a torch.optim.lr_scheduler is attached .*TorchSchedule"
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
    with pytest.raises(WorkloadError, match=r"'edited': somebody else .* schedule=TorchSchedule"):
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


# Classes, and what else is given as an algorithm


def _workload(algorithm: Any) -> Workload:
    return plain("any", algorithm=algorithm)


def test_an_optimizer_class_takes_its_constructors_keywords_as_metaparameters() -> None:
    algorithm = _workload(torch.optim.AdamW).algorithm
    taken = algorithm.metaparameters()
    assert {name: taken[name] for name in ("beta1", "beta2", "eps", "weight_decay")} == {
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.01,
    }
    assert taken["learning_rate"] is REQUIRED
    assert not {"params", "lr", "betas"} & set(taken)
    values = {"learning_rate": 0.05, "beta2": 0.95, "weight_decay": 0.1}
    (group,) = algorithm.start(network(), values).of_torch()[0].param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.95), 0.1)


def test_a_partial_of_a_class_fixes_defaults_that_are_searched_over_all_the_same() -> None:
    made = partial(torch.optim.AdamW, betas=(0.8, 0.95), weight_decay=0.2, lr=1.0)
    algorithm = _workload(made).algorithm
    assert algorithm.metaparameters()["beta1"] == 0.8
    model = network()
    optimizer = algorithm.start(model, {"learning_rate": 0.05, "beta2": 0.9})
    train(model, optimizer, range(2))
    (group,) = optimizer.of_torch()[0].param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.8, 0.9), 0.2)
    assert group["lr"] == LEARNING_RATES[1]


def test_an_identity_tells_classes_and_partials_of_them_apart() -> None:
    adam = torch.optim.AdamW
    given = [adam, torch.optim.Adam, partial(adam, eps=1e-6), partial(adam, betas=(0.9, 0.95))]
    described = [_workload(one).algorithm.describe() for one in given]
    assert described == [
        {"name": "adamw", "factory": "AdamW"},
        {"name": "adam", "factory": "Adam"},
        {"name": "adamw", "factory": "partial(AdamW, eps=1e-06)"},
        {"name": "adamw", "factory": "partial(AdamW, betas=(0.9, 0.95))"},
    ]


def test_what_stored_studies_have_been_described_by_stays() -> None:
    halved = partial(adamw, weight_decay=0.0)
    assert TorchOptimizer("adam", torch.optim.Adam).describe() == {
        "name": "adam",
        "factory": "Adam",
    }
    assert TorchOptimizer("halved", halved).describe() == {"name": "halved", "factory": "partial"}


def test_a_factory_or_an_algorithms_class_is_taken_as_the_algorithm_that_is_meant() -> None:
    assert _workload(adamw).algorithm == TorchOptimizer("adamw", adamw)
    assert _workload(NesterovMomentum).algorithm == NesterovMomentum()
    assert _workload(ADAMW).algorithm is ADAMW


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            torch.optim.AdamW([torch.zeros(1, requires_grad=True)]),
            r"an AdamW that is made .* give the class, algorithm=torch.optim.AdamW",
        ),
        ([torch.optim.SGD, torch.optim.Adam], "several optimizers are made by a function"),
        (TorchOptimizer, r"make one of TorchOptimizer: TorchOptimizer\(name, factory\)"),
        ("adamw", r"found 'adamw' .str.; give an algorithm such as Momentum\(\)"),
        (None, "found None"),
        (torch.optim.Optimizer, "an optimizer class such as torch.optim.AdamW"),
    ],
    ids=["an optimizer", "a list", "a class to be made", "text", "nothing", "the base class"],
)
def test_what_can_be_no_algorithm_is_told_what_to_write(given: Any, says: str) -> None:
    with pytest.raises(WorkloadError, match=f"zoo/any/sgd: its algorithm: .*{says}"):
        _workload(given)


def test_muon_by_itself_is_told_how_the_others_get_their_optimizer() -> None:
    with pytest.raises(WorkloadError, match=r"only supports 2D .* def factory\(named_parameters"):
        _workload(torch.optim.Muon).algorithm.start(network(), VALUES)


def _both(kind: Callable[..., Any]) -> Algorithm:
    def factory(named_parameters: list[tuple[str, Tensor]], *, learning_rate: float) -> Any:
        body = [p for name, p in named_parameters if name[0] == "0"]
        head = [p for name, p in named_parameters if name[0] == "2"]
        made = {"body": torch.optim.Adam(body, lr=learning_rate)}
        made["head"] = torch.optim.SGD(head, lr=0.1 * learning_rate, momentum=0.9)
        return kind(made)

    return TorchOptimizer("both", factory)


def _in_reverse(made: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(made.items()))


def test_several_optimizers_by_name_go_on_from_a_state_in_any_order() -> None:
    whole, first, second = network(), network(), network()
    values = {"learning_rate": 0.05}
    train(whole, _both(dict).start(whole, values), range(20))
    optimizer = _both(dict).start(first, values)
    train(first, optimizer, range(8))
    resumed = _both(_in_reverse).start(second, values)
    second.load_state_dict(first.state_dict())
    resumed.restore(copy.deepcopy(optimizer.state()))
    train(second, resumed, range(8, 20))
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (_both(dict), _both(lambda made: list(made.values())), "it had other optimizers"),
        (_both(lambda made: list(made.values())), ADAMW, "it had other optimizers"),
        (ADAMW, _both(dict), "it had other optimizers"),
        (_both(dict), _both(lambda made: {"head": made["head"]}), "it had other optimizers"),
        (_both(lambda made: [made["body"]]), _both(lambda made: made["body"]), "other optimizers"),
        (
            _both(lambda made: [made["body"], made["head"]]),
            _both(lambda made: [made["head"], made["body"]]),
            "other learning rates",
        ),
    ],
    ids=["dict, list", "list, one", "one, dict", "two, one", "list of one, one", "another order"],
)
def test_a_state_of_other_optimizers_is_not_gone_on_from(
    before: Algorithm, after: Algorithm, says: str
) -> None:
    model, values = network(), {"learning_rate": 0.05}
    optimizer = before.start(model, values)
    train(model, optimizer, range(2))
    with pytest.raises(CheckpointError, match=says):
        after.start(model, values).restore(optimizer.state())


def test_several_optimizers_without_a_rate_keep_to_multiples_of_their_own_defaults() -> None:
    def factory(parameters: Parameters) -> list[torch.optim.Optimizer]:
        slow = {"params": parameters[2:3], "lr": 0.1}
        return [
            torch.optim.Adam(parameters[:2]),
            torch.optim.SGD([slow, {"params": parameters[3:]}], lr=1.0),
        ]

    model = network()
    optimizer = TorchOptimizer("two", factory).start(model, {"learning_rate": 0.05})  # type: ignore[arg-type]
    train(model, optimizer, range(1))
    rates = [group["lr"] for one in optimizer.of_torch() for group in one.param_groups]
    assert rates == pytest.approx([0.05, 0.005, 0.05])
    optimizer.restore(copy.deepcopy(optimizer.state()))


def test_a_scheduler_on_one_of_several_optimizers_is_refused() -> None:
    def factory(parameters: Parameters, *, learning_rate: float) -> Any:
        made = [torch.optim.SGD([p], lr=learning_rate) for p in parameters]
        SCHEDULERS.ExponentialLR(made[1], 0.5)
        return made

    with pytest.raises(WorkloadError, match=r"a torch.optim.lr_scheduler is attached"):
        TorchOptimizer("scheduled", factory).start(network(), VALUES)


class Tenfold(torch.optim.SGD):
    def __init__(self, parameters: Parameters, *, learning_rate: float, momentum: float = 0.5):
        super().__init__(parameters, lr=10 * learning_rate, momentum=momentum)


def test_a_class_that_takes_its_rate_by_our_name_keeps_to_its_multiple_of_it() -> None:
    algorithm, model = TorchOptimizer("tenfold", Tenfold), network()
    assert algorithm.metaparameters() == {"learning_rate": REQUIRED, "momentum": 0.5}
    optimizer = algorithm.start(model, {"learning_rate": 0.05})
    train(model, optimizer, range(1))
    assert optimizer.of_torch()[0].param_groups[0]["lr"] == pytest.approx(0.5)
