"""What does a race with several finishers cost, and what do they tell about the best of k trials?

    python -m tests.benchmarks.finishers

One race of digits/mlp/momentum at each batch size goes on until MOST trials have passed the goal. A
race with fewer finishers is the beginning of that one: every trial ends where it did, or at the
steps of the last finisher. So it shows what each number of finishers costs. With --check the race
with one finisher is run too, and must come out as this says.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import comb, log, pi, sqrt
from multiprocessing import get_context
from statistics import mean, median, variance
from threading import Event

import torch

from batchfront.training.heat import Heat
from batchfront.workload import catalog
from batchfront.workload.workload import powers_of_two
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.protocols import Setting, heat
from tests.processes import end_with_parent

WORKLOAD = "digits/mlp/momentum"
FINISHERS = (1, 2, 3, 4, 6, 8)
BEST_OF = (8, 16, 32)

MOST = FINISHERS[-1]

LIMIT = 5
"""The race is given up at this multiple of the best steps."""

BATCH_SIZES = powers_of_two(8, 1024)
"""Smaller ones, with five times the steps of all these together, would show more of the same."""


@dataclass(frozen=True)
class Race:
    """One study, raced until MOST trials had passed the goal.

    ends  -- the steps at which each trial ended, whether it passed the goal there or not
    steps -- of those that passed the goal, in order
    alone -- training steps of the same study with one finisher, if that was run
    """

    seed: int
    batch_size: int
    ends: tuple[int, ...]
    steps: tuple[int, ...]
    alone: int | None = None

    def finished(self, finishers: int) -> bool:
        """Whether so many trials have passed."""
        return len(self.steps) >= finishers

    def cost(self, finishers: int) -> int:
        """Training steps of the race with so many finishers; at least, if fewer have passed."""
        cap = self.steps[finishers - 1] if self.finished(finishers) else max(self.ends)
        return sum(min(end, cap) for end in self.ends)

    def expected_best(self, k: int, finishers: int) -> float:
        """The expected best of k of the trials, at least: those not seen to pass would take one
        step more than the last that did."""
        seen, n = self.steps[:finishers], len(self.ends)
        unseen = comb(n - len(seen), k) * (seen[-1] + 1)
        total = sum(s * comb(n - i, k - 1) for i, s in enumerate(seen, 1)) + unseen
        return total / comb(n, k)

    def spacings(self, finishers: int) -> list[float]:
        """i·log(s_(i+1)/s_(i)) of the finishers, the mean of which is the scale on which log steps
        grow near their minimum (Hill 1975): of as many trials, the least has a standard deviation
        of pi/sqrt(6) times that in the logarithm."""
        seen = self.steps[:finishers]
        return [i * log(b / a) for i, (a, b) in enumerate(pairwise(seen), 1)]


@dataclass(frozen=True)
class Plan:
    """What is run at each batch size; a goal of None is the workload's own."""

    trials: int = 32
    goal: float | None = None
    alone: bool = False


def measure(plan: Plan, at: tuple[int, int]) -> Race:
    """Race one study, at (seed, batch size)."""
    torch.set_num_threads(1)
    seed, batch_size = at
    workload = catalog.load(WORKLOAD)
    if plan.goal is not None:
        workload = workload.with_goal(plan.goal)
    setting = Setting(workload, workload.data(), batch_size, seed, plan.trials)
    ends, steps = _raced(setting)
    print(f"seed {seed}, batch size {batch_size}: {steps}", file=sys.stderr)
    alone = sum(ending.steps for _, ending in heat(setting)) if plan.alone else None
    return Race(seed, batch_size, ends, steps, alone)


def _raced(setting: Setting) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the trials ended, and the steps of those that passed the goal."""
    running = Heat(setting.rules(finishers=MOST), setting.runs())
    ends, steps = [], []
    while running.live:
        for _, ending in running.round(Event()):
            ends.append(ending.steps)
            steps += [ending.steps] if ending.outcome == "reached" else []
        if steps and min((run.step for _, run in running.live), default=0) >= LIMIT * steps[0]:
            break
    ends += [run.step for _, run in running.live]
    return tuple(ends), tuple(sorted(steps))


def cost_table(races: Sequence[Race]) -> str:
    """One row for each number of finishers, of all studies together and of each."""
    rows = []
    for finishers in FINISHERS:
        each = [race.cost(finishers) / race.cost(1) for race in races]
        sizes = [race.batch_size for race in races]
        costs = [(race.cost(finishers), race.cost(1)) for race in races]
        steps = sum(many for many, _ in costs) / sum(one for _, one in costs)
        examples = sum(many * b for (many, _), b in zip(costs, sizes, strict=True))
        examples /= sum(one * b for (_, one), b in zip(costs, sizes, strict=True))
        done = [race for race in races if race.finished(finishers)]
        last = [race.steps[finishers - 1] / race.steps[0] for race in done]
        rows.append(
            [
                finishers,
                f"{steps:.2f}",
                f"{examples:.2f}",
                spread(each, ".2f"),
                spread(last, ".2f"),
                f"{len(races) - len(done)} of {len(races)}",
            ]
        )
    columns = "finishers|steps / of one|examples / of one|of a study: median (range)"
    columns += f"|last finisher / first|with fewer within {LIMIT}× the best"
    return table(columns.split("|"), rows)


def worth_table(races: Sequence[Race]) -> str:
    """What the finishers say about the best of k of the same trials, and about its noise."""
    rows = []
    for finishers in FINISHERS:
        row: list[object] = [finishers]
        for k in BEST_OF:
            n = min(len(race.ends) for race in races)
            if k > n:
                continue
            known = 1 - comb(n - finishers, k) / comb(n, k)
            least = [
                race.expected_best(k, finishers) / race.expected_best(k, MOST) for race in races
            ]
            row += [f"{known:.0%}", f"{median(least):.2f} ({min(least):.2f})"]
        found = [gap for race in races for gap in race.spacings(finishers)]
        scale = mean(found) * pi / sqrt(6) if found else None
        row.append(f"{scale:.2f} ± {scale / sqrt(len(found)):.2f}" if scale else "–")
        row.append(f"{1 / sqrt(finishers - 1):.0%}" if finishers > 1 else "–")
        rows.append(row)
    columns = ["finishers"]
    for k in BEST_OF:
        if k <= min(len(race.ends) for race in races):
            columns += [f"best of {k}: known", f"expected / by {MOST}: median (least)"]
    columns += ["noise of the minimum, log", "its error from one study"]
    return table(columns, rows)


def observed_noise(races: Sequence[Race]) -> float | None:
    """The standard deviation of the log of the best steps from seed to seed, over batch sizes."""
    by_size: dict[int, list[float]] = {}
    for race in races:
        by_size.setdefault(race.batch_size, []).append(log(race.steps[0]))
    if min(map(len, by_size.values())) < 2:
        return None
    return sqrt(mean(variance(found) for found in by_size.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; 1 if a race with one finisher is not the longer one's start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, an easy goal")
    parser.add_argument("--seeds", default="0,1,2", help="such as 0,1,2 (default)")
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2, help="studies run side by side")
    parser.add_argument("--check", action="store_true", help="race with one finisher as well")
    asked = parser.parse_args(arguments)
    studies = [(int(s), b) for s in asked.seeds.split(",") for b in BATCH_SIZES]
    plan = Plan(asked.trials, alone=asked.check)
    if asked.quick:
        studies, plan = [(0, 64), (0, 256)], Plan(18, goal=0.1, alone=True)
    work = partial(measure, plan)
    if asked.quick or asked.processes == 1:
        races = list(map(work, studies))
    else:
        with get_context("spawn").Pool(asked.processes, end_with_parent) as pool:
            races = list(pool.imap_unordered(work, studies))
    print(cost_table(races), worth_table(races), sep="\n\n")
    noise = observed_noise(races)
    if noise is not None:
        print(f"\nFrom seed to seed the log of the best steps has a deviation of {noise:.2f}.")
    broken = [
        f"seed {race.seed}, batch size {race.batch_size}: {race.alone} steps, not {race.cost(1)}"
        for race in races
        if race.alone not in (None, race.cost(1))
    ]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
