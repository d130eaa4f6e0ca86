"""Schedules by what training loops have: torch's schedulers, and functions of the step."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from batchfront.errors import WorkloadError
from batchfront.workload.algorithm import REQUIRED, first_parameter, keyword_metaparameters
from batchfront.workload.given import class_within, name_of, shown, written
from batchfront.workload.lr_schedule import Schedule, TrainingSize
from batchfront.workload.scheduled_rate import PLATEAU, ScheduledRate, Unfit
from batchfront.workload.search_space import Metaparameters

if TYPE_CHECKING:  # which bring torch
    from torch.optim.lr_scheduler import LRScheduler

    from batchfront.workload.scheduled_rates import ScheduledRates

Every = Literal["step", "epoch"]

FILLED_IN = ("batch_size", "steps_per_epoch", "step_budget")
"""Keyword-only parameters of a schedule's function that are no metaparameters: see
`TrainingSize`."""

_STEP_NAMES = ("step", "current_step", "global_step", "iteration", "iter_num", "it", "t")

_NOT_SEARCHED = ("optimizer", "last_epoch", "verbose")  # keywords of torch's schedulers

_SEARCHED = ("int", "float", "bool", "str")  # how they annotate what a number, or a word, can be


class _Called(Schedule):
    """A schedule by a function of the user's."""

    def factor(self, step: int, values: Metaparameters) -> float:
        raise WorkloadError(
            f"a {type(self).__name__} depends on the size of the training: ask for factors of "
            "schedule.at(TrainingSize(batch_size, examples, step_budget))"
        )


@dataclass(frozen=True)
class TorchSchedule(_Called):
    """Any scheduler of `torch.optim.lr_scheduler`, by a factory whose keyword-only parameters are
    metaparameters.

        def warm(optimizer, *, warmup_steps, step_budget):
            rise = LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps)
            fall = CosineAnnealingLR(optimizer, T_max=step_budget - warmup_steps)
            return SequentialLR(optimizer, [rise, fall], milestones=[warmup_steps])

        TorchSchedule(warm, every="step")

    `batch_size`, `steps_per_epoch` and `step_budget` are no metaparameters, but those of the trial
    (`TrainingSize`). A scheduler class, or a `functools.partial` of one, is a factory too, and the
    keywords of its constructor are the metaparameters.

    The rates are those of a loop that calls `scheduler.step()` after every step, or after every
    `steps_per_epoch` steps, to the bit, for each parameter group: the factory is called with an
    optimizer whose groups have the rates of the trial's own. So absolute rates such as `eta_min`
    mean what they say; one such as `max_lr` is in the place of the trial's learning rate: take
    `learning_rate` as a keyword-only parameter, and pass it on.

    every -- "step" or "epoch"; to be said, since torch's schedulers count either
    """

    factory: Callable[..., LRScheduler]
    every: Every | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.every, str) or self.every not in get_args(Every):
            raise WorkloadError(
                'TorchSchedule: say how often it steps, every="step" or every="epoch"'
                + ("" if self.every is None else f"; found {shown(self.every)}")
            )
        _refuse_other_factories(self.factory)

    def metaparameters(self) -> dict[str, Any]:
        if _class_of(self.factory) is None:
            taken = keyword_metaparameters(self.factory)
        else:
            taken = _keywords(self.factory)
        return {name: default for name, default in taken.items() if name not in FILLED_IN}

    def at(self, training: TrainingSize) -> Schedule:
        return _Scheduled(self, training)

    def make(self, optimizer: Any, training: TrainingSize, values: Metaparameters) -> LRScheduler:
        """The scheduler of an optimizer, for a trial with these metaparameters."""
        if _class_of(self.factory) is None:
            taken = keyword_metaparameters(self.factory)
        else:
            taken = _keywords(self.factory)
        return self.factory(optimizer, **_given(taken, training, values))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "factory": written(self.factory), "every": self.every}


@dataclass(frozen=True)
class FactorSchedule(_Called):
    """What the learning rate is multiplied by as a function of the step or the epoch, from 0 on:
    what `torch.optim.lr_scheduler.LambdaLR` takes. Its keyword-only parameters are metaparameters,
    but for those that a `TrainingSize` fills in."""

    function: Callable[..., float]
    every: Every = "step"

    def metaparameters(self) -> dict[str, Any]:
        taken = keyword_metaparameters(self.function)
        return {name: default for name, default in taken.items() if name not in FILLED_IN}

    def at(self, training: TrainingSize) -> Schedule:
        return _Factors(self, training)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "function": written(self.function), "every": self.every}


class _OfTrial(Schedule):
    """A schedule that is called with the metaparameters of one trial after another's, if at all."""

    def __init__(self, schedule: TorchSchedule | FactorSchedule, training: TrainingSize) -> None:
        self._taken, self._training = schedule.metaparameters(), training
        self._steps = training.steps_per_epoch if schedule.every == "epoch" else 1
        self._values: Metaparameters | None = None

    def metaparameters(self) -> dict[str, Any]:
        return self._taken

    def _come(self, values: Metaparameters) -> None:
        if values is not self._values:
            self._values = values
            self._start(values)

    @abstractmethod
    def _start(self, values: Metaparameters) -> None:
        """Be ready for a trial with these metaparameters."""


class _Scheduled(_OfTrial):
    def __init__(self, schedule: TorchSchedule, training: TrainingSize) -> None:
        super().__init__(schedule, training)
        self._schedule = schedule
        self._tables: dict[tuple[float, ...], ScheduledRates] = {}

    def _start(self, values: Metaparameters) -> None:
        self._tables = {}
        self._made_for = float(values["learning_rate"])

    def factor(self, step: int, values: Metaparameters) -> float:
        return self.learning_rate_at(step, values) / float(values["learning_rate"])

    def learning_rate_at(self, step: int, values: Metaparameters) -> float:
        self._come(values)
        place = step // self._steps
        (rate,) = self._of_groups(place, (self._made_for,))
        return ScheduledRate(rate, self._made_for, partial(self._of_groups, place))

    def _of_groups(self, place: int, own: tuple[float, ...]) -> Sequence[float]:
        from batchfront.workload.scheduled_rates import ScheduledRates

        table = self._tables.get(own)
        if table is None:
            assert self._values is not None
            make = partial(self._schedule.make, training=self._training, values=self._values)
            table = self._tables[own] = ScheduledRates(make, own)
        return table.at(place)


class _Factors(_OfTrial):
    def __init__(self, schedule: FactorSchedule, training: TrainingSize) -> None:
        super().__init__(schedule, training)
        self._function = schedule.function
        self._bound: Callable[[int], float] = schedule.function

    def _start(self, values: Metaparameters) -> None:
        taken = keyword_metaparameters(self._function)
        self._bound = partial(self._function, **_given(taken, self._training, values))

    def factor(self, step: int, values: Metaparameters) -> float:
        self._come(values)
        return float(self._bound(step // self._steps))


def _given(
    taken: Mapping[str, Any], training: TrainingSize, values: Metaparameters
) -> dict[str, Any]:
    """The keywords that a function of the user's is called with."""
    filled = {name: getattr(training, name) for name in FILLED_IN}
    return {n: {**values, **filled}[n] for n in taken if n in filled or n in values}


def _class_of(factory: object) -> type | None:
    """The class of torch's schedulers that a factory is, or is a partial of."""
    return class_within(factory, ("torch.optim.lr_scheduler", "LRScheduler"))


def _keywords(factory: Callable[..., object]) -> dict[str, Any]:
    """What a scheduler class can be given, as far as it can be searched."""
    return {p.name: p.default for p in _options(factory) if _is_searched(p)}


def _options(factory: Callable[..., object]) -> Iterator[inspect.Parameter]:
    for p in inspect.signature(factory).parameters.values():
        if p.name not in _NOT_SEARCHED and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            yield p


def _is_searched(p: inspect.Parameter) -> bool:
    if p.default is REQUIRED:  # max_lr may be several, one for each group, and may be one
        kinds = str(getattr(p.annotation, "__name__", p.annotation)).split(" | ")
        return p.annotation is p.empty or any(kind in _SEARCHED for kind in kinds)
    return p.default is None or isinstance(p.default, bool | int | float | str)


def _refuse_other_factories(factory: object) -> None:
    made, kind = _class_of(type(factory)), _class_of(factory)
    if "ReduceLROnPlateau" in [one.__name__ for one in (made, kind) if one is not None]:
        raise Unfit(PLATEAU)
    if made is not None:
        raise Unfit(
            f"a {made.__name__} that is made belongs to one optimizer, and each trial has its own; "
            f"give a function that makes one: {_example(made)}"
        )
    if not callable(factory):
        raise Unfit(
            f"TorchSchedule: its factory must be a function of an optimizer; found {shown(factory)}"
        )
    if kind is None:
        return
    needed = [p for p in _options(factory) if p.default is REQUIRED and not _is_searched(p)]
    if needed:
        names = ", ".join(p.name for p in needed)
        raise Unfit(
            f"{kind.__name__} needs {names}, which no search space gives; give a function that "
            f"makes one: {_example(kind)}"
        )


def _example(kind: type) -> str:
    """How a scheduler is made for any optimizer."""
    taken = inspect.signature(kind).parameters
    given = ["optimizer"] if next(iter(taken), None) == "optimizer" else []
    given += [f"{p.name}=..." for p in _options(kind) if p.default is REQUIRED]
    return f'TorchSchedule(lambda optimizer: {kind.__name__}({", ".join(given)}), every="epoch")'


def as_schedule(given: object, workload: str) -> Schedule:
    """The schedule that is meant by what a workload is given as one: a `Schedule`, or a function of
    the step or the epoch.

    Raises WorkloadError, with what to write, if it can't be one.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, type) and issubclass(given, Schedule):
        parameters = inspect.signature(given).parameters.values()
        needed = [p.name for p in parameters if p.default is REQUIRED]
        if not needed:
            return given()
        said = f"make one of {given.__name__}: {given.__name__}({', '.join(needed)})"
    elif _class_of(given) is not None or _class_of(type(given)) is not None:
        said = _of_scheduler(given)
    elif callable(given):
        return _of_function(given, workload)
    else:
        said = (
            f"found {shown(given)}; give a schedule such as WarmupCosine(), a function of the step "
            "that gives what the learning rate is multiplied by, or TorchSchedule(factory, "
            "every=...)"
        )
    raise WorkloadError(f"{workload}: its schedule: {said}")


def _of_scheduler(given: Any) -> str:
    """What to write for a scheduler class of torch's, or a scheduler."""
    try:
        _refuse_other_factories(given)
    except Unfit as error:
        return str(error)
    kind = _class_of(given)
    assert kind is not None
    names = ", ".join(name for name in _keywords(given) if name not in FILLED_IN)
    return (
        "torch's schedulers count steps or epochs; say which, schedule=TorchSchedule("
        f'{written(given)}, every="epoch") or every="step", with its keywords ({names}) in the '
        "search space, fixed or searched"
    )


def _of_function(function: Callable[..., Any], workload: str) -> Schedule:
    match first_parameter(function):
        case "optimizer" | "opt":
            named = isinstance(function, partial) or name_of(function, "") != ""
            called = written(function).split(".")[-1] if named else "lambda optimizer: ..."
            said = (
                "a function that makes a scheduler of an optimizer is given with how often that "
                f'steps: schedule=TorchSchedule({called}, every="step") or '
                'every="epoch"'
            )
        case "epoch":
            return FactorSchedule(function, "epoch")
        case name if name in _STEP_NAMES:
            return FactorSchedule(function)
        case name:
            said = (
                "a function gives what the learning rate is multiplied by at a step, or in an "
                f"epoch, and its first parameter is called step or epoch; found {name!r}"
            )
    raise WorkloadError(f"{workload}: its schedule: {said}")
