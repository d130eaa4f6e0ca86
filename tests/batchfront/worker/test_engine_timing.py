"""A short trial of both engines says how much faster a heat is as one."""

from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.engines import Failed, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.engine import Vectorized
from batchfront.worker.engine_timing import speedup
from batchfront.worker.setup import LoadedWorkload
from tests.waiting import Seconds

Claimed = tuple[Study, LoadedWorkload, list[Slot]]


class Timed(Sequential):
    """Takes as long as it is told to, and stands for the vectorized engine too."""

    stacks = True

    def __init__(self, time: Seconds, step: float = 0.02, look: float = 0.02) -> None:
        self.time, self.step_seconds, self.look_seconds = time, step, look

    def advance(self, runs: Sequence[ModelRun], to_step: int, stop: Event) -> list[bool | Failed]:
        self.time.pass_by(self.step_seconds)
        return super().advance(runs, to_step, stop)

    def evaluate(self, runs: Sequence[ModelRun], *, full: bool) -> list[GoalCheck | Failed]:
        self.time.pass_by(self.look_seconds)
        return super().evaluate(runs, full=full)


class Broken(Timed):
    def evaluate(self, runs: Sequence[ModelRun], *, full: bool) -> list[GoalCheck | Failed]:
        return [Failed("broken") for _ in runs]


@pytest.mark.parametrize("longer", [{"step": 0.1}, {"look": 0.1}])
def test_it_is_the_ratio_of_the_time_that_steps_and_looks_take(
    claimed: Claimed, longer: dict[str, float]
) -> None:
    time = Seconds()
    fast, slow = Timed(time), Timed(time, **longer)
    found = [compared(claimed, time, *pair) for pair in ((fast, slow), (fast, fast), (slow, fast))]
    assert found == [found[0], pytest.approx(1), pytest.approx(1 / found[0])]
    assert found[0] > 1.5


def compared(
    claimed: Claimed,
    time: Seconds,
    vectorized: Any,
    sequential: Any,
) -> Any:
    return speedup(*claimed, Event(), vectorized, sequential, time)


def test_a_run_that_fails_or_a_stop_leaves_it_open(
    claimed: Claimed,
) -> None:
    stopped = Event()
    stopped.set()
    assert speedup(*claimed, stopped, Vectorized()) is None
    broken: Any = Broken(Seconds())
    assert speedup(*claimed, Event(), broken) is None


def test_what_is_not_stacked_is_not_compared(
    claimed: Claimed,
) -> None:
    alone: Any = Timed(Seconds())
    alone.stacks = False
    assert speedup(*claimed, Event(), alone) is None


def test_a_heat_of_long_steps_is_not_tried(
    claimed: Claimed,
) -> None:
    time = Seconds()
    assert compared(claimed, time, Timed(time), Timed(time, step=0.3)) is None
