"""Optimizers of torch's whose rules are written out come to the bits of each trial's own."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from batchfront.training.engines import Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized import stack, torch_updates
from batchfront.training.vectorized.stack import Stack
from batchfront.training.vectorized.torch_rules import RULES
from batchfront.training.vectorized.torch_updates import is_written_out
from batchfront.training.vectorized.updates import OneByOne
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.data import Split, Splits
from batchfront.workload.lr_schedule import WarmupCosine
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized.trials import NEVER, runs, splits, weights, workload

BETAS = {"beta1": (0.9, 0.5, 0.95), "beta2": (0.999, 0.9, 0.99), "eps": (1e-8, 1e-3, 1e-6)}
DECAYS: dict[str, Sequence[Any]] = {"weight_decay": (0.0, 0.1, 0.01)}

CASES: list[tuple[type[optim.Optimizer], dict[str, Sequence[Any]]]] = [
    (optim.Adadelta, {**DECAYS, "rho": (0.9, 0.5, 0.99)}),
    (optim.Adagrad, {**DECAYS, "lr_decay": (0.0, 0.1, 0.01), "initial_accumulator_value": (0, 1)}),
    (optim.Adam, BETAS),
    (optim.Adam, {**BETAS, **DECAYS, "amsgrad": (True,)}),
    (optim.AdamW, {**BETAS, **DECAYS}),
    (optim.AdamW, {**BETAS, "weight_decay": (0.1,), "amsgrad": (True,)}),
    (optim.Adamax, {**BETAS, **DECAYS}),
    (optim.NAdam, {**BETAS, **DECAYS, "momentum_decay": (4e-3, 0.1)}),
    (optim.NAdam, {**BETAS, **DECAYS, "decoupled_weight_decay": (True,)}),
    (optim.RAdam, {**BETAS, **DECAYS}),
    (optim.RAdam, {**BETAS, **DECAYS, "decoupled_weight_decay": (True,)}),
    (optim.RMSprop, {**DECAYS, "alpha": (0.99, 0.9), "eps": (1e-8, 1e-3)}),
    (optim.RMSprop, {"momentum": (0.9, 0.5), "centered": (True,)}),
    (optim.SGD, DECAYS),
    (optim.SGD, {**DECAYS, "momentum": (0.9, 0.5, 0.99)}),
    (optim.SGD, {"momentum": (0.9, 0.5, 0.99), "nesterov": (True,)}),
]


def named(case: tuple[type[optim.Optimizer], dict[str, Sequence[Any]]]) -> str:
    return "-".join([case[0].__name__, *(n for n in case[1] if n not in BETAS)])


every_case = pytest.mark.parametrize("case", CASES, ids=map(named, CASES))


class Net(nn.Module):
    """16-12-4 units in float32, of which a bias is frozen, and a weight is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))
        self.body[2].bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.body(inputs)
        return found


def narrow() -> Splits:
    """The points in float32."""
    given = splits(16)
    single = (Split(one.inputs.float(), one.targets) for one in (given.train, given.validation))
    return Splits(*single)


def drawn(options: dict[str, Sequence[Any]], count: int = 3) -> list[Metaparameters]:
    """Trials' options in turn, and their learning rates."""
    given = {"learning_rate": (0.01, 0.003, 0.02), **options}
    return [{n: of[k % len(of)] for n, of in given.items()} for k in range(count)]


def trained(
    of: Workload, values: Sequence[Metaparameters], written: bool, monkeypatch: pytest.MonkeyPatch
) -> list[ModelRun]:
    """Trials that were trained in stacks, each of which the rest came out of a checkpoint into, in
    other company; one of them by itself for a few steps, and one from an earlier state on."""
    with monkeypatch.context() as patch:
        if not written:
            patch.setattr(stack, "is_written_out", lambda runs: False)
        data = narrow()
        first = runs(of, data, values)
        together = Stack(first)
        assert isinstance(together._update, OneByOne) != written
        together.advance([7] * len(first), NEVER)
        early = clone(first[1].state())
        together.advance([12, 12, 15][: len(first)], NEVER)
        second = runs(of, data, values)
        for run, other in zip(second, first, strict=True):
            run.restore(clone(other.state()))
        second[1].restore(early)
        second[1].advance(12)
        again = Stack(second[::-1])
        again.advance([20] * len(second), NEVER)
        second[0].advance(23)
        second[2].restore(clone(second[2].state()))
        again.advance([90] * len(second), NEVER)  # past what is looked up at once
        return second


def clone(state: Any) -> Any:
    """A state as a checkpoint keeps it."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: clone(part) for name, part in state.items()}
    return [clone(part) for part in state] if isinstance(state, list) else state


def assert_same(found: Any, wanted: Any) -> None:
    """The same structure of the same values, in the same order, tensors to the bit."""
    assert type(found) is type(wanted)
    if isinstance(wanted, Tensor):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name in wanted:
            assert_same(found[name], wanted[name])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted


def assert_bits(
    of: Workload, values: Sequence[Metaparameters], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written out comes to the same as each trial's own optimizer, in weights and state."""
    found, wanted = (trained(of, values, written, monkeypatch) for written in (True, False))
    for one, other in zip(found, wanted, strict=True):
        assert one.step == other.step == 90
        assert torch.equal(weights(one), weights(other))
        assert_same(one.state()["optimizer"], other.state()["optimizer"])


@every_case
def test_each_trial_comes_to_the_bits_of_its_own_optimizer(
    case: tuple[type[optim.Optimizer], dict[str, Sequence[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, options = case
    assert_bits(workload(Net, kind), drawn(options), monkeypatch)  # type: ignore[arg-type]


def in_groups(
    named_parameters: list[tuple[str, nn.Parameter]], *, learning_rate: float, beta2: float
) -> list[optim.Optimizer]:
    """Two optimizers, the first with groups that differ in rate, betas and weight decay; nobody
    has the last bias."""
    first, bias, last, unused = (p for _, p in named_parameters)
    groups = [
        {"params": [first, unused], "weight_decay": 0.1, "betas": (0.8, beta2)},
        {"params": [bias], "lr": 0.3 * learning_rate},
    ]
    return [optim.AdamW(groups, lr=learning_rate), optim.SGD([last], learning_rate, 0.9)]


def test_groups_and_several_optimizers_keep_to_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    values = drawn({"beta2": (0.9, 0.99)})
    assert_bits(workload(Net, TorchOptimizer("both", in_groups)), values, monkeypatch)


def test_a_schedule_sets_the_rates_that_checkpoints_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    values = drawn({**BETAS, "warmup_steps": (10, 20), "total_steps": (80,)})
    algorithm: Any = optim.AdamW
    assert_bits(workload(Net, algorithm, schedule=WarmupCosine()), values, monkeypatch)


def test_large_weights_are_updated_a_few_trials_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_updates, "_CACHED", 2 * 4 * (16 * 12 + 12 + 12 * 4 + 3))  # of two
    algorithm: Any = optim.NAdam
    together = Stack(runs(workload(Net, algorithm), narrow(), drawn(BETAS)))
    assert isinstance(together._update, torch_updates.InBlocks)
    assert_bits(workload(Net, algorithm), drawn({**BETAS, **DECAYS}), monkeypatch)


@pytest.mark.parametrize(
    "options",
    [
        {"foreach": (True,)},
        {"maximize": (True,)},
        {"amsgrad": (True, False)},
        {"decoupled_weight_decay": (True, False)},
    ],
    ids=str,
)
def test_other_operations_are_left_to_the_optimizers_themselves(
    options: dict[str, Sequence[Any]],
) -> None:
    kind: Any = optim.Adam
    found = runs(workload(Net, kind), narrow(), drawn(options))
    assert not is_written_out(found)
    assert is_written_out(runs(workload(Net, kind), narrow(), drawn({})))


def test_an_optimizer_of_ones_own_is_left_to_itself() -> None:
    class Mine(optim.AdamW):
        """Exactly what its parent does, as far as anybody knows."""

    kind: Any = Mine
    assert not is_written_out(runs(workload(Net, kind), narrow(), drawn({})))


def test_momentum_with_dampening_or_in_some_trials_alone_is_left_to_the_optimizers() -> None:
    kind: Any = optim.SGD
    for options in ({"momentum": (0.9, 0.0)}, {"momentum": (0.9,), "dampening": (0.1,)}):
        assert not is_written_out(runs(workload(Net, kind), narrow(), drawn(options)))


def test_a_stack_of_one_goes_on_with_what_it_did_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = optim.NAdam
    together, alone = (runs(workload(Net, kind), narrow(), drawn(BETAS)) for _ in range(2))
    Sequential().advance(together, 5, NEVER)
    Stack(together).advance([30] * 3, NEVER)
    Stack(alone).advance([30] * 3, NEVER)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-5)
        (own,), (wanted,) = (run.optimizer.of_torch() for run in (one, other))
        for mine, others in zip(own.state.values(), wanted.state.values(), strict=True):
            assert mine["step"] == others["step"] == 30


def test_every_rule_is_of_an_optimizer_that_is_tested() -> None:
    tested: set[Callable[..., optim.Optimizer]] = {kind for kind, _ in CASES}
    assert tested == set(RULES)
