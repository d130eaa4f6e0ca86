"""What the contenders of `whole_search` look for: one workload at several batch sizes, and how few
steps are enough."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from batchfront.workload import catalog
from batchfront.workload.data import Splits
from batchfront.workload.workload import Workload
from tests.benchmarks.protocols import Setting


@cache
def _digits() -> Splits:
    return catalog.load("digits/mlp/momentum").data()


@cache
def _mnist() -> Splits:
    return catalog.load("mnist/fc_256/momentum").data()


def digits() -> Workload:
    """digits/mlp/momentum, its data loaded once a process, as every contender has it."""
    return replace(catalog.load("digits/mlp/momentum"), data=_digits)


def fc_256() -> Workload:
    """mnist/fc_256/momentum likewise."""
    return replace(catalog.load("mnist/fc_256/momentum"), data=_mnist)


@dataclass(frozen=True)
class Task:
    """A frontier to be found.

    make    -- the name in this module of the function that returns the workload
    goal    -- the value to pass
    limit   -- trials at a batch size, after which a contender gives up
    """

    make: str
    goal: float
    batch_sizes: tuple[int, ...]
    limit: int

    @property
    def spec(self) -> str:
        """The workload as `batchfront run` would be told."""
        return f"{__name__}:{self.make}"

    def workload(self) -> Workload:
        """The workload with this goal."""
        return catalog.load(self.spec).with_goal(self.goal)

    def setting(self, batch_size: int, seed: int) -> Setting:
        """The study of a batch size."""
        workload = self.workload()
        return Setting(workload, workload.data(), batch_size, seed, self.limit)


@dataclass(frozen=True)
class Reference:
    """What a careful search finds at each batch size, and with what a contender may be content.

    steps -- by batch size: the median, over seeds, of the best of so many trials
    """

    steps: dict[int, float]
    slack: float = 1.1

    def enough(self, batch_size: int) -> int:
        """The steps that lie within the slack."""
        return int(self.slack * self.steps[batch_size])

    def budget(self, setting: Setting, told: float | None) -> int:
        """The steps that a peer's trial may take: the workload's own step budget, as ours have, or
        what nobody knows beforehand, a multiple of the reference."""
        if told is None:
            return setting.workload.steps_allowed(setting.batch_size)
        return round(told * self.steps[setting.batch_size])


@dataclass(frozen=True)
class Spent:
    """What one contender found and spent at one batch size.

    steps  -- the fewest that it found to pass the goal; None if no trial did
    trials -- that it had begun by then
    """

    batch_size: int
    steps: int | None
    trials: int
    trained: int
    evaluated: int


@dataclass(frozen=True)
class Result:
    """One contender's whole search with one seed; seconds of all its processes.

    start_up -- of the CPU seconds, those before the first trial could begin, where they were taken
    """

    spent: tuple[Spent, ...]
    cpu_seconds: float
    wall_seconds: float
    start_up: float = 0.0


Search = Callable[[Task, int, Reference], Result]
"""A contender: finds a task's frontier, from a seed, until it has enough at every batch size."""
