"""Small workloads that came out wrong when their trials were computed as one.

Their steps to target are those of the trials computed one after another, of eight trials with the
usual seed. Workers find them by this file's path (`SPEC`).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront import ERROR_RATE, Goal, Log, Metric, Split, Splits, TorchOptimizer, Workload
from tests.zoo.cases import apart, plain, points
from tests.zoo.data import Gathered
from tests.zoo.losses import Three
from tests.zoo.models import Pooled

SPEC = f"{Path(__file__).resolve()}:"


def _case(name: str, **other: Any) -> Workload:
    given = {
        "data": lambda: apart(*points(400)),
        "goal": Goal(ERROR_RATE, 0.10),
        "step_budget": 400,
    }
    return replace(plain(name, **{**given, **other}), name=f"case/mlp/{name}")


def parameter_hook() -> Workload:
    """Gradients clipped by a hook on each parameter."""

    def data() -> Splits:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1200, 8, generator=generator)
        y = (x[:, :4].sum(1) > x[:, 4:].square().sum(1) - 4).long()
        return apart(x, y)

    def model() -> nn.Module:
        net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        for parameter in net.parameters():
            parameter.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
        return net

    parts = {"data": data, "model": model, "goal": Goal(ERROR_RATE, 0.15), "step_budget": 3000}
    space = {"learning_rate": Log(1e-2, 3.0)}
    made = _case("parameter_hook", batch_sizes=(4, 16), search_space=space, **parts)
    return replace(made, name="toy/mlp/sgd_clipped")


def padding_idx() -> Workload:
    """Sequences of 3 to 12 tokens, padded with 0."""

    def data() -> Splits:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(1, 20, (1200, 12), generator=generator)
        lengths = torch.randint(3, 13, (1200,), generator=generator)
        x[torch.arange(12)[None] >= lengths[:, None]] = 0
        y = ((x % 2 == 1).sum(1) > (x % 2 == 0).sum(1) - (x == 0).sum(1)).long()
        return apart(x, y)

    parts = {"data": data, "model": lambda: Pooled(nn.Embedding(20, 8, padding_idx=0))}
    space = {"learning_rate": Log(3e-3, 3e-1)}
    made = _case("padding_idx", batch_sizes=(4, 16), search_space=space, step_budget=3000, **parts)
    return replace(made, name="seq/embedding/sgd")


class Augmented(Gathered):
    """Noise on the examples of the rarest class alone."""

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = self.inputs[indices].clone(), self.targets[indices]
        for row, index in enumerate(indices.tolist() if seed is not None else ()):
            if targets[row] == 2:
                generator = torch.Generator().manual_seed(((seed or 0) + 7919 * index) % 2**31)
                inputs[row] += 1.5 * torch.randn(8, generator=generator)
        return inputs, targets


def augment_minority() -> Workload:
    """The file lists the classes one after another, the augmented one last."""

    def data() -> Splits:
        inputs, targets = points(1200)
        order = targets[:900].argsort(stable=True)
        held_out = Split(inputs[900:], targets[900:])
        return Splits(Augmented(inputs[:900][order], targets[:900][order]), held_out)

    return _case("augment_minority", data=data, step_budget=800)


def _wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) != targets).float().mean(1)


def c_equals_l() -> Workload:
    """As many classes as questions, the classes on axis 1, as torch has them."""

    def data() -> Splits:
        inputs, targets = points(400)
        return apart(inputs, torch.stack([targets, (targets + 1) % 3, targets], 1))

    goal = Goal(Metric("wrong", _wrong, "lower", high=1.0), 0.12)
    return _case("c_equals_l", data=data, model=Three, goal=goal)


class _Asking(torch.optim.SGD):
    """Looks at its gradients before each step."""

    def __init__(self, parameters: Iterable[Tensor], ask: Callable[[list[Tensor]], Any], **of: Any):
        self.weights, self.ask = list(parameters), ask
        super().__init__(self.weights, **of)

    def step(self, closure: Any = None) -> Any:
        self.ask(self.weights)
        return super().step(closure)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - F.one_hot(targets, 3)).square().mean()


def _refuse(weights: list[Tensor]) -> None:
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    nn.utils.get_total_norm(gradients, error_if_nonfinite=True)


def _clip(weights: list[Tensor]) -> None:
    nn.utils.clip_grad_norm_(weights, 0.5)


def optimizer_raises(*, by_hook: bool = False) -> Workload:
    """The optimizer refuses a gradient that is not finite, and six of eight trials diverge."""
    algorithm = TorchOptimizer("strict", _asking(_refuse, by_hook, momentum=0.9))
    space = {"learning_rate": Log(1e-2, 1e3)}
    parts = {"loss": _squared, "algorithm": algorithm, "search_space": space}
    return _case("optimizer_raises", batch_sizes=(8,), **parts)


def optimizer_raises_by_hook() -> Workload:
    """The same, from a hook on the optimizer."""
    return optimizer_raises(by_hook=True)


def clip_in_optimizer(*, by_hook: bool = False) -> Workload:
    """The gradient's norm is clipped before each step, as training loops have it."""
    algorithm = TorchOptimizer("clipped", _asking(_clip, by_hook))
    return _case("clip_in_optimizer", algorithm=algorithm, batch_sizes=(8,))


def clip_in_optimizer_by_hook() -> Workload:
    """The same, from a hook on the optimizer."""
    return clip_in_optimizer(by_hook=True)


def _asking(
    ask: Callable[[list[Tensor]], Any], by_hook: bool, **options: Any
) -> Callable[..., torch.optim.Optimizer]:
    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        weights = list(parameters)
        if not by_hook:
            return _Asking(weights, ask, lr=learning_rate, **options)
        made = torch.optim.SGD(weights, lr=learning_rate, **options)
        made.register_step_pre_hook(lambda *_: ask(weights))
        return made

    return factory
