"""How fast a plan of unequal studies is finished by 1, 2, 4 and 8 workers.

    python -m tests.benchmarks.scaling_workers

digits/mlp/momentum at eight batch sizes, of which some need a hundred times the steps of others.
A training step waits 5 ms, as for a device: this machine has two cores, and eight workers that
compute would share them. The workers are processes, with checkpoints in one folder; they run with
and without giving parts of their heats to idle workers. The frontier must be the same each time.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch

from batchfront.frontier.frontier import load_frontiers
from batchfront.frontier.queries import load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage, open_storage
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions
from batchfront.worker.race import Race
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from tests.benchmarks import slow_digits
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.production_server import Server, server
from tests.processes import Child, forkserver
from tests.searches import CODE

PROMISE = 5.0
"""The speed-up of 8 workers, at least."""

WORKERS = (1, 2, 4, 8)
SPEC = f"{Path(slow_digits.__file__).resolve()}:workload"


@dataclass(frozen=True)
class Finished:
    """A plan that was finished.

    seconds -- from all workers being ready to the last one's end
    steps   -- trained in each study, by all its trials together
    longest -- steps of the longest trial: no number of workers can do with less than its time
    best    -- steps to target of each study
    """

    seconds: float
    steps: dict[int, int]
    longest: int
    best: dict[int, int | None]

    @property
    def all_steps(self) -> int:
        return sum(self.steps.values())


def finish(
    on: Server, workers: int, sharing: bool, request: SearchOptions, pause: float
) -> Finished:
    """Make the plan, and let so many workers finish it."""
    storage = on.fresh()
    plan(storage, SPEC, catalog.load(SPEC), request)
    url = storage.url.render_as_string(hide_password=False)
    context = forkserver(
        "batchfront.worker.worker",
        "batchfront.worker.backends.models",
        "tests.benchmarks.slow_digits",
    )
    ready = context.Barrier(workers + 1)
    with TemporaryDirectory() as folder:
        parts = [(url, f"worker-{n}", folder, sharing, pause, ready) for n in range(workers)]
        processes = [Child(_work, part) for part in parts]
        for process in processes:
            process.start()
        ready.wait(120)
        began = perf_counter()
        for process in processes:
            process.join()
        seconds = perf_counter() - began
    if any(process.exitcode for process in processes):
        raise RuntimeError("a worker failed")
    found = _found(storage, seconds)
    storage.close()
    return found


def _work(url: str, worker_id: str, folder: str, sharing: bool, pause: float, ready: Any) -> None:
    os.environ[slow_digits.PAUSE] = str(pause)
    torch.set_num_threads(1)
    storage = open_storage(url)
    catalog.load(SPEC).data()  # what a process does once is no part of it
    settings = Settings(
        worker_id,
        "cpu",
        Filter(),
        options=WorkerOptions(engine="sequential", checkpoint_dir=folder, code=CODE),
    )
    worker = Worker(storage, settings, Event())
    ready.wait(120)
    if sharing:
        worker.run()
    else:
        with patch.object(Race, "_share", lambda _: None):
            worker.run()


def _found(storage: Storage, seconds: float) -> Finished:
    points = load_frontiers(storage)[0].points
    steps = {
        point.batch_size: [trial.steps for trial in load_trials(storage, point.study.id)]
        for point in points
    }
    return Finished(
        seconds,
        {batch_size: sum(trained) for batch_size, trained in steps.items()},
        max(max(trained) for trained in steps.values()),
        {point.batch_size: point.steps for point in points},
    )


Measured = dict[tuple[int, bool], list[Finished]]


def plan_table(found: Finished) -> str:
    """What there was to do."""
    rows = [[f"batch size {b}", str(found.best[b]), f"{found.steps[b]:,}"] for b in found.steps]
    return table(["study", "steps to target", "steps of all its trials"], rows)


def times_table(measured: Measured) -> str:
    """Seconds, speed-up, and how near it comes to what is possible: median and range."""
    one = measured[1, True]
    rows = []
    for (workers, sharing), runs in measured.items():
        pairs = [(run, one[index]) for index, run in enumerate(runs)]
        rows.append(
            [
                f"{workers}" + ("" if sharing else ", heats kept whole"),
                spread([run.seconds for run in runs], ".1f"),
                spread([first.seconds / run.seconds for run, first in pairs], ".2f"),
                spread([_bound(first, workers, sharing) for _, first in pairs], ".2f"),
                spread([run.all_steps / first.all_steps for run, first in pairs], ".2f"),
            ]
        )
    return table(["workers", "seconds", "speed-up", "possible", "steps / those of one"], rows)


def _bound(one: Finished, workers: int, sharing: bool) -> float:
    """The most that so many workers could speed the plan up: its longest trial is never divided,
    and its largest study not either where heats are kept whole."""
    whole = one.longest if sharing else max(one.steps.values())
    return min(workers, one.all_steps / whole)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if a frontier differs or, with --check, the promise fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 and 2 workers, few trials, once")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8, help="of each study")
    parser.add_argument("--pause", type=float, default=0.005, help="seconds that a step waits")
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 if 8 workers are less than {PROMISE:.0f}×"
    )
    asked = parser.parse_args(arguments)
    workers, turns, pause = WORKERS, asked.turns, asked.pause
    request = SearchOptions(trials=asked.trials)
    if asked.quick:
        workers, turns, pause = WORKERS[:2], 1, 0.001
        request = SearchOptions((16, 64), trials=4)
    measured: Measured = {}
    with server() as on:
        for turn in range(turns):
            for n in workers:
                for sharing in (True, False)[: 1 if n == 1 else 2]:
                    print(f"turn {turn + 1}, {n} workers …", file=sys.stderr)
                    run = finish(on, n, sharing, request, pause)
                    measured.setdefault((n, sharing), []).append(run)
    print(plan_table(measured[1, True][0]), times_table(measured), sep="\n\n")
    frontiers = {str(run.best) for runs in measured.values() for run in runs}
    if len(frontiers) > 1:
        print(f"another frontier: {' and '.join(sorted(frontiers))}", file=sys.stderr)
        return 1
    one, most = measured[1, True], measured[workers[-1], True]
    gained = median(a.seconds / b.seconds for a, b in zip(one, most, strict=True))
    return 1 if asked.check and gained < PROMISE else 0


if __name__ == "__main__":
    sys.exit(main())
