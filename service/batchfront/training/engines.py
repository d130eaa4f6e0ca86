"""What advances the runs of a heat, and evaluates them: one after another, or all as one."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Protocol, TypeVar

from batchfront.outcomes import storable
from batchfront.training.memory import is_lost_device
from batchfront.training.run import GoalCheck, Run

T = TypeVar("T")
R_contra = TypeVar("R_contra", bound=Run, contravariant=True)

Steps = int | Sequence[int]
"""One for all runs, or each one's own."""


@dataclass(frozen=True)
class Failed:
    """A run raised: its own failure, of which the others take no notice."""

    reason: str


class Engine(Protocol[R_contra]):
    """Computes what the runs of one study do in a round of their heat.

    All answer run by run, in the order given. What one run raises is its own `Failed`; that a
    device is lost (`is_lost_device`) is raised, as every run would meet the same.
    """

    def advance(self, runs: Sequence[R_contra], to_step: Steps, stop: Event) -> list[bool | Failed]:
        """`Run.advance`."""

    def finite(self, runs: Sequence[R_contra]) -> list[bool]:
        """`Run.is_finite`, which no run fails in."""

    def evaluate(self, runs: Sequence[R_contra], *, full: bool) -> list[GoalCheck | Failed]:
        """`Run.evaluate`."""


class Sequential:
    """The engine that takes one run after another."""

    def advance(self, runs: Sequence[Run], to_step: Steps, stop: Event) -> list[bool | Failed]:
        return [
            not stop.is_set() and attempt(partial(run.advance, own, stop))
            for run, own in zip(runs, of_each(runs, to_step), strict=True)
        ]

    def finite(self, runs: Sequence[Run]) -> list[bool]:
        return [run.is_finite() for run in runs]

    def evaluate(self, runs: Sequence[Run], *, full: bool) -> list[GoalCheck | Failed]:
        return [attempt(partial(run.evaluate, full=full)) for run in runs]


def of_each(runs: Sequence[Run], steps: Steps) -> Sequence[int]:
    """The steps run by run."""
    return [steps] * len(runs) if isinstance(steps, int) else steps


def attempt(work: Callable[[], T]) -> T | Failed:
    """Do some work of one run.

    Returns what `work` returns, or its failure: as text, as the error itself would hold on to what
    was being computed. Raises that a device is lost.
    """
    try:
        return work()
    except Exception as error:
        if is_lost_device(error):
            raise
        return Failed(failure(error))


def failure(error: Exception) -> str:
    """Give the reason of a failed trial: the error in one line, and then its traceback."""
    lines = str(error).strip().splitlines() or ["no message"]
    trace = "".join(traceback.format_exception(error))
    return storable(f"{type(error).__name__}: {lines[0]}\n{trace}")
