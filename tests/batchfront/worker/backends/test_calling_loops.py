"""Loops that call back in a race: a real worker, and a process for each trial."""

import json
from pathlib import Path
from threading import Event

import pytest

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.training.loops.run import LoopRun
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from batchfront.workload.loop import Loop
from tests import calling
from tests.searches import CODE, rows


def planned(storage: Storage, name: str) -> Study:
    loop = catalog.load(f"{calling.SPEC}{name}")
    options = SearchOptions(trials=4, batch_sizes=(4,))
    (study,) = plan(storage, f"{calling.SPEC}{name}", loop, options).studies
    return study


def work(storage: Storage, folder: Path) -> None:
    told = WorkerOptions(trial_dir=str(folder / "trials"), code=CODE)
    Worker(storage, Settings("one", "cpu", options=told), Event()).run()


def crossing(study: Study, row: object) -> int | None:
    """The step at which the same trial passes the goal as a generator that runs to its end."""
    loop = catalog.load(f"{calling.SPEC}yielding")
    assert isinstance(loop, Loop)
    values, seed = json.loads(row.params), study.trial_seed(row.number)  # type: ignore[attr-defined]
    run = LoopRun(loop, study.batch_size, values, seed)
    run.advance(run.evaluation_steps.steps[-1])
    run.close()
    return next((one.step for one in run.shown if loop.goal.passed(one.value)), None)


@pytest.mark.parametrize("name", ["calling", "together"])
def test_the_winner_is_that_of_generators_run_to_their_end(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    study = planned(storage, name)
    work(storage, tmp_path)
    ended = rows(storage)
    alone = {row.number: crossing(study, row) for row in ended}
    best = min(step for step in alone.values() if step is not None)
    assert {row.number for row in ended if row.steps_to_target == best} == {
        number for number, step in alone.items() if step == best
    }
    for row in ended:
        if row.outcome == "reached":
            assert row.steps_to_target == alone[row.number]
        elif row.outcome == "capped":
            assert alone[row.number] is None or alone[row.number] > best
