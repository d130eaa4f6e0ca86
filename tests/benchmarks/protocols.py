"""Three ways to find the best of the same trials: racing, one by one with a cap, fixed budget."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import torch

from batchfront.outcomes import TrialResult
from batchfront.training.evaluation import full_metric
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.training.stopping import judge
from batchfront.workload.data import Splits
from batchfront.workload.search_space import Value, quasi_random_points
from batchfront.workload.seeds import study_seed, trial_seed
from batchfront.workload.workload import Workload

UNTRAINED = 512
"""Examples at most that a new `ModelRun` takes the untrained loss of; counted as evaluated."""

_GO = Event()  # never set: nothing interrupts a benchmark


@dataclass(frozen=True)
class Winner:
    """A study's frontier point: steps to target, and the number of the trial."""

    steps: int
    number: int


@dataclass(frozen=True)
class Cost:
    """What a search spent at one batch size."""

    batch_size: int
    steps: int
    evaluated: int

    @property
    def trained(self) -> int:
        return self.steps * self.batch_size


@dataclass(frozen=True)
class Found:
    """What a search found at one batch size, and for how much."""

    winner: Winner | None
    cost: Cost


@dataclass(frozen=True)
class Entry:
    """What a heat calls a slot."""

    number: int


@dataclass(frozen=True)
class Setting:
    """One study: its points and the seeds of its trials, exactly as `batchfront plan` has them."""

    workload: Workload
    splits: Splits
    batch_size: int
    seed: int
    trials: int

    @property
    def study_seed(self) -> int:
        return study_seed(self.seed, self.workload.name, self.batch_size)

    def points(self) -> list[dict[str, Value]]:
        """The metaparameters of every trial."""
        space = self.workload.space(self.batch_size)
        return quasi_random_points(space, self.trials, self.study_seed)

    def rules(self, **more: Any) -> RaceRules:
        """What its trials race to."""
        return RaceRules(self.workload.goal, self.workload.stopping, **more)

    def runs(self) -> Iterator[tuple[Entry, ModelRun]]:
        """Fresh trials, made one at a time."""
        for number, values in enumerate(self.points()):
            seed = trial_seed(self.study_seed, number)
            yield (
                Entry(number),
                ModelRun(
                    self.workload, self.splits, self.batch_size, values, seed, torch.device("cpu")
                ),
            )

    @property
    def looked_at_first(self) -> int:
        return min(UNTRAINED, len(self.splits.train))


def race(setting: Setting) -> Found:
    """All trials in one heat."""
    return _found(setting, heat(setting))


def heat(setting: Setting, finishers: int = 1) -> list[tuple[Entry, TrialResult]]:
    """How all trials end in one heat, which goes on until so many have passed the goal."""
    return run_to_the_end(Heat(setting.rules(finishers=finishers), setting.runs()))


def one_by_one(setting: Setting) -> Found:
    """One trial after another, each up to the best so far."""
    ended: list[tuple[Entry, TrialResult]] = []
    cap: int | None = None
    for entry, run in setting.runs():
        heat = Heat(setting.rules(), [(entry, run)])
        heat.lower_cap(cap)
        ended += run_to_the_end(heat)
        cap = min((e.steps_to_target for _, e in ended if e.steps_to_target), default=None)
    return _found(setting, ended)


def run_to_the_end(heat: Heat[Entry, ModelRun]) -> list[tuple[Entry, TrialResult]]:
    ended = []
    while heat.live:
        ended += heat.round(_GO)
    return ended


def _found(setting: Setting, ended: Sequence[tuple[Entry, TrialResult]]) -> Found:
    cost = Cost(
        setting.batch_size,
        sum(ending.steps for _, ending in ended),
        sum(ending.cost.evaluated_examples + setting.looked_at_first for _, ending in ended),
    )
    return Found(_best((e.steps_to_target, entry.number) for entry, e in ended), cost)


def _best(passed: Iterable[tuple[int | None, int]]) -> Winner | None:
    return min(
        (Winner(steps, number) for steps, number in passed if steps is not None),
        key=lambda winner: (winner.steps, winner.number),
        default=None,
    )


@dataclass
class Curve:
    """One trial followed past its goal, with what the pruning rules would have said.

    passed    -- the first evaluated step past the goal
    infeasible -- the evaluated step at which it was no longer finite, where it ended
    pruned    -- (step, outcome) of the first verdict of the rules for trials that train on
    """

    number: int
    grid: list[int] = field(default_factory=list)
    passed: int | None = None
    infeasible: int | None = None
    pruned: tuple[int, str] | None = None

    def until(self, budget: int) -> list[int]:
        """The evaluated steps within a budget."""
        return [step for step in self.grid if step <= budget]

    @property
    def pruned_first(self) -> bool:
        """Whether the rules would have ended the trial before it passed the goal, if it did."""
        if self.pruned is None:
            return False
        return self.passed is None or self.pruned[0] < self.passed


def follow(setting: Setting, budget: int) -> list[Curve]:
    """Every trial of the study trained to the budget; only non-finite ones end before."""
    grid = setting.workload.grid.steps(budget)
    return [_follow(setting.workload, entry.number, run, grid) for entry, run in setting.runs()]


def _follow(workload: Workload, number: int, run: ModelRun, grid: Sequence[int]) -> Curve:
    curve, previous = Curve(number), 0
    for step in grid:
        run.advance(step)
        curve.grid.append(step)
        if not run.is_finite():
            curve.infeasible = step
            break
        # The looks that the rules go by are those of a race. Between them the metric is computed
        # over the whole split too, and not by the walk that a race takes, to check that one.
        if workload.grid.is_full(step, previous):
            value = run.evaluate(full=True).value
            verdict = judge(run.evaluations, run.untrained_loss, workload.stopping, workload.goal)
            if verdict is not None and curve.pruned is None:
                curve.pruned = (step, verdict[0])
        else:
            value = full_metric(run.model, run.splits.validation, workload.goal.metric)
        if curve.passed is None and value is not None and workload.goal.passed(value):
            curve.passed = step
        previous = step
    return curve


def fixed_budget(setting: Setting, curves: Sequence[Curve], budget: int) -> Found:
    """The paper's protocol, from curves at least that long: every trial to the budget."""
    evaluated = [curve.until(budget) for curve in curves]
    cost = Cost(
        setting.batch_size,
        sum(steps[-1] for steps in evaluated),
        sum(map(len, evaluated)) * len(setting.splits.validation),
    )
    passed = (
        (c.passed if c.passed is not None and c.passed <= budget else None, c.number)
        for c in curves
    )
    return Found(_best(passed), cost)
