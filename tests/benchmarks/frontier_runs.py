"""Every protocol of `frontier_cost`, run seed by seed, and what the runs showed together."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from time import process_time

import torch

from batchfront.workload import catalog
from tests.benchmarks.plain_optuna import search
from tests.benchmarks.protocols import Curve, Found, Setting, fixed_budget, follow, one_by_one, race
from tests.processes import end_with_parent

WORKLOAD = "digits/mlp/momentum"

BUDGET = 3
"""The fixed budget, in multiples of the best steps of the same study."""

GENEROUS, GENEROUS_FROM = 10, 64
"""A more generous budget, and the smallest batch size that it is tried at."""

RACING, ONE_BY_ONE, FIXED = "racing", "one by one, capped", f"fixed budget, {BUDGET}× the best"
TWICE = "racing, twice the trials"
OPTUNA = "plain Optuna: TPE, MedianPruner"
OPTUNA_CAPPED = "the same, with the best so far as a cap"


@dataclass
class Run:
    """Everything that one seed showed: protocol to what it found at each batch size."""

    seed: int
    found: dict[str, list[Found]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    curves: list[list[Curve]] = field(default_factory=list)
    generous: list[Found] = field(default_factory=list)

    def total(self, protocol: str, count: Callable[[Found], int]) -> int:
        """A cost summed over the batch sizes."""
        return sum(map(count, self.found[protocol]))

    def share(self) -> float:
        """Racing's share of the steps of the fixed budget."""
        return total_steps(self.found[RACING]) / total_steps(self.found[FIXED])

    def generous_share(self) -> float | None:
        """The same beside the generous budget, over the batch sizes that it was tried at."""
        if not self.generous:
            return None
        raced = [f for f in self.found[RACING] if f.cost.batch_size >= GENEROUS_FROM]
        return total_steps(raced) / total_steps(self.generous)

    def winners_differ(self) -> list[str]:
        """The batch sizes at which the protocols that run the same trials disagree."""
        differ = []
        for index, raced in enumerate(self.found[RACING]):
            others = [self.found[name][index] for name in (ONE_BY_ONE, FIXED)]
            others += [f for f in self.generous if f.cost.batch_size == raced.cost.batch_size]
            if any(other.winner != raced.winner for other in others):
                differ.append(f"seed {self.seed}, batch size {raced.cost.batch_size}")
        return differ

    def winners_pruned(self) -> int:
        """The winners of the full curves that the rules would have ended before they won."""
        lost = 0
        for found, curves in zip(self.found[FIXED], self.curves, strict=True):
            winner = found.winner
            lost += any(c.pruned_first for c in curves if winner and c.number == winner.number)
        return lost

    def beside_ours(self, protocol: str) -> list[float]:
        """Steps to target of another search over ours, at each batch size where it has any."""
        pairs = zip(self.found[protocol], self.found[RACING], strict=True)
        return [f.winner.steps / r.winner.steps for f, r in pairs if f.winner and r.winner]


@dataclass(frozen=True)
class Plan:
    """What is run for every seed; a goal of None is the workload's own."""

    batch_sizes: tuple[int, ...]
    trials: int
    goal: float | None = None


def measure(plan: Plan, seed: int) -> Run:
    """Run every protocol of one seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    workload = catalog.load(WORKLOAD)
    if plan.goal is not None:
        workload = workload.with_goal(plan.goal)
    splits, run = workload.data(), Run(seed)
    for batch_size in plan.batch_sizes:
        print(f"seed {seed}, batch size {batch_size} …", file=sys.stderr)
        setting = Setting(workload, splits, batch_size, seed, plan.trials)
        raced = _timed(run, RACING, partial(race, setting))
        if raced.winner is None:
            raise SystemExit(f"no trial of seed {seed}, batch size {batch_size} reached the goal")
        _timed(run, ONE_BY_ONE, partial(one_by_one, setting))
        best = raced.winner.steps
        factor = GENEROUS if batch_size >= GENEROUS_FROM else BUDGET
        curves = follow(setting, factor * best)
        run.curves.append(curves)
        run.found.setdefault(FIXED, []).append(fixed_budget(setting, curves, BUDGET * best))
        if factor == GENEROUS:
            run.generous.append(fixed_budget(setting, curves, GENEROUS * best))
        _timed(run, TWICE, partial(race, replace(setting, trials=2 * plan.trials)))
        for name, incumbent in ((OPTUNA, False), (OPTUNA_CAPPED, True)):
            _timed(run, name, partial(search, setting, BUDGET * best, incumbent=incumbent))
    torch.set_num_threads(threads)
    return run


def measure_all(plan: Plan, seeds: Sequence[int], processes: int) -> list[Run]:
    """The runs of several seeds, side by side if there is more than one."""
    if min(len(seeds), processes) == 1:
        return [measure(plan, seed) for seed in seeds]
    with get_context("spawn").Pool(processes, end_with_parent) as pool:
        return pool.map(partial(measure, plan), seeds, chunksize=1)


def _timed(run: Run, protocol: str, work: Callable[[], Found]) -> Found:
    began = process_time()
    found = work()
    run.seconds[protocol] = run.seconds.get(protocol, 0.0) + process_time() - began
    run.found.setdefault(protocol, []).append(found)
    return found


def total_steps(found: Iterable[Found]) -> int:
    """Training steps summed over batch sizes."""
    return sum(f.cost.steps for f in found)
