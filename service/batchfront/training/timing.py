"""Seconds that the parts of training take, each as a trial computes it.

A run trains as it always does, with its micro-batches, optimizer, loader and evaluator, and is
watched meanwhile. It stops for evaluations as often as a trial does: the first step after one finds
other data in the processor's caches. The parts take turns, so that what else the machine does
weighs on all alike.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from random import Random
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.training.distributed.leader import LeaderRun
from batchfront.training.gradient import Gradient
from batchfront.training.model_run import ModelRun
from batchfront.vocabulary import TimedPart
from batchfront.workload.data_order import DataOrder

REPETITIONS = 20
"""How often each part is timed, at least."""

_FEW = 3  # of an evaluation that takes so long that more would take minutes, at least

_ENOUGH = 3 * REPETITIONS  # where there is time for more

_WARM_UP = 3  # steps in which kernels are chosen, and it is found out what memory holds

_SHORTEST = 0.002  # seconds of a repetition: what is shorter is done several times in it

_MOST = 64  # times that it is

_LONGEST_ROW = 0.05  # seconds of steps in a row: more of them would take as long each

_SHORT_EVALUATION = 0.1  # seconds of one that steps are timed in between of

Key = tuple[TimedPart, int]
"""A part, and the examples that it is of."""

Seconds = Mapping[Key, Sequence[float]]
"""What each part took, in every repetition."""

_Work = Callable[[int], Mapping[Key, float]]
"""Does something so many times in a row, and says what its parts took each time."""


@dataclass(frozen=True)
class Alone:
    """What one device takes by itself.

    peaks     -- by the examples of a pass: the bytes of a GPU that were in use during it, at most
    too_long  -- sizes that were left out, as timing them would have taken too long
    too_large -- batch sizes that can't be split and that memory doesn't hold
    """

    seconds: Seconds
    peaks: Mapping[int, int]
    too_long: tuple[int, ...] = ()
    too_large: tuple[int, ...] = ()


def time_alone(
    run: ModelRun,
    passes: Collection[int],
    batch_sizes: Collection[int],
    stretch: Callable[[int], int],
    within: float | None,
) -> Alone:
    """Time what one device computes: passes, the optimizer's step, loading, an evaluation, and
    whole steps.

    run     -- is trained with batches of all these sizes, whichever it was made for
    passes  -- sizes of micro-batches, of which those are timed that memory holds
    stretch -- the steps from one evaluation to the next, by batch size
    within  -- seconds that it may take, for which the largest sizes are left out; None: any
    """
    trial = _Trial(run)
    left = inf if within is None else within / REPETITIONS  # of a round of all that is timed
    works: list[_Work] = [trial.evaluations]
    too_long: list[int] = []
    too_large: list[int] = []
    for size in sorted({*passes, *batch_sizes}):
        if left < 0:  # nor is it tried out
            too_long.append(size)
            continue
        if size not in batch_sizes and not trial.is_one_pass(size):
            continue
        took = trial.first_steps(size, stretch(size))
        if took is None:
            too_large.append(size)
            continue
        own: list[_Work] = [partial(trial.whole_steps, size)] if size in batch_sizes else []
        own += trial.parts(size) if size in passes else []
        left -= len(own) * max(took, _SHORTEST)
        if left >= 0 or len(works) == 1:
            works += own
        elif own:
            too_long.append(size)
    return Alone(_in_turns(works, within), trial.peaks, tuple(too_long), tuple(too_large))


def time_together(run: LeaderRun, stretch: int, within: float | None) -> Seconds:
    """Time whole steps that several devices share, and how long these take to add up a gradient.

    stretch -- the steps from one evaluation to the next
    """
    _advance(run, _WARM_UP)
    began = perf_counter()
    _advance(run, 1)
    _wait_for(run.device)
    steps = _row(stretch, perf_counter() - began)
    interrupt = _interruption(run)

    def whole_steps(times: int) -> Mapping[Key, float]:
        seconds = _rows(run, steps, times, interrupt)
        return {(TimedPart.STEP, run.batch_size): seconds / (times * steps)}

    def all_reduces(times: int) -> Mapping[Key, float]:
        return {(TimedPart.ALL_REDUCE, 0): run.all_reduce_seconds(times)}

    return _in_turns([whole_steps, all_reduces], within)


def _row(stretch: int, step: float) -> int:
    """How many steps are timed in a row: as many as a trial makes, as far as more of them would
    make each of them shorter."""
    return min(stretch, max(ceil(_LONGEST_ROW / step), 1))


def _interruption(run: ModelRun) -> Callable[[], object]:
    """What stops a trial for a moment: an evaluation, as far as the goal needs; nothing where that
    takes so long that what it does to the next step is no matter."""
    evaluate = partial(run.evaluate, full=False)
    evaluate()
    began = perf_counter()
    evaluate()
    return evaluate if perf_counter() - began < _SHORT_EVALUATION else lambda: None


def _rows(run: ModelRun, steps: int, times: int, interrupt: Callable[[], object]) -> float:
    """The seconds of rows of so many steps, each of which follows an evaluation."""
    seconds = 0.0
    for _ in range(times):
        interrupt()
        _wait_for(run.device)
        began = perf_counter()
        _advance(run, steps)
        _wait_for(run.device)
        seconds += perf_counter() - began
    return seconds


@dataclass(frozen=True)
class _Turn:
    """What comes again in every round.

    times -- that it is done in a row, for a repetition
    most  -- rounds that it takes part in
    """

    work: _Work
    times: int
    most: int

    @classmethod
    def of(cls, work: _Work, within: float | None) -> "_Turn":
        """By how long it takes; it has then been done twice."""
        work(1)
        began = perf_counter()
        work(1)
        took = max(perf_counter() - began, 1e-6)
        times = min(ceil(_SHORTEST / took), _MOST)
        # Sizes that take longer are left out, but an evaluation is what it is.
        fit = _ENOUGH if within is None else int(within / 2 / took)
        return cls(work, times, _ENOUGH if fit >= REPETITIONS else max(fit, _FEW))


def _in_turns(works: Sequence[_Work], within: float | None) -> Seconds:
    """Repeat each as often as is needed, and a few times more where there is time."""
    turns = [_Turn.of(work, within) for work in works]
    seconds: dict[Key, list[float]] = {}
    order = Random(0)  # its own: training seeds the process's
    until = perf_counter() + (within or 0.0) / 2
    for done in range(_ENOUGH):
        if done >= REPETITIONS and perf_counter() > until:
            break
        order.shuffle(turns)  # or what comes at intervals, such as another process, meets the same
        for turn in turns:
            if done < turn.most:
                for key, took in turn.work(turn.times).items():
                    seconds.setdefault(key, []).append(took)
    return seconds


class _Trial:
    """A run as if it were of one batch size after another, each going on where it was.

    peaks -- by the examples of a pass: see `Alone`
    """

    def __init__(self, run: ModelRun) -> None:
        self._run = run
        self._budget = run.workload.steps_allowed(run.batch_size)  # as far as its schedule goes
        self._sizes: dict[int, _AtSize] = {}
        self._interrupt: Callable[[], object] | None = None
        self.peaks: dict[int, int] = {}

    def first_steps(self, size: int, stretch: int) -> float | None:
        """The seconds of a row of steps once memory and kernels are found; None where memory is too
        small for a batch that can't be split."""
        run = self._run
        self._sizes[size] = here = _AtSize(run.splits.train.order(size, run.dropout_seed))
        try:
            with self._training(size, _WARM_UP + 1):
                _advance(run, _WARM_UP)
                step = _rows(run, 1, 1, lambda: None)
        except WorkloadError:
            if run.alone.whole_batches and run.alone.micro_batch_size.limit is not None:
                return None
            raise
        here.row = min(_row(stretch, step), self._budget)
        if self._interrupt is None:
            self._interrupt = _interruption(run)
        return here.row * step

    def is_one_pass(self, size: int) -> bool:
        """Whether memory holds a micro-batch of this size, as far as is known."""
        gradient = self._run.alone
        return gradient.micro_batch_size.size(size, gradient.quantum) == size

    def parts(self, size: int) -> list[_Work]:
        """What times the parts of a step that is computed in one pass; nothing where memory holds
        less, or where nobody knows a step's parts but the workload's own update."""
        if not self.is_one_pass(size):
            return []
        loading = partial(self._loading, size)
        whole = self._run.workload.update is not None
        return [loading] if whole else [partial(self._split, size), loading]

    def whole_steps(self, size: int, times: int) -> Mapping[Key, float]:
        """Steps as they are."""
        steps, seconds = self._in_rows(size, times)
        return {(TimedPart.STEP, size): seconds / steps}

    def evaluations(self, times: int) -> Mapping[Key, float]:
        """Full evaluations."""
        began = perf_counter()
        for _ in range(times):
            self._run.evaluate(full=True)
        _wait_for(self._run.device)
        part = TimedPart.EVALUATION, len(self._run.splits.validation)
        return {part: (perf_counter() - began) / times}

    def _split(self, size: int, times: int) -> Mapping[Key, float]:
        """Steps, of which the gradient is a pass, and the rest the update."""
        run = self._run
        watched = _Watched(run.gradient, run.device)
        run.gradient = watched
        try:
            steps, seconds = self._in_rows(size, times)
        finally:
            run.gradient = run.alone
        of_pass = watched.seconds
        if watched.peak is not None:
            self.peaks[size] = watched.peak
        return {
            (TimedPart.PASS, size): of_pass / steps,
            (TimedPart.UPDATE, 0): (seconds - of_pass) / steps,
        }

    def _in_rows(self, size: int, times: int) -> tuple[int, float]:
        """How many steps were made, in rows as a trial makes them, and their seconds."""
        row = self._sizes[size].row
        times = min(times, self._budget // row)
        assert self._interrupt is not None
        with self._training(size, times * row):
            return times * row, _rows(self._run, row, times, self._interrupt)

    def _loading(self, size: int, times: int) -> Mapping[Key, float]:
        """Batches alone, one after another, with the next ones loaded ahead where a trial has
        that."""
        run, ahead = self._run, self._run.splits.train.ahead
        settle = ahead and ahead + 1  # batches after which the others come as fast as they can
        times = max(min(times, self._budget - settle), 1)
        with self._training(size, settle + times):
            gradient, order, first = run.alone, run.order, run.step
            last = first + settle + times
            began = perf_counter()
            with gradient.prefetch(order, first, last + settle):
                for step, indices in enumerate(order.batches(first, last), first):
                    if step == first + settle:
                        began = perf_counter()
                    gradient.load(indices, gradient.begin(step), step)
                _wait_for(run.device)
                seconds = perf_counter() - began
            run.step = last
        return {(TimedPart.LOADING, size): seconds / times}

    @contextmanager
    def _training(self, size: int, steps: int) -> Iterator[None]:
        """While the block runs, the run is one of this batch size that is about to make so many
        steps."""
        run, here = self._run, self._sizes[size]
        run.order = here.order
        run.step = here.step if here.step + steps <= self._budget else 0
        yield
        here.step = run.step


@dataclass
class _AtSize:
    """How far a batch size has come, what its steps are of, and how many are made in a row."""

    order: DataOrder
    step: int = 0
    row: int = 1


class _Watched:
    """A gradient, and the seconds that it has been computed for."""

    def __init__(self, gradient: Gradient, device: torch.device) -> None:
        self._gradient, self._device = gradient, device
        self._on_gpu = device.type == "cuda"
        self._stretches: list[tuple[Any, Any]] = []
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def seconds(self) -> float:
        """Of all that were computed."""
        if not self._on_gpu:
            return float(sum(ended - began for began, ended in self._stretches))
        torch.cuda.synchronize(self._device)
        return float(sum(began.elapsed_time(ended) for began, ended in self._stretches)) / 1000

    @property
    def peak(self) -> int | None:
        """The bytes of a GPU that were in use meanwhile, at most."""
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else None

    def of(self, step: int, indices: Tensor) -> Tensor | None:
        """As the gradient that is watched."""
        began = self._mark()
        loss = self._gradient.of(step, indices)
        self._stretches.append((began, self._mark()))
        return loss

    def prefetch(self, order: DataOrder, first: int, stop: int) -> AbstractContextManager[None]:
        """As the gradient that is watched."""
        return self._gradient.prefetch(order, first, stop)

    def _mark(self) -> Any:
        """This moment; of a GPU, when it gets here, as to wait for that would leave it idle."""
        if not self._on_gpu:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def _advance(run: ModelRun, steps: int) -> None:
    run.advance(run.step + steps)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
