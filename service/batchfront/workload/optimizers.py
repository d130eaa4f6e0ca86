"""The optimizers that training algorithms start, one a trial.

The SGD family updates all parameters by one fused call a step: for the small models that tuning
is full of, what surrounds that call in `torch.optim` takes as long as the training itself.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.errors import CheckpointError, WorkloadError
from batchfront.workload.scheduled_rate import ScheduledRate

_MADE_WITH = "initial_lr"  # as torch's schedulers call a group's own rate


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimizer updates: at least one, all of one dtype and device."""
    found = [p for p in model.parameters() if p.requires_grad]
    kinds = {(p.dtype, p.device) for p in found}
    if len(kinds) != 1:
        there = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "none"
        raise WorkloadError(
            "the model's trainable parameters must exist and share one dtype and device; "
            f"found {there}"
        )
    return found


Closure = Callable[[], Tensor]
"""Computes a batch's gradient anew, and returns its loss."""


class Optimizer(ABC):
    """One trial's optimizer: its state, and what it does with a gradient.

    needs_closure -- `step` takes a closure as well, and calls it for every gradient that it wants
    """

    needs_closure: bool = False

    @abstractmethod
    def step(self, learning_rate: float, closure: Closure | None = None) -> None:
        """Apply the gradients in place, then clear them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` continues exactly."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""

    def of_torch(self) -> list[torch.optim.Optimizer]:
        """Those of torch's that it steps, on which hooks may hang."""
        return [held for held in vars(self).values() if isinstance(held, torch.optim.Optimizer)]


class SGDOptimizer(Optimizer):
    """v <- m v + g; then w <- w - lr v, or with Nesterov w <- w - lr (g + m v)."""

    def __init__(
        self, model: nn.Module, momentum: float, nesterov: bool, weight_decay: float
    ) -> None:
        self.parameters: list[Tensor] = [*trainable(model)]
        self.velocities = [torch.zeros_like(p) for p in self.parameters] if momentum else []
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def step(self, learning_rate: float, closure: Closure | None = None) -> None:
        parameters, velocities, gradients = self.parameters, self.velocities, self._taken()
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if len(used) < len(gradients):
            parameters = [parameters[place] for place in used]
            velocities = [velocities[place] for place in used if velocities]
        # What torch.optim.SGD(fused=True) calls too, after as much time again in Python.
        torch._fused_sgd_(
            parameters,
            [gradient for gradient in gradients if gradient is not None],
            velocities,
            lr=learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            dampening=0.0,
            maximize=False,
            is_first_step=False,
        )

    def _taken(self) -> list[Tensor | None]:
        """Every parameter's gradient, None where it had no part in the loss: torch's optimizers
        leave such a parameter, and its velocity, alone. Then they are cleared.

        Cleared to None: autograd then hands over the next gradient as it is, where it would have
        to add it to a zero. Of 200,000 parameters that, and the update in one call, make a step
        at batch size 8 a quarter faster.
        """
        found = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        return found

    def state(self) -> dict[str, Any]:
        return {"velocities": self.velocities}

    def restore(self, state: dict[str, Any]) -> None:
        for velocity, saved in zip(self.velocities, state["velocities"], strict=True):
            velocity.copy_(saved)


Made = (
    torch.optim.Optimizer
    | list[torch.optim.Optimizer]
    | tuple[torch.optim.Optimizer, ...]
    | dict[str, torch.optim.Optimizer]
)
"""What an optimizer factory may return."""


def optimizers_in(made: Any) -> list[torch.optim.Optimizer] | None:
    """The optimizers that a factory has made, in order; None if it has made something else."""
    several = isinstance(made, list | tuple | dict)
    found = list(made.values() if isinstance(made, dict) else made) if several else [made]
    ours = all(hasattr(one, "param_groups") and hasattr(one, "step") for one in found)
    return found if found and ours else None


class ScheduledOptimizer(Optimizer):
    """One of torch's, or several, the learning rate of whose every parameter group is set before
    each step, in proportion to the rate that the group was made with, as torch's LambdaLR does.

    made     -- as the factory made it: an optimizer, or a list, tuple or dict of them
    made_for -- the learning rate that their groups' own are multiples of, by optimizer
    left_out -- the trainable parameters that none of them has
    """

    def __init__(self, name: str, made: Made, made_for: Sequence[float], model: nn.Module) -> None:
        found = optimizers_in(made)
        assert found is not None
        self.made, self.optimizers, self._name = made, found, name
        self._groups = [
            _Groups(name, optimizer, rate) for optimizer, rate in zip(found, made_for, strict=True)
        ]
        self.needs_closure = any(map(_needs_closure, found))
        given = {id(p) for one in found for group in one.param_groups for p in group["params"]}
        self.left_out = [p for p in model.parameters() if p.requires_grad and id(p) not in given]

    def of_torch(self) -> list[torch.optim.Optimizer]:
        return self.optimizers

    def step(self, learning_rate: float, closure: Closure | None = None) -> None:
        self.set_rates(learning_rate)
        for optimizer in self.optimizers:
            if closure is None:
                optimizer.step()
            else:
                optimizer.step(closure)  # type: ignore[arg-type]
        self.refuse_changed()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        for parameter in self.left_out:  # whose gradients would add up, and count when clipped
            parameter.grad = None

    def set_rates(self, learning_rate: float) -> None:
        """Give every parameter group its share of the learning rate.

        Raises WorkloadError if somebody else has set one since.
        """
        for groups in self._groups:
            groups.set(learning_rate)

    def rates(self, learning_rate: float) -> list[Sequence[float]]:
        """The rates of every parameter group at this learning rate, by optimizer."""
        return [groups.rates(learning_rate) for groups in self._groups]

    def refuse_changed(self) -> None:
        """Raise WorkloadError if somebody else has set a group's rate."""
        for groups in self._groups:
            groups.refuse_changed()

    def state(self) -> dict[str, Any]:
        if isinstance(self.made, dict):
            return {"optimizers": {name: one.state_dict() for name, one in self.made.items()}}
        if isinstance(self.made, list | tuple):
            return {"optimizers": [one.state_dict() for one in self.made]}
        return self.made.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        states = self._by_optimizer(state)
        rates, shares = [], []
        for number, (own, groups) in enumerate(zip(states, self._groups, strict=True)):
            which = "" if len(states) == 1 else f" {number}"
            found = [float(group.get(_MADE_WITH, group["lr"])) for group in own["param_groups"]]
            if len(found) != len(groups.shares):
                raise CheckpointError(
                    f"its optimizer{which} had {len(found)} parameter groups, and is made with "
                    f"{len(groups.shares)}"
                )
            rates += found
            shares += groups.shares
        whole, unit = max(rates), max(shares)
        for rate, share in zip(rates, shares, strict=True):
            if not math.isclose(rate * unit, whole * share, rel_tol=1e-4):
                raise CheckpointError("its parameter groups had other learning rates")
        for optimizer, own, groups in zip(self.optimizers, states, self._groups, strict=True):
            _load(optimizer, own)
            groups.note()

    def _by_optimizer(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """A state's parts, in the order of the optimizers."""
        several = isinstance(self.made, list | tuple | dict)
        parts = state.get("optimizers") if several else None
        if not several and "param_groups" in state:
            return [state]
        if isinstance(self.made, dict) and isinstance(parts, dict):
            if parts.keys() == self.made.keys():
                return [parts[name] for name in self.made]
        elif isinstance(parts, list) and len(parts) == len(self.made):  # type: ignore[arg-type]
            return parts
        raise CheckpointError("it had other optimizers")


class _Groups:
    """The parameter groups of one of torch's optimizers, whose rates are set here alone.

    shares -- by group: its rate over `made_for`
    """

    def __init__(self, name: str, optimizer: torch.optim.Optimizer, made_for: float) -> None:
        self._name, self._optimizer, self._made_for = name, optimizer, made_for
        self._made_with: list[float] = []
        self.shares: list[float] = []
        self._known: list[object] = []  # by group: its rate as we have left it
        self._take_in_new()
        if any(_MADE_WITH in group for group in optimizer.param_groups) or hasattr(
            optimizer.step, "_wrapped_by_lr_sched"
        ):
            raise self._refusal("a torch.optim.lr_scheduler is attached to its optimizer")

    def set(self, learning_rate: float) -> None:
        """Give each its share of the learning rate."""
        groups = self._optimizer.param_groups
        self.refuse_changed()
        if len(groups) > len(self.shares):
            self._take_in_new()
        for group, rate in zip(groups, self.rates(learning_rate), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.note()

    def rates(self, learning_rate: float) -> Sequence[float]:
        """Each one's share of the learning rate."""
        if not isinstance(learning_rate, ScheduledRate):
            return [learning_rate if s == 1.0 else learning_rate * s for s in self.shares]
        made_for = learning_rate.made_for
        own = tuple(
            made_for if rate == self._made_for else rate * (made_for / self._made_for)
            for rate in self._made_with
        )
        for group, rate in zip(self._optimizer.param_groups, own, strict=True):
            group[_MADE_WITH] = rate  # what a state's groups are known again by
        return learning_rate.of_groups(own)

    def note(self) -> None:
        """Take the rates to be ours as they are."""
        self._known = [_seen(group["lr"]) for group in self._optimizer.param_groups]

    def _take_in_new(self) -> None:
        """The groups that there have been none of before."""
        for group in self._optimizer.param_groups[len(self.shares) :]:
            rate = group.get("lr")
            if not isinstance(rate, int | float | Tensor):
                raise WorkloadError(
                    f"TorchOptimizer {self._name!r}: {type(self._optimizer).__name__} has no "
                    "learning rate 'lr' in its parameter groups, where a schedule could set it; "
                    "call it 'lr' there"
                )
            if not self._made_for > 0:
                raise WorkloadError(
                    f"TorchOptimizer {self._name!r}: made for a learning rate of "
                    f"{self._made_for:g}; it must be above 0"
                )
            self._made_with.append(float(rate))
            self.shares.append(float(rate) / self._made_for)
            self._known.append(_seen(rate))

    def refuse_changed(self) -> None:
        """Raise WorkloadError if somebody else has set one."""
        for number, (group, known) in enumerate(
            zip(self._optimizer.param_groups, self._known, strict=False)
        ):
            if _seen(group["lr"]) != known:
                raise self._refusal(f"somebody else has set the rate of parameter group {number}")

    def _refusal(self, what: str) -> WorkloadError:
        return WorkloadError(
            f"TorchOptimizer {self._name!r}: {what}, and the workload's schedule sets the rates; "
            "write it as that: schedule=TorchSchedule(lambda optimizer: StepLR(optimizer, "
            'step_size=10), every="epoch"), WarmupCosine(), or a function of the step, which is '
            "what the learning rate is multiplied by"
        )


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Have an optimizer go on from its state exactly: torch gives what is kept for a parameter that
    parameter's precision, also where it was kept in another, as NAdam's product is."""
    optimizer.load_state_dict(state)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for place, saved in state["state"].items():
        own = optimizer.state[parameters[place]]
        for name, value in saved.items():
            loaded = own.get(name)
            if isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                own[name] = value.to(loaded.device)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its `step` can't do without a closure, as that of LBFGS."""
    try:
        parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    except (TypeError, ValueError):  # one that isn't written in Python
        return False
    return parameter is not None and parameter.default is parameter.empty


def _seen(rate: float | Tensor) -> object:
    """What tells that a rate has been set anew, without waiting for its device."""
    return (id(rate), rate._version) if isinstance(rate, Tensor) else rate
