"""batchfront's own contenders of `whole_search`: plan and worker in this process, on SQLite."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter, process_time
from typing import NamedTuple

import optuna
from sqlalchemy import func, select

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.store.url import open_storage
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from tests.benchmarks.protocols import UNTRAINED
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task
from tests.searches import CODE


def race_on(
    task: Task,
    seed: int,
    reference: Reference | None,
    *,
    request: SearchOptions,
    batches: Sequence[int],
) -> Result:
    """`batchfront run` with so many trials, and then with more, in the same database, of the batch
    sizes at which it isn't content; those that come in are capped at what has been found.

    request -- the options of the search
    batches -- the `--trials` of each run, as far as the limit; of the last one alone where there
               is no reference yet
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cpu, wall, planning = process_time(), perf_counter(), 0.0
    workload, left = catalog.load(task.spec), task.batch_sizes
    with TemporaryDirectory() as folder:
        storage = open_storage(f"sqlite:///{Path(folder, 'batchfront.db')}", create=True)
        allowed = [trials for trials in batches if trials <= task.limit] or [task.limit]
        for trials in allowed if reference is not None else allowed[-1:]:
            asked = replace(request, batch_sizes=left, trials=trials, seed=seed, goal=task.goal)
            begun = process_time()
            planned = plan(storage, task.spec, workload, asked)
            planning += process_time() - begun
            settings = Settings("here", "cpu", planned.filter, options=WorkerOptions(code=CODE))
            Worker(storage, settings, Event()).run()
            spent = spent_in(storage)
            left = tuple(
                s.batch_size
                for s in spent
                if s.steps is None or (reference and s.steps > reference.enough(s.batch_size))
            )
            if not left:
                break
        storage.close()
    return Result(tuple(spent), process_time() - cpu, perf_counter() - wall, planning)


class Totals(NamedTuple):
    """What the database says of the trials of a study: the winner's steps to target, if there is
    one, their number, training steps and evaluated examples."""

    batch_size: int
    best: int | None
    trials: int
    steps: int
    evaluated: int


def totals_in(storage: Storage) -> list[Totals]:
    """Of each study, by batch size."""
    query = (
        select(
            studies.c.batch_size,
            func.min(slots.c.steps_to_target),
            func.count(),
            func.sum(slots.c.steps),
            func.sum(slots.c.evaluated_examples),
        )
        .select_from(slots.join(studies))
        .group_by(studies.c.batch_size)
        .order_by(studies.c.batch_size)
    )
    with storage.read() as conn:
        return [Totals(*row) for row in conn.execute(query)]


def spent_in(storage: Storage) -> list[Spent]:
    """What the trials of each study have cost."""
    # Every trial begins with its untrained loss, of which no count is kept.
    return [
        Spent(b, best, n, steps * b, looked + n * UNTRAINED)
        for b, best, n, steps, looked in totals_in(storage)
    ]
