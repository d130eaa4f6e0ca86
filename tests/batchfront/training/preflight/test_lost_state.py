"""What training changes and no checkpoint holds is named, and such a trial is never resumed."""

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from batchfront.errors import WorkloadError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.training.preflight.checks import check
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.goal import Goal
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.metrics import Metric
from tests.zoo.cases import mlp, plain
from tests.zoo.models import Averaged, Counting, Through, Toggling


def lost(**changes: Any) -> str | None:
    return check(plain("lost", **changes), [8]).lost


def through(change: Callable[[Any], None], **own: Any) -> type[nn.Module]:
    """The plain model, which changes something of its own in each forward pass."""

    class Held(Through):
        def __init__(self) -> None:
            super().__init__()
            for name, value in own.items():
                setattr(self, name, deepcopy(value))

        def forward(self, x: Tensor) -> Tensor:
            change(self)
            return super().forward(x)

    return Held


def _add(model: Any) -> None:
    model.held += 1


def _append(model: Any) -> None:
    model.held = [*model.held, 1]


def _evaluated(model: Any) -> None:
    model.held += not model.training


class Holder:
    def __init__(self) -> None:
        self.count = 0


def _inside(model: Any) -> None:
    model.held.count += 1


class Common(Through):
    """Counts in its class, which all of its kind have in common."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(x)


class Adding(Through):
    seen = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x)


def hooked() -> nn.Module:
    model, seen = mlp(), [0]

    def hook(layer: nn.Module, _: Any, outputs: Tensor) -> Tensor:
        seen[0] += layer.training
        return outputs / (1 + seen[0]) if layer.training else outputs

    model[0].register_forward_hook(hook)
    return model


def drawing() -> nn.Module:
    class Held(Through):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(1)

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y + torch.randn(1, generator=self.generator) if self.training else y

    return Held()


def not_persistent() -> nn.Module:
    class Held(Through):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("offset", torch.zeros(()), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.offset += self.training
            return super().forward(x)

    return Held()


LOST: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a number": (Counting, "Counting.steps"),
    "a number of a module within": (lambda: nn.Sequential(Counting()), r"Counting \(0\).steps"),
    "a tensor": (through(_add, held=torch.zeros(3)), "Held.held"),
    "an array": (through(_add, held=np.zeros(3)), "Held.held"),
    "a list": (through(_append, held=[1.0]), "Held.held"),
    "a number of an object's": (through(_inside, held=Holder()), "Held.held.count"),
    "a buffer that is not persistent": (not_persistent, "Held.offset"),
    "what evaluation changes": (through(_evaluated, held=0), "Held.held"),
    "what a hook encloses": (hooked, r"Linear \(0\)._forward_hooks\[0\].seen\[0\]"),
    "a generator of its own": (drawing, "Held.generator"),
}


@pytest.mark.parametrize("kind", LOST)
def test_what_a_model_changes_and_no_checkpoint_holds_is_named(kind: str) -> None:
    model, said = LOST[kind]
    checked = check(plain("lost", model=model), [8])
    assert checked.lost is not None
    (note,) = [note for note in checked.notes if "again from step 0" in note]
    assert re.search(said, note), note


def test_what_an_optimizer_changes_and_no_checkpoint_holds_is_named() -> None:
    class Averaging(optim.SGD):
        def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
            super().__init__(parameters, lr=lr)
            self.steps = 0

        def step(self, closure: Any = None) -> Any:
            self.steps += 1
            return super().step(closure)

    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> Averaging:
        return Averaging(parameters, learning_rate)

    assert lost(algorithm=TorchOptimizer("averaging", factory)) == "Averaging.steps"

    def hooking(parameters: Iterable[Tensor], *, learning_rate: float) -> optim.Optimizer:
        optimizer, seen = optim.SGD(parameters, lr=learning_rate), {"steps": 0}

        def hook(*_: Any) -> None:
            seen["steps"] += 1

        optimizer.register_step_post_hook(hook)
        return optimizer

    named = lost(algorithm=TorchOptimizer("hooking", hooking))
    assert named == "SGD._optimizer_step_post_hooks[0].seen.steps"


@pytest.mark.parametrize(
    "kind", [optim.LBFGS, optim.AdamW, optim.Rprop, optim.NAdam], ids=lambda kind: kind.__name__
)
def test_torchs_own_optimizers_lose_nothing(kind: type[optim.Optimizer]) -> None:
    assert lost(algorithm=kind) is None


def test_what_one_of_several_optimizers_changes_is_named_by_its_place() -> None:
    def both(parameters: list[Tensor], *, learning_rate: float) -> list[optim.Optimizer]:
        class Averaging(optim.SGD):
            steps = 0

            def step(self, closure: Any = None) -> Any:
                self.steps += 1
                return super().step(closure)

        made = [optim.Adam(parameters[:2], lr=learning_rate), Averaging(parameters[2:])]
        made[1].param_groups[0]["lr"] = learning_rate
        return made

    assert lost(algorithm=both) == "Averaging 1.steps"


def _counted() -> Callable[..., Tensor]:
    calls = [0]

    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> Tensor:
        calls[0] += 1
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1]) / calls[0]
        loss.backward()
        optimizer.step()
        return loss

    return update


class Extra(Counting):
    """Gives its number to the checkpoint, as torch would have it."""

    def get_extra_state(self) -> Any:
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Any) -> None:
        self.steps = int(state)


class Cached(Through):
    """Keeps what it computed first, which is the same in every trial."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = torch.ones(x.shape[1])
        return super().forward(x * self.mask)


def with_ghosts() -> nn.Module:
    layers = [nn.Unflatten(1, (2, 2, 2)), GhostBatchNorm2d(2, ghost_size=4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 3))


@pytest.mark.parametrize("model", [Extra, Averaged, Toggling, with_ghosts, mlp])
def test_what_a_checkpoint_holds_is_not_lost(model: Callable[[], nn.Module]) -> None:
    assert lost(model=model) is None


@pytest.mark.parametrize(
    "make", [optim.Adam, optim.AdamW, optim.NAdam, optim.RMSprop, optim.Adagrad, optim.Rprop]
)
def test_torchs_optimizers_lose_nothing(make: Callable[..., optim.Optimizer]) -> None:
    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> optim.Optimizer:
        return make(parameters, lr=learning_rate)

    assert lost(algorithm=TorchOptimizer("made", factory)) is None


class Warming:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(outputs, targets) * min(1.0, self.calls / 10)


_calls = 0
_made = count()


def globally(outputs: Tensor, targets: Tensor) -> Tensor:
    global _calls
    _calls += 1
    return F.cross_entropy(outputs, targets)


def enclosing() -> Callable[[Tensor, Tensor], Tensor]:
    calls = [0]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        calls[0] += 1
        return F.cross_entropy(outputs, targets)

    return loss


def enclosed() -> Goal:
    seen = [0]

    def wrong(outputs: Tensor, targets: Tensor) -> Tensor:
        seen[0] += 1
        return (outputs.argmax(1) != targets).float()

    return Goal(Metric("wrong", wrong, "lower", high=1.0), 0.01)


def one_of_two() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 3), nn.ReLU() if next(_made) % 2 else nn.Tanh())


SHARED: dict[str, tuple[dict[str, Any], str]] = {
    "a loss that counts": ({"loss": Warming()}, "loss.calls"),
    "a loss that counts in a global": ({"loss": globally}, "loss._calls"),
    "a loss that counts in what it encloses": ({"loss": enclosing()}, r"loss.calls\[0\]"),
    "an update that counts": ({"update": _counted(), "loss": None}, r"update.calls\[0\]"),
    "a metric that counts": ({"goal": enclosed()}, r"metric.seen\[0\]"),
    "a class that counts": ({"model": Common}, "model.calls"),
    "a tensor of a class": ({"model": lambda: Adding()}, "model.Adding.seen"),
    "a factory that takes turns": ({"model": one_of_two}, "model._made"),
}


@pytest.mark.parametrize("kind", SHARED)
def test_what_training_changes_for_all_trials_is_refused(kind: str) -> None:
    changes, said = SHARED[kind]
    with pytest.raises(WorkloadError, match=f"training changes {said}, which all trials share"):
        lost(**changes)


def test_several_devices_are_refused_where_state_is_lost(storage: Storage) -> None:
    workload = plain("held", model=through(_add, held=0))
    with pytest.raises(WorkloadError, match=r"--devices-per-trial 2 hands .* Held.held"):
        plan(storage, "x", workload, SearchOptions(trials=2), devices_per_trial=2)
