"""Where does the time of a run go: training, evaluation, the database, and everything else?

    python -m tests.benchmarks.time_shares

A worker in this process, with an SQLite database, does what `batchfront run` does from its first
import to its last trial. The time of the main thread is split without overlap; what the thread
that renews leases spends in the database runs beside it and is shown apart. Time is that of the
CPU, which neighbours on a shared core don't change; --wall counts waiting too.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, current_thread, main_thread
from time import perf_counter, thread_time
from typing import Any
from unittest.mock import patch

from tests.benchmarks.markdown import spread, table
from tests.processes import end_with_parent

PROMISE = 0.05
"""The most of the working time, after setup, that the database may take."""

SETUP = ("imports", "data", "plan and preflight", "model construction")
WORK = ("training", "evaluation", "storage", "everything else")
BESIDE = "lease thread's storage (beside)"


@dataclass(frozen=True)
class Job:
    """What is run: as on the command line of `batchfront run`."""

    spec: str
    batch_sizes: tuple[int, ...] | None
    trials: int
    goal: float | None = None
    evaluate: str = "every"


DIGITS = Job("digits/mlp/momentum", None, 32)
DIGITS_QUICK = Job("digits/mlp/momentum", (16, 64), 6, goal=0.1)
MNIST = Job("mnist/fc_256/momentum", (64, 256), 8, goal=0.06)
OWN_GOAL = Job("mnist/fc_256/momentum", (64, 256), 8)


@dataclass
class Clock:
    """Exclusive time by part: entering one pauses the part around it. For the main thread."""

    now: Callable[[], float] = thread_time
    spent: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is inside as `name`."""
        if current_thread() is not main_thread():
            began = self.now()
            yield
            self.spent[BESIDE] = self.spent.get(BESIDE, 0.0) + self.now() - began
            return
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        now = self.now()
        if self._open:
            self.spent[self._open[-1]] = self.spent.get(self._open[-1], 0.0) + now - self._since
        self._since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its calls timed as `name`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return call

    def timed_block(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The context manager, what happens inside it timed as `name`."""

        @contextmanager
        def block(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with self.part(name), function(*args, **kwargs) as inside:
                yield inside

        return block


def measure(job: Job, wall: bool) -> dict[str, float]:
    """Seconds by part of one run, in this process."""
    clock = Clock(perf_counter if wall else thread_time)
    with TemporaryDirectory() as folder, clock.part("everything else"):
        with clock.part("imports"):
            import torch

            import batchfront.plan.plan
            import batchfront.worker.backends.models
            import batchfront.worker.worker
            from batchfront.store.url import open_storage
            from batchfront.study.study import Filter
            from batchfront.workload import catalog
        torch.set_num_threads(1)
        with _watching(clock), clock.part("plan and preflight"):
            workload = catalog.load(job.spec)
            storage = open_storage(f"sqlite:///{Path(folder, 'batchfront.db')}", create=True)
            request = batchfront.plan.options.SearchOptions(
                job.batch_sizes, job.trials, goal=job.goal, evaluate=job.evaluate
            )
            batchfront.plan.plan.plan(storage, job.spec, workload, request)
        settings = batchfront.worker.worker.Settings("here", "cpu", Filter((job.spec,)))
        with _watching(clock):
            batchfront.worker.worker.Worker(storage, settings, Event()).run()
        storage.close()
    return clock.spent


@contextmanager
def _watching(clock: Clock) -> Iterator[None]:
    """Time the parts of batchfront wherever they are called from."""
    from batchfront.store.url import Storage
    from batchfront.training.model_run import ModelRun
    from batchfront.training.preflight import checks
    from batchfront.worker import setup as loaded

    def on(owner: object, name: str, part: str, block: bool = False) -> AbstractContextManager[Any]:
        wrap = clock.timed_block if block else clock.timed
        return patch.object(owner, name, wrap(part, getattr(owner, name)))

    with (
        on(Storage, "read", "storage", block=True),
        on(Storage, "write", "storage", block=True),
        on(ModelRun, "__init__", "model construction"),
        on(ModelRun, "advance", "training"),
        on(ModelRun, "evaluate", "evaluation"),
        on(ModelRun, "test_metric", "evaluation"),
        on(checks, "_load", "data"),
        on(loaded, "check", "plan and preflight"),
    ):
        yield


def _in_a_fresh_process(job: Job, wall: bool) -> dict[str, float]:
    """`measure` where nothing is imported yet."""
    from multiprocessing import get_context

    with get_context("spawn").Pool(1, end_with_parent) as pool:
        return pool.apply(measure, (job, wall))


def shares_table(measured: dict[str, list[dict[str, float]]]) -> str:
    """One row a part: median seconds and share of the whole, of every job."""
    columns = ["part"]
    for spec in measured:
        columns += [f"{spec}, s", "share"]
    rows = []
    for part in (*SETUP, *WORK, "all", BESIDE):
        row = [part]
        for runs in measured.values():
            seconds = [_seconds(run, part) for run in runs]
            row += [spread(seconds, ".2f"), f"{median(_share(run, part) for run in runs):.1%}"]
        rows.append(row)
    return table(columns, rows)


def _seconds(run: dict[str, float], part: str) -> float:
    if part == "all":
        return sum(run.get(name, 0.0) for name in (*SETUP, *WORK))
    return run.get(part, 0.0)


def _share(run: dict[str, float], part: str) -> float:
    return _seconds(run, part) / _seconds(run, "all")


def storage_share(run: dict[str, float]) -> float:
    """The database's share of the working time, after setup."""
    return run["storage"] / sum(run[name] for name in WORK)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run on digits, once")
    parser.add_argument("--own-goal", action="store_true", help="mnist alone, to its own goal")
    parser.add_argument("--evaluate", choices=("every", "sparse"), default="every")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--wall", action="store_true", help="time by the clock on the wall")
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 if storage takes more than {PROMISE:.0%}"
    )
    asked = parser.parse_args(arguments)
    jobs = [DIGITS_QUICK] if asked.quick else [OWN_GOAL] if asked.own_goal else [DIGITS, MNIST]
    jobs = [replace(job, evaluate=asked.evaluate) for job in jobs]
    if not asked.quick and "BATCHFRONT_DATA_DIR" not in os.environ:
        print("mnist left out: BATCHFRONT_DATA_DIR names no folder with it", file=sys.stderr)
        jobs = [job for job in jobs if job.spec == DIGITS.spec]
    measured: dict[str, list[dict[str, float]]] = {}
    for job in jobs:
        for _ in range(1 if asked.quick else asked.repetitions):
            print(f"{job.spec} …", file=sys.stderr)
            measured.setdefault(job.spec, []).append(_in_a_fresh_process(job, asked.wall))
    print(shares_table(measured))
    share = max(median(map(storage_share, runs)) for runs in measured.values())
    if asked.check and share > PROMISE:
        print(f"storage took {share:.1%} of the work, more than {PROMISE:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
