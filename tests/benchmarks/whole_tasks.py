"""What the contenders of `whole_search` look for: one workload at several batch sizes, and how few
steps are enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from batchfront.workload import catalog
from batchfront.workload.data import Examples, Split, Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.workload import Workload
from batchfront_studies.datasets.lm1b import ANY, lm1b
from batchfront_studies.models.transformer import Size, Transformer
from tests.benchmarks.protocols import Setting

_CALM = 1.25  # wall seconds for a CPU second


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


@cache
def _books() -> Splits:
    found = lm1b(ANY, *_TOKENS, looked_at=250, name="books")
    return Splits(*(_in_memory(split) for _, split in found.named()))


def _in_memory(sentences: Examples) -> Split:
    """The first 16,384, all padded to the same length."""
    return Split(*sentences.batch(torch.arange(min(len(sentences), 16_384))))


_TOKENS = (400, 16)  # different ones, and the most of a sentence


def _one_layer() -> nn.Module:
    return Transformer(Size(layers=1, width=32, heads=2, filter=128), *_TOKENS)


def books() -> Workload:
    """A Transformer of one layer on books/transformer_tiny's text, with a step of a millisecond.

    Looked at every percent, as the others.
    """
    return replace(
        catalog.load("books/transformer_tiny/momentum"),
        name="books/transformer_one_layer/momentum",
        data=_books,
        model=_one_layer,
        grid=EvaluationGrid(),
    )


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
    def name(self) -> str:
        """What its results are kept under."""
        sizes = ", ".join(map(str, self.batch_sizes))
        return f"{self.make} to {self.goal:g} at {sizes}, up to {self.limit} trials"

    @property
    def spec(self) -> str:
        """The workload as `batchfront run` would be told."""
        return f"{__name__}:{self.make}"

    def alone(self, batch_size: int) -> "Task":
        """The same at one batch size."""
        return replace(self, batch_sizes=(batch_size,))

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
    trials -- that it had begun by then: if those steps are enough, the trial with which it first
              had enough, or the last of the generation in which it had
    """

    batch_size: int
    steps: int | None
    trials: int
    trained: int
    evaluated: int


@dataclass(frozen=True)
class Result:
    """One contender's whole search with one seed; seconds of all its processes.

    start_up -- of the CPU seconds, where they were taken, those before the first trial could begin,
                or spent on planning
    """

    spent: tuple[Spent, ...]
    cpu_seconds: float
    wall_seconds: float
    start_up: float = 0.0

    @property
    def calm(self) -> bool:
        """Whether the processes were hardly kept waiting for a core: then their CPU seconds say
        something."""
        return self.wall_seconds < _CALM * self.cpu_seconds


def together(results: Sequence[Result]) -> Result:
    """Returns one search of several batch sizes, of the searches of each, one after another."""
    return Result(
        tuple(spent for result in results for spent in result.spent),
        sum(result.cpu_seconds for result in results),
        sum(result.wall_seconds for result in results),
        sum(result.start_up for result in results),
    )


Search = Callable[[Task, int, Reference], Result]
"""A contender: finds a task's frontier, from a seed, until it has enough at every batch size."""
