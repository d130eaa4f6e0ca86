"""How much faster a heat is as one vectorized model, by a short trial on runs of its own."""

from collections.abc import Callable, Sequence
from threading import Event
from time import perf_counter

import torch

from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.engines import Engine, Failed, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.engine import ROWS, Vectorized
from batchfront.worker.setup import LoadedWorkload

_SAMPLE = 4  # runs that are taken one after another: more of them take just as long each

_TURN = 0.03  # seconds that steps are timed for, and again evaluations, of each engine in turn

_SECONDS = 0.6  # for all turns, but that the one under way is finished

_CLEAR = 1.5  # times as fast, or as slow, after two turns: more turns would say the same

_LONGEST = 0.5  # seconds for a step of the heat, from which on what launching costs is no matter

_FIRST_STEPS = 3  # of which the shortest counts

_STEPS = 5  # between two readings of the clock

_HORIZON = 1000  # steps of a race whose evaluations are counted in


def speedup(
    study: Study,
    loaded: LoadedWorkload,
    taken: Sequence[Slot],
    stop: Event,
    vectorized: Vectorized,
    sequential: Engine[ModelRun] = Sequential(),  # noqa: B008 -- it has no state
    now: Callable[[], float] = perf_counter,
) -> float | None:
    """How many times as fast the vectorized engine takes a heat of these slots through a race as
    the sequential one; None where it stacks none of them, where that can't be told, or where steps
    are too long for it to matter.

    The engines take turns, so that what else the machine does weighs on both alike.
    """

    def timer(engine: Engine[ModelRun], slots: Sequence[Slot]) -> _EngineTimer:
        return _EngineTimer(
            engine, [_run(study, loaded, slot) for slot in slots], study, loaded, stop, now
        )

    heat = taken[:ROWS]
    step = timer(sequential, heat[:1]).step()
    if step is None or step * len(heat) > _LONGEST:
        return None
    one_by_one, as_one = timer(sequential, heat[:_SAMPLE]), timer(vectorized, heat)
    if not one_by_one.begin() or not as_one.begin() or not vectorized.stacks:
        return None
    began, turns = now(), 0
    while True:
        found = one_by_one.seconds(), as_one.seconds()
        if found[0] is None or found[1] is None:
            return None
        ratio, turns = found[0] / found[1], turns + 1
        clear = turns > 1 and not 1 / _CLEAR < ratio < _CLEAR
        if clear or now() - began > _SECONDS:
            return ratio


def _run(study: Study, loaded: LoadedWorkload, slot: Slot) -> ModelRun:
    return loaded.run(study.batch_size, slot.params or {}, study.trial_seed(slot.number))


class _EngineTimer:
    """Runs that are advanced and evaluated by an engine, to see how long it takes."""

    def __init__(
        self,
        engine: Engine[ModelRun],
        runs: Sequence[ModelRun],
        study: Study,
        loaded: LoadedWorkload,
        stop: Event,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._engine, self._runs, self._stop = engine, runs, stop
        self._device = loaded.device
        horizon = min(_HORIZON, loaded.workload.steps_allowed(study.batch_size))
        self._evaluations_a_step = len(loaded.workload.grid.steps(horizon)) / horizon
        self._at = 0
        self._steps, self._evaluations = _Timed(), _Timed()

    def step(self) -> float | None:
        """The seconds that the shortest of the first few steps takes, but for what is done once;
        None if a run fails, or it is stopped."""
        well, shortest, until = self._advance(1), float("inf"), self._now() + _SECONDS
        for _ in range(_FIRST_STEPS):
            one = _Timed()
            well = well and self._time(one, lambda: self._advance(1))
            shortest = min(shortest, one.seconds)
            if self._now() > until:
                break
        return shortest if well else None

    def begin(self) -> bool:
        """Do what is done once. Returns whether all went well."""
        return self._advance(1) and self._evaluate()

    def seconds(self) -> float | None:
        """A step of one run with its share of the evaluations, from all turns so far and another
        one; None as above."""
        if not self._turn(self._steps, self._burst):
            return None
        if not self._turn(self._evaluations, self._evaluate):
            return None
        step = self._steps.mean / _STEPS
        return (step + self._evaluations_a_step * self._evaluations.mean) / len(self._runs)

    def _burst(self) -> bool:
        return self._advance(_STEPS)  # even past the step budget: nothing comes of it

    def _turn(self, timed: "_Timed", work: Callable[[], bool]) -> bool:
        until, well = self._now() + _TURN, True
        while well and self._now() < until:
            well = self._time(timed, work)
        return well

    def _time(self, timed: "_Timed", work: Callable[[], bool]) -> bool:
        began = self._now()
        done = work()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        timed.seconds += self._now() - began
        timed.times += 1
        return done

    def _advance(self, steps: int) -> bool:
        self._at += steps
        return self._well(self._engine.advance(self._runs, self._at, self._stop))

    def _evaluate(self) -> bool:
        return self._well(self._engine.evaluate(self._runs, full=False))

    def _well(self, found: Sequence[object]) -> bool:
        return not self._stop.is_set() and not any(isinstance(one, Failed) for one in found)


class _Timed:
    """Seconds that something took, so many times."""

    def __init__(self) -> None:
        self.seconds, self.times = 0.0, 0

    @property
    def mean(self) -> float:
        return self.seconds / self.times
