"""A short trial of both engines says how much faster a heat is as one."""

from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.engines import Failed, Sequential
from batchfront.training.evaluation import GoalCheck
from batchfront.training.trial import TrialRun
from batchfront.training.vectorized.engine import Vectorized
from batchfront.worker import engine_timing as calibration
from batchfront.worker.engine_timing import speedup
from batchfront.worker.setup import Bench


class Stacking(Sequential):
    """Stands for the vectorized engine."""

    stacks = True


class Slow(Stacking):
    """Takes hundredths of a second longer for steps."""

    def advance(self, runs: Sequence[TrialRun], to_step: int, stop: Event) -> list[bool | Failed]:
        stop.wait(0.02)
        return super().advance(runs, to_step, stop)


class SlowToLook(Stacking):
    """Takes hundredths of a second longer for a look."""

    def look(self, runs: Sequence[TrialRun], *, full: bool) -> list[GoalCheck | Failed]:
        Event().wait(0.02)
        return super().look(runs, full=full)


class Broken(Stacking):
    def look(self, runs: Sequence[TrialRun], *, full: bool) -> list[GoalCheck | Failed]:
        return [Failed("broken") for _ in runs]


@pytest.mark.parametrize("kind", [Slow, SlowToLook])
@pytest.mark.parametrize("slower", ["Sequential", "Vectorized"])
def test_it_is_the_ratio_of_the_time_that_steps_and_looks_take(
    claimed: tuple[Study, Bench, list[Slot]],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Sequential],
    slower: str,
) -> None:
    if slower == "Sequential":
        monkeypatch.setattr(calibration, "Sequential", kind)
    vectorized: Any = kind() if slower == "Vectorized" else Stacking()
    ratio = speedup(*claimed, Event(), vectorized)
    assert ratio is not None
    assert ratio > 1.1 if slower == "Sequential" else ratio < 0.9


def test_a_run_that_fails_or_a_stop_leaves_it_open(
    claimed: tuple[Study, Bench, list[Slot]],
) -> None:
    stopped = Event()
    stopped.set()
    assert speedup(*claimed, stopped, Vectorized()) is None
    broken: Any = Broken()
    assert speedup(*claimed, Event(), broken) is None


def test_what_is_not_stacked_is_not_compared(claimed: tuple[Study, Bench, list[Slot]]) -> None:
    alone: Any = Stacking()
    alone.stacks = False
    assert speedup(*claimed, Event(), alone) is None


def test_a_heat_of_long_steps_is_not_tried(
    claimed: tuple[Study, Bench, list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_LONGEST", 0.05)
    monkeypatch.setattr(calibration, "Sequential", Slow)
    vectorized: Any = None
    assert speedup(*claimed, Event(), vectorized) is None
