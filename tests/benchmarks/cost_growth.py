"""How does the cost of a frontier grow with its trials, its batch sizes and its workers?

    python -m tests.benchmarks.cost_growth

digits/mlp/momentum: planned, and raced by workers that are processes, on an SQLite database; one
thing is varied at a time. What trials cost is read from the database; CPU seconds are those of the
plan and of all workers, without imports and data; the wall's those of the race. Two workers are as
many as are measured: a machine with two cores tells nothing of more.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter, process_time
from typing import Any

import torch

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.whole_ours import spent_in
from tests.benchmarks.whole_tasks import Task
from tests.processes import Child, forkserver
from tests.searches import CODE

PROMISE = 1.0
"""Of the growth of the trials: the most that the training steps grow by."""


TASK = Task("digits", 0.03, (), limit=0)


@dataclass(frozen=True)
class Run:
    """One search."""

    batch_sizes: tuple[int, ...] = (8, 64, 512)
    trials: int = 32
    workers: int = 1
    engine: EngineName = "sequential"
    goal: float = 0.03
    sampler: str = "sobol"

    def request(self, seed: int) -> SearchOptions:
        """As a user would ask for it."""
        fixed = {"goal": self.goal, "sampler": self.sampler}
        return SearchOptions(self.batch_sizes, self.trials, seed, **fixed)


@dataclass(frozen=True)
class Cost:
    """What a search took, and what its trials cost."""

    steps: int
    examples: int
    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Growth:
    """Searches that differ in one thing, with their costs, one for each seed."""

    what: str
    of: Callable[[Run], object]
    runs: Sequence[Run]
    costs: dict[Run, list[Cost]] = field(default_factory=dict)

    def rows(self) -> list[list[str]]:
        """One a search; growth is beside the first."""
        first = self.costs[self.runs[0]]
        rows = []
        for run in self.runs:
            costs = self.costs[run]
            rows.append(
                [
                    self.what,
                    str(self.of(run)),
                    spread([c.steps for c in costs], ",.0f"),
                    spread(_ratios(costs, first, lambda c: c.steps), ".2f"),
                    spread([c.examples / 1e6 for c in costs], ".2f") + " M",
                    spread(_ratios(costs, first, lambda c: c.examples), ".2f"),
                    spread([c.cpu_seconds for c in costs], ".1f"),
                    spread([c.wall_seconds for c in costs], ".1f"),
                ]
            )
        return rows

    def steepest(self) -> float:
        """The most that the steps have grown by, over that what is varied has: of trials."""
        first = self.runs[0]
        return max(
            median(_ratios(self.costs[run], self.costs[first], lambda c: c.steps))
            * first.trials
            / run.trials
            for run in self.runs
        )


COLUMNS = ("what grows", "to", "training steps", "of the first", "examples in all", "of the first")
COLUMNS += ("CPU s", "wall s")


def growths(quick: bool) -> list[Growth]:
    """What is varied; the trials by both engines."""
    base = Run()
    counts, sizes, workers = (16, 32, 64, 128, 256), (1, 2, 5, 10), (1, 2)
    if quick:
        base, counts, sizes, workers = Run((64,), 4, goal=0.1), (4, 8), (), ()
    every = tuple(2**k for k in range(1, 11))
    # Spread over all of them, so that more of them are not smaller or larger ones.
    picked = {1: (32,), 2: (8, 128), 5: (2, 8, 32, 128, 512), 10: every}
    found = [
        Growth("trials", lambda r: r.trials, [replace(base, trials=n) for n in counts]),
        Growth("batch sizes", lambda r: len(r.batch_sizes), [Run(picked[n]) for n in sizes]),
        Growth("workers", lambda r: r.workers, [Run(every, workers=n) for n in workers]),
    ]
    as_one = [replace(base, trials=n, engine="auto") for n in counts]
    if not quick:
        found.insert(1, Growth("trials, --engine auto", lambda r: r.trials, as_one))
        learning = [replace(run, sampler="tpe") for run in as_one]
        found.insert(2, Growth("trials, and --sampler tpe", lambda r: r.trials, learning))
    return [growth for growth in found if growth.runs]


def cost_of(run: Run, seed: int) -> Cost:
    """Plan, and let the workers race, on a database and with checkpoints of their own."""
    context = forkserver(
        "batchfront.worker.worker",
        "batchfront.worker.backends.models",
        "tests.benchmarks.whole_ours",
    )
    ready, answers = context.Barrier(run.workers + 1), context.Queue()
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'batchfront.db')}"
        workers = [Child(_work, (url, folder, n, run, ready, answers)) for n in range(run.workers)]
        cpu = process_time()
        storage = open_storage(url, create=True)
        plan(storage, TASK.spec, TASK.workload(), run.request(seed))
        cpu = process_time() - cpu
        for worker in workers:
            worker.start()
        ready.wait(120)
        wall = perf_counter()
        cpu += sum(answers.get(timeout=3600) for _ in workers)
        wall = perf_counter() - wall
        for worker in workers:
            worker.join()
        spent = spent_in(storage)
        storage.close()
    steps = sum(s.trained // s.batch_size for s in spent)
    return Cost(steps, sum(s.trained + s.evaluated for s in spent), cpu, wall)


def _work(url: str, folder: str, number: int, run: Run, ready: Any, answers: Any) -> None:
    """One worker; it answers with its CPU seconds."""
    torch.set_num_threads(1)
    storage = open_storage(url)
    TASK.workload().data()  # what a process does once is no part of it
    given = (torch.device("cpu"), Filter())
    settings = Settings(
        f"worker-{number}",
        *given,
        options=WorkerOptions(checkpoint_dir=folder, engine=run.engine, code=CODE),
    )
    worker = Worker(storage, settings, Event())
    ready.wait(120)
    cpu = process_time()
    worker.run()
    answers.put(process_time() - cpu)


def _ratios(
    costs: Sequence[Cost], first: Sequence[Cost], count: Callable[[Cost], int]
) -> list[float]:
    return [count(c) / count(f) for c, f in zip(costs, first, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; with --check 1 where steps grow faster than trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one batch size, 4 and 8 trials")
    parser.add_argument("--seeds", default="0,1,2", help="such as 0,1,2 (default)")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 if steps grow faster than trials"
    )
    asked = parser.parse_args(arguments)
    seeds = [0] if asked.quick else [int(seed) for seed in asked.seeds.split(",")]
    measured = growths(asked.quick)
    if not asked.quick:
        cost_of(Run((512,), trials=4, goal=0.5), 0)  # what is loaded once is no part of the first
    known: dict[tuple[Run, int], Cost] = {}
    for seed in seeds:
        for growth in measured:
            for run in growth.runs:
                if (run, seed) not in known:
                    print(f"seed {seed}: {run} …", file=sys.stderr)
                    known[run, seed] = cost_of(run, seed)
                growth.costs.setdefault(run, []).append(known[run, seed])
    print(table(COLUMNS, [row for growth in measured for row in growth.rows()]))
    steepest = max(growth.steepest() for growth in measured if growth.what.startswith("trials"))
    if asked.check and steepest > PROMISE:
        print(f"steps grew {steepest:.2f} times as fast as trials", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
