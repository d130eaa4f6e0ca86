"""Training algorithms as data, and which metaparameters they take."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from batchfront.errors import WorkloadError
from batchfront.workload.given import class_within, shown, written
from batchfront.workload.search_space import Metaparameters

if TYPE_CHECKING:  # which bring torch
    import torch
    from torch import nn

    from batchfront.workload.optimizers import Made, Optimizer

REQUIRED = inspect.Parameter.empty
"""Stands for the default of a metaparameter that has none."""


def keyword_metaparameters(function: Callable[..., object] | None) -> dict[str, Any]:
    """The keyword-only parameters of `function`, if there is one, which batchfront fills from the
    search space.

    Name to default, or to REQUIRED: `def loss(outputs, targets, *, label_smoothing=0.0)` takes
    the metaparameter `label_smoothing`.
    """
    if function is None:
        return {}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature take nothing of ours
        return {}
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def first_parameter(function: Callable[..., object]) -> str | None:
    """The name of the first parameter that `function` takes by position, if it has one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return next((p.name for p in parameters if p.kind in by_place), None)


def chosen(function: Callable[..., object] | None, values: Metaparameters) -> dict[str, Any]:
    """Those of `values` that `function` takes as keyword-only parameters."""
    return {name: values[name] for name in keyword_metaparameters(function) if name in values}


class Algorithm(ABC):
    """A training algorithm: the last part of a workload's name, and a maker of optimizers."""

    name: str

    @abstractmethod
    def metaparameters(self) -> dict[str, Any]:
        """The metaparameters it takes: name to default, or to REQUIRED."""

    @abstractmethod
    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        """An optimizer for a new trial with these metaparameters."""

    def refuse_unused_rate(self, model: nn.Module, values: Metaparameters) -> None:  # noqa: B027
        """Raise WorkloadError if the learning rate that a search draws would have no effect.

        It may change the model, which is to be thrown away.
        """

    def describe(self) -> dict[str, Any]:
        """The algorithm as plain data, for a study's identity."""
        return {"name": self.name}


@dataclass(frozen=True)
class SGD(Algorithm):
    """Stochastic gradient descent, w <- w - lr g (Shallue et al. 2018, section 2.2)."""

    name: str = "sgd"

    def metaparameters(self) -> dict[str, Any]:
        return {"learning_rate": REQUIRED, "weight_decay": 0.0}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return self._start(model, values, nesterov=False)

    def _start(self, model: nn.Module, values: Metaparameters, nesterov: bool) -> Optimizer:
        from batchfront.workload.optimizers import SGDOptimizer

        momentum, decay = float(values.get("momentum", 0)), float(values.get("weight_decay", 0))
        return SGDOptimizer(model, momentum, nesterov, decay)

    def of_torch(self) -> TorchOptimizer:
        """The same by torch's own optimizer, which an update of the user's can step."""
        nesterov = isinstance(self, NesterovMomentum)

        def sgd(
            parameters: list[nn.Parameter],
            *,
            learning_rate: float,
            momentum: float = 0.0,
            weight_decay: float = 0.0,
        ) -> torch.optim.Optimizer:
            from torch.optim import SGD

            faster = nesterov and momentum > 0  # without momentum torch knows of no Nesterov's
            return SGD(parameters, learning_rate, momentum, 0, weight_decay, faster)

        return TorchOptimizer(self.name, sgd)


@dataclass(frozen=True)
class Momentum(SGD):
    """Heavy-ball momentum, v <- m v + g, w <- w - lr v (Polyak 1964; Shallue, section 2.2)."""

    name: str = "momentum"

    def metaparameters(self) -> dict[str, Any]:
        return {**super().metaparameters(), "momentum": REQUIRED}


@dataclass(frozen=True)
class NesterovMomentum(Momentum):
    """Nesterov momentum, w <- w - lr (g + m v), as Sutskever et al. 2013 write it."""

    name: str = "nesterov_momentum"

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        return self._start(model, values, nesterov=True)


@dataclass(frozen=True)
class TorchOptimizer(Algorithm):
    """Any `torch.optim` optimizer, or several, by a factory whose keyword-only parameters are
    metaparameters.

        def adamw(parameters, *, learning_rate, weight_decay=0.01):
            return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

        TorchOptimizer("adamw", adamw)

    The factory is called with the trainable parameters; or, if its first parameter is called
    `named_parameters`, with pairs of their names and themselves; or, if it is called `model`, with
    the model. It returns an optimizer, with as many parameter groups as it likes, or several in a
    list, tuple or dict, which then all make a step.

    An optimizer class, or a `functools.partial` of one, is a factory too, and the keywords of its
    constructor are the metaparameters: `lr` is called `learning_rate`, and of a tuple each entry
    has a number, as in `beta1` and `beta2` of `betas`.

    The workload's schedule multiplies the learning rate of each parameter group: one that was made
    with `lr=0.1 * learning_rate` keeps to a tenth of the others, and one with `lr=0.0` stays as it
    is. Of a factory that takes no `learning_rate`, the rates are multiples of the optimizer's
    default, in whose place that of the trial comes. Nobody else may set them.
    """

    name: str
    factory: Callable[..., Made]

    def __post_init__(self) -> None:
        named, makes = isinstance(self.name, str), callable(self.factory)
        if not (named and makes):
            what = ("factory", self.factory) if named else ("name", self.name)
            raise WorkloadError(
                f'TorchOptimizer: its {what[0]} is {shown(what[1])}; write TorchOptimizer("adamw", '
                "factory), with a function, or a class such as torch.optim.AdamW, for factory"
            )

    def metaparameters(self) -> dict[str, Any]:
        taken = {"learning_rate": REQUIRED}
        if _class_of(self.factory) is None:
            return {**taken, **keyword_metaparameters(self.factory)}
        return {**taken, **{k.metaparameter: k.default for k in _keywords(self.factory)}}

    def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
        from batchfront.workload.optimizers import ScheduledOptimizer, optimizers_in

        made = self._made(model, values)
        rate = values["learning_rate"] if self._takes_learning_rate() else None
        made_for = [
            getattr(one, "defaults", {}).get("lr") if rate is None else rate
            for one in optimizers_in(made) or ()
        ]
        return ScheduledOptimizer(self.name, made, [float(own or 0.0) for own in made_for], model)

    def refuse_unused_rate(self, model: nn.Module, values: Metaparameters) -> None:
        if not self._takes_learning_rate():
            return
        rates = self._rates(model, values)
        if rates == self._rates(model, {**values, "learning_rate": 2 * values["learning_rate"]}):
            raise WorkloadError(
                f"TorchOptimizer {self.name!r}: its factory takes learning_rate and makes the same "
                f"rates of any ({', '.join(f'{rate:g}' for rate in rates)}); pass it on as "
                "lr=learning_rate, or leave it out of the factory's parameters"
            )

    def _rates(self, model: nn.Module, values: Metaparameters) -> list[float]:
        from batchfront.workload.optimizers import optimizers_in

        found = optimizers_in(self._made(model, values)) or ()
        return [float(group["lr"]) for one in found for group in one.param_groups if "lr" in group]

    def _takes_learning_rate(self) -> bool:
        if _class_of(self.factory) is None:
            return "learning_rate" in keyword_metaparameters(self.factory)
        return any(k.metaparameter == "learning_rate" for k in _keywords(self.factory))

    def _made(self, model: nn.Module, values: Metaparameters) -> Made:
        from batchfront.workload.optimizers import optimizers_in, trainable

        given: Any = trainable(model)
        match first_parameter(self.factory):
            case "model":
                given = model
            case "named_parameters":
                given = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if _class_of(self.factory) is None:
            made = self.factory(given, **chosen(self.factory, values))
        else:
            made = self._constructed(given, values)
        if optimizers_in(made) is None:
            raise WorkloadError(
                f"TorchOptimizer {self.name!r}: its factory must return a torch.optim.Optimizer, "
                "with several parameter groups if need be, or several of them in a list, tuple or "
                f"dict; returned {_found(made)}"
            )
        return made

    def _constructed(self, parameters: Any, values: Metaparameters) -> Made:
        try:
            return self.factory(parameters, **_keywords_from(self.factory, values))
        except ValueError as error:
            if "only supports" not in str(error):
                raise
            raise WorkloadError(
                f"TorchOptimizer {self.name!r}: {error}; write a def factory(named_parameters, *, "
                "learning_rate) that gives it those, and the others to a second optimizer, and "
                "returns both in a list"
            ) from error

    def describe(self) -> dict[str, Any]:
        factory = self.factory
        if isinstance(factory, partial) and _class_of(factory) is not None:
            return {"name": self.name, "factory": written(factory)}
        # Of other partials the code tells which is meant.
        return {
            "name": self.name,
            "factory": getattr(factory, "__qualname__", type(factory).__name__),
        }


@dataclass(frozen=True)
class _Keyword:
    """What a metaparameter is to an optimizer class's constructor: the keyword `name`, or its entry
    at `place`, where it takes a tuple."""

    metaparameter: str
    name: str
    place: int | None
    default: Any


def _class_of(factory: object) -> type | None:
    """The class of torch's optimizers that a factory is, or is a partial of."""
    return class_within(factory, ("torch.optim.optimizer", "Optimizer"))


def _keywords(factory: Callable[..., object]) -> Iterator[_Keyword]:
    """What an optimizer class can be given beside parameters, as far as it can be searched."""
    _, *parameters = inspect.signature(factory).parameters.values()
    for p in parameters:
        if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            continue
        if p.name == "lr":
            yield _Keyword("learning_rate", p.name, None, REQUIRED)
        elif isinstance(p.default, tuple):
            stem = p.name if p.name == "eps" else p.name.removesuffix("s")
            for place, default in enumerate(p.default):
                yield _Keyword(f"{stem}{place + 1}", p.name, place, default)
        elif p.default is REQUIRED or isinstance(p.default, bool | int | float | str | None):
            yield _Keyword(p.name, p.name, None, p.default)


def _keywords_from(factory: Callable[..., object], values: Metaparameters) -> dict[str, Any]:
    parameters = inspect.signature(factory).parameters
    given: dict[str, Any] = {}
    for k in _keywords(factory):
        if k.metaparameter not in values:
            continue
        if k.place is None:
            given[k.name] = values[k.metaparameter]
        else:
            entries = list(given.get(k.name, parameters[k.name].default))
            entries[k.place] = values[k.metaparameter]
            given[k.name] = tuple(entries)
    return given


def _found(made: object) -> str:
    if isinstance(made, list | tuple):
        kinds = dict.fromkeys(type(one).__name__ for one in made)
        return f"{type(made).__name__} of {', '.join(kinds) or 'nothing'}"
    return type(made).__name__


def as_algorithm(given: object, workload: str) -> Algorithm:
    """The training algorithm that is meant by what a workload is given as one: an `Algorithm`, an
    optimizer class of torch's or a partial of one, or a factory of optimizers.

    Raises WorkloadError, with what to write, if it can't be one.
    """
    if isinstance(given, Algorithm):
        return given
    if isinstance(given, type) and issubclass(given, Algorithm):
        fields = inspect.signature(given).parameters
        needed = [name for name, field in fields.items() if field.default is REQUIRED]
        if not needed:
            return given()
        said = f"make one of {given.__name__}: {given.__name__}({', '.join(needed)})"
    elif (kind := _class_of(given)) is not None:
        return TorchOptimizer(kind.__name__.lower(), cast(Callable[..., Any], given))
    elif (kind := _class_of(type(given))) is not None:
        said = (
            f"an {kind.__name__} that is made has the parameters of one model, and each trial has "
            f"a model of its own; give the class, algorithm=torch.optim.{kind.__name__}, and its "
            "keywords (lr as learning_rate) in the search space, fixed or searched"
        )
    elif isinstance(given, list | tuple | dict):
        said = (
            "several optimizers are made by a function, for each trial anew: give algorithm="
            'TorchOptimizer("mine", factory), whose def factory(named_parameters, *, '
            "learning_rate) returns them in a list or a dict"
        )
    elif callable(given) and not isinstance(given, type):
        name = getattr(given, "__name__", type(given).__name__)
        return TorchOptimizer("optimizer" if name == "<lambda>" else name, given)
    else:
        said = (
            f"found {shown(given)}; give an algorithm such as Momentum(), an optimizer class such "
            "as torch.optim.AdamW, or TorchOptimizer(name, factory)"
        )
    raise WorkloadError(f"{workload}: its algorithm: {said}")
