"""A workload whose training loop is a Python function of the user's."""

from __future__ import annotations

import inspect
import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from batchfront.errors import SearchSpaceError, WorkloadError
from batchfront.workload.base import WorkloadBase
from batchfront.workload.definition import as_one_of
from batchfront.workload.evaluation_grid import EvaluationGrid, EveryStep, GridSteps
from batchfront.workload.given import refuse_no_bool, shown
from batchfront.workload.goal import ReportedMetric
from batchfront.workload.measures import refuse_names
from batchfront.workload.search_space import Metaparameters, SearchSpace, Value
from batchfront.workload.seeds import mix

if TYPE_CHECKING:
    import torch

_ORDER = 1  # the random stream that `Trial.batches` draws from


def _elsewhere(_: Trial) -> NoReturn:
    raise WorkloadError("has no function: its trials are trained by whoever asks for them")


@dataclass(frozen=True, kw_only=True)
class Loop(WorkloadBase):
    """A workload that a function trains.

    train          -- `(trial) -> iterator of Measured`, a generator, which yields at evaluations;
                      or a function that calls `trial.report` there, for frameworks that call back.
                      Without one, no worker trains it: its trials are for whoever asks for them, by
                      `batchfront.open`
    grid           -- the steps at which `trial.evaluates` asks for an evaluation
    own_steps      -- whether it evaluates where it chooses instead, and reports it
    train_examples -- in an epoch; 0: not known
    at_once        -- trials that are in memory together on a worker's device; None: as many as fit,
                      by what the first one takes up; of those that call back, one
    """

    train: Callable[..., Any] = _elsewhere
    grid: EvaluationGrid = field(default_factory=EvaluationGrid)
    train_examples: int = 0
    at_once: int | None = None
    own_steps: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_no_function(self.name, self.train)
        refuse_no_bool(f"{self.name}: own_steps", self.own_steps)
        grid = as_one_of(self.name, "grid", self.grid, EvaluationGrid, "EvaluationGrid()")
        known = _whole(f"{self.name}: train_examples", self.train_examples)
        self._take(grid=grid, train_examples=known)
        if self.at_once is not None:
            self._take(at_once=_whole(f"{self.name}: at_once", self.at_once))
        if self.own_steps and not self.calls_back:
            raise WorkloadError(
                f"{self.name}: own_steps is for functions that call trial.report; a generator "
                "yields wherever trial.evaluates(step)"
            )
        if self.at_once is not None and self.at_once < 1:
            raise WorkloadError(f"{self.name}: at_once is {self.at_once}; it must be at least 1")
        if self.train_examples < 0:
            raise WorkloadError(
                f"{self.name}: train_examples is {self.train_examples}; 0 says that it isn't known"
            )

    @property
    def first_step(self) -> int:
        return 1 if self.own_steps else self.grid.first

    @property
    def trained_elsewhere(self) -> bool:
        """Whether it has no function, and its trials are asked for."""
        return self.train is _elsewhere

    @property
    def calls_back(self) -> bool:
        """Whether `train` is no generator, and so calls `trial.report`."""
        function = _called(self.train)
        return not inspect.isgeneratorfunction(function)

    def check_space(self, space: SearchSpace) -> None:
        """Which metaparameters the function takes, trying it shows."""
        if "batch_size" in space:
            raise SearchSpaceError(
                f"{self.name}: batch_size is no metaparameter: each study is of one, which "
                "trial.batch_size says"
            )

    def examples(self, steps: int, batch_size: int) -> set[int]:
        """The numbers of examples that so many steps may have taken."""
        return examples_taken(steps, batch_size, self.train_examples)

    def why_wrong(self, found: Measured, batch_size: int) -> str | None:
        """Why an evaluation can't be one of a trial of this loop, if it can't: its value isn't one
        of the metric's, its measures can't be told apart, or its batches weren't of the trial's
        size."""
        metric, step = self.goal.metric, found.step
        try:
            refuse_names(found.measures, metric.name)
        except WorkloadError as error:
            return f"at step {step}: {error}"
        reported = isinstance(metric, ReportedMetric) and math.isfinite(found.value)
        if reported and not metric.low <= found.value <= metric.high:
            return (
                f"{metric.name} is {found.value:g} at step {step}; it lies between {metric.low:g} "
                f"and {metric.high:g}"
            )
        if found.examples is None or found.examples in self.examples(step, batch_size):
            return None
        smaller = " (where the last batch of an epoch is smaller, say train_examples)"
        return (
            f"has taken {found.examples:,} examples by step {step}, where {step} batches of "
            f"trial.batch_size, {batch_size}, are {step * batch_size:,}"
            f"{'' if self.train_examples else smaller}"
        )

    def describe(self) -> dict[str, Any]:
        """Kind, goal, grid and rules."""
        return {
            "kind": "loop",
            "goal": self.goal.describe(),
            "grid": None if self.own_steps else asdict(self.grid),
            "stopping": self.stopping.describe(),
        }


@dataclass(frozen=True)
class Measured:
    """What a loop yields at an evaluation: `trial.measured` makes it.

    step     -- the updates done so far
    value    -- the goal's metric on held-out data
    loss     -- the training loss, such as the last batch's or the mean since the evaluation before
    examples -- that have been trained on so far, which shows that the batch size is the trial's
    measures -- what else was measured, by name, to be recorded: `{"perplexity": 21.4}`

    Raises WorkloadError for what is no number.
    """

    step: int
    value: float
    loss: float | None = None
    examples: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", _whole("step", self.step))
        object.__setattr__(self, "value", _number("value", self.value))
        if self.loss is not None:
            object.__setattr__(self, "loss", _number("loss", self.loss))
        if self.examples is not None:
            object.__setattr__(self, "examples", _whole("examples", self.examples))
        if not isinstance(self.measures, Mapping):
            raise WorkloadError(
                f"measures is {shown(self.measures)}, not a dict of names and numbers"
            )
        found = {name: _number(f"measure {name!r}", one) for name, one in self.measures.items()}
        object.__setattr__(self, "measures", found)


def examples_taken(steps: int, batch_size: int, train_examples: int) -> set[int]:
    """The numbers of examples that so many steps may have taken: batches that are whole, or of
    which the last of each epoch has what is left, where the examples of an epoch are known."""
    found = {steps * batch_size}
    if train_examples:
        epochs, rest = divmod(steps, -(-train_examples // batch_size))
        found.add(epochs * train_examples + min(rest * batch_size, train_examples))
    return found


class Stateful(Protocol):
    """What `Trial.keep` takes: modules, optimizers, learning-rate schedulers, and any object with
    these two."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Trial:
    """What a loop's function is given: `trial["learning_rate"]` is a metaparameter.

    batch_size  -- examples of a step
    seed        -- the trial's own, below 2**31: of what the loop seeds itself. torch's, NumPy's and
                   Python's global generators are seeded before it begins
    long_seed   -- 63 bits, of which `seed` is the last 31
    device      -- what to compute on: "cpu", or "cuda:0"
    directory   -- a folder of the trial's own
    step_budget -- the steps after which it is given up
    step        -- the updates that have been done before the loop begins: 0, but for one that goes
                   on from what `keep` has kept
    """

    def __init__(
        self,
        values: Metaparameters,
        batch_size: int,
        seed: int,
        steps: GridSteps | EveryStep,
        *,
        device: str = "cpu",
        directory: Callable[[], Path] = Path.cwd,
        step: int = 0,
        keep: Callable[[tuple[Stateful, ...]], None] = lambda _: None,
        report: Callable[..., None] | None = None,
    ) -> None:
        self._values, self._batch_size, self._steps = dict(values), batch_size, steps
        self.long_seed, self.seed = seed, seed % 2**31
        self.device, self.step_budget, self.step = device, steps.budget, step
        self._directory, self._keep, self._report = directory, keep, report
        self.unread = {"batch_size", *values}
        """What the loop has not asked for yet."""
        self.train_examples = 0
        """The training examples that it has asked for batches of."""
        self.has_asked_when = False
        """Whether it has asked when it is evaluated."""

    def __getitem__(self, name: str) -> Any:
        """A metaparameter. Raises WorkloadError, with those there are, if it is none."""
        if name not in self._values:
            known = ", ".join(sorted(self._values)) or "empty"
            raise WorkloadError(f"no metaparameter {name!r}; the search space is {known}")
        self.unread.discard(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the metaparameters."""
        return iter(self._values)

    @property
    def metaparameters(self) -> dict[str, Value]:
        """All of them, by name."""
        return {name: self[name] for name in self._values}

    @property
    def batch_size(self) -> int:
        self.unread.discard("batch_size")
        return self._batch_size

    @property
    def directory(self) -> Path:
        return self._directory()

    @property
    def has_grid(self) -> bool:
        """Whether it is evaluated at the steps of its study's grid; otherwise wherever it chooses
        to be."""
        return isinstance(self._steps, GridSteps)

    def evaluates(self, step: int) -> bool:
        """Whether the loop is to evaluate after `step` updates, and to yield."""
        self.has_asked_when = True
        return step in self._steps

    def measured(
        self,
        step: int,
        value: float,
        loss: float | None = None,
        examples: int | None = None,
        measures: Mapping[str, float] | None = None,
    ) -> Measured:
        """What to yield: see `Measured`."""
        return Measured(step, value, loss, examples, {} if measures is None else measures)

    def batches(self, examples: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Which of so many training examples each step takes, from the trial's first step on to its
        step budget: endless epochs in an order of their own, which follows from the seed alone, so
        that a loop that goes on finds the batches where it left them.

        Returns pairs of the step, from `trial.step` + 1 on, and indices of shape [batch_size].
        Raises WorkloadError if there are fewer examples than a batch has.
        """
        size, self.train_examples = self.batch_size, examples
        if examples < size:
            raise WorkloadError(f"trial.batches({examples}): fewer than the batch size, {size}")
        first = self.step * size
        epoch, start = divmod(first, examples)
        order = self._order(examples, epoch)[start:]
        for step in range(self.step + 1, self.step_budget + 1):
            if len(order) < size:
                epoch += 1
                order = np.concatenate([order, self._order(examples, epoch)])
            yield step, order[:size]
            order = order[size:]

    def keep(
        self, *parts: Stateful | random.Random | np.random.Generator | torch.Generator
    ) -> None:
        """Have these kept, so that the trial can go on after an interruption; where it does, load
        them, and put the global random generators where they were.

        parts -- anything with `state_dict` and `load_state_dict`, and random generators of the
                 loop's own: `random.Random`, `numpy.random.Generator` and `torch.Generator`

        To be called once, before the first step, with everything that training changes. The loop
        then goes on after `trial.step`. One that doesn't call it starts again.
        """
        self._keep(tuple(map(_stateful, parts)))

    def report(
        self,
        step: int,
        value: float,
        loss: float | None = None,
        examples: int | None = None,
        measures: Mapping[str, float] | None = None,
    ) -> bool:
        """The same as a yield of `measured`, in a loop that is no generator: returns True when the
        trial may go on, and raises TrialEnded when it is over."""
        if self._report is None:
            raise WorkloadError(
                "trial.report is for functions without a yield; a generator yields "
                "trial.measured(step, value)"
            )
        self._report(step, value, loss, examples, measures)
        return True

    def _order(self, examples: int, epoch: int) -> NDArray[np.int64]:
        generator = np.random.Generator(np.random.PCG64(mix(self.long_seed, _ORDER, epoch)))
        return generator.permutation(examples)


class _KeptGenerator:
    """A random generator as what `Trial.keep` takes."""

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], Any]) -> None:
        self._get, self._put = get, put

    def state_dict(self) -> dict[str, Any]:
        return {"state": self._get()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self._put(state_dict["state"])


def _stateful(part: Any) -> Stateful:
    if isinstance(part, random.Random):
        return _KeptGenerator(part.getstate, part.setstate)
    if isinstance(part, np.random.Generator):
        bits: Any = part.bit_generator
        return _KeptGenerator(lambda: bits.state, lambda state: setattr(bits, "state", state))
    if callable(getattr(part, "get_state", None)) and hasattr(part, "manual_seed"):  # torch's
        return _KeptGenerator(part.get_state, part.set_state)
    for method in ("state_dict", "load_state_dict"):
        if not callable(getattr(part, method, None)):
            raise WorkloadError(f"trial.keep: a {type(part).__name__} has no {method}()")
    found: Stateful = part
    return found


def _called(function: Any) -> Any:
    """What is run when `function` is called, without what is put around it."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    is_object = not inspect.isroutine(function) and not isinstance(function, type)
    return type(function).__call__ if is_object else function


def _refuse_no_function(name: str, train: Any) -> None:
    if inspect.isgenerator(train):
        raise WorkloadError(f"{name}: train is a generator; give the function itself, uncalled")
    if not callable(train):
        raise WorkloadError(f"{name}: train is a {type(train).__name__}, not a function of a trial")
    if inspect.iscoroutinefunction(train) or inspect.isasyncgenfunction(train):
        raise WorkloadError(f"{name}: train is asynchronous; write a plain generator")


def _whole(what: str, value: Any) -> int:
    try:
        return operator.index(value)
    except Exception:  # whatever an object that is none raises
        raise WorkloadError(f"{what} is {shown(value)}, not a whole number") from None


def _number(what: str, value: Any) -> float:
    if not isinstance(value, (bool, str, bytes)):
        try:
            return float(value.detach() if hasattr(value, "detach") else value)
        except Exception:  # whatever an object that is no number raises
            pass
    raise WorkloadError(f"{what} is {shown(value)}, not a number")
