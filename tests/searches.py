"""Searches of the toy workloads: planned, worked on or ended by hand, and read back."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import optuna
import pytest
from sqlalchemy import select, update

from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots, workers
from batchfront.store.url import Storage, open_storage
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study, find_studies
from batchfront.training.model_run import ModelRun
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.pace import Pace
from batchfront.worker.worker import Settings, Worker
from batchfront.workload.workload import Workload
from tests import toy

NAME = "clouds/mlp/momentum"
ALL = Filter()
VERSIONS = {"torch": "2", "device": "cpu"}
SHORT_STRETCHES = Pace(kept_whole=0.0, set_up_share=math.inf)
"""Heats are handed on as soon as it is others' turn."""
CODE = (str(Path(__file__).parent),)
"""What workers of the tests are allowed to run."""
KEPT_AT_ONCE = Pace(first_checkpoint=0.0)


def planned(
    storage: Storage, workload: Callable[[], Workload] = toy.clouds, **asked: Any
) -> tuple[Study, ...]:
    """Plan one of `tests.toy`, with four trials if no other number is asked for; its studies."""
    spec = f"{Path(toy.__file__).resolve()}:{workload.__name__}"
    return plan(storage, spec, workload(), SearchOptions(**{"trials": 4, **asked})).studies


def work(
    storage: Storage,
    folder: Path | None = None,
    name: str = "one",
    stop: Event | None = None,
    pace: Pace | None = None,
    engine: EngineName = EngineName.SEQUENTIAL,
    code: tuple[str, ...] = CODE,
    **settings: Any,
) -> None:
    """Be a worker until nothing is left to do, with checkpoints in a folder if one is given."""
    kept = None if folder is None else str(folder)
    options = WorkerOptions(engine=engine, checkpoint_dir=kept, code=code)
    told = Settings(name, "cpu", options=options, **settings)
    Worker(storage, told, stop or Event(), pace=pace).run()


def work_beside(database: str, n: int, barrier: Any) -> None:
    """Be one of the workers that begin at once, each a process: what a trial's weights are made
    from is torch's generator, of which a process has one."""
    storage = open_storage(database)
    barrier.wait()
    work(storage, name=f"worker {n}")
    storage.close()


@contextmanager
def stopping_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """While the block runs, an event that is set when a run is told to advance to this step."""
    stop, advance = Event(), ModelRun.advance

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        if to_step >= step:
            stop.set()
        return advance(self, to_step, stopped)

    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        yield stop


def worker(storage: Storage, name: str = "one", **given: Any) -> Ledger:
    """The ledger of a worker that does what a test has it do."""
    found = Ledger(storage, name, **given)
    found.register("here", 1, "cpu")
    return found


def claim(ledger: Ledger, limit: int = 100, wanted: Filter = ALL) -> tuple[Study, list[Slot]]:
    """So many slots of one study, of those there are."""
    found = ledger.claim(wanted, lambda _: limit)
    assert found is not None
    return found


def started(ledger: Ledger, limit: int = 100, wanted: Filter = ALL) -> tuple[Study, list[Slot]]:
    """The same, begun."""
    study, taken = claim(ledger, limit, wanted)
    return study, ledger.start(study, taken, study.space, VERSIONS)


def reached(steps: int, **more: Any) -> TrialResult:
    """The end of a trial that has reached the goal in so many steps."""
    return TrialResult("reached", "", steps, steps_to_target=steps, steps_lower=steps - 1, **more)


def end(storage: Storage, name: str, endings: Mapping[int, TrialResult]) -> None:
    """Trials of a study end so, by number; the others stay free."""
    ledger, study = worker(storage, f"ends-{name}"), stored(storage, name)
    wanted = Filter((study.workload,), (study.batch_size,), purposes=(study.purpose,))
    _, ours = started(ledger, 1000, wanted)
    ended = [(slot, endings[slot.number]) for slot in ours if slot.number in endings]
    assert ledger.finish(study, ended) == []
    ledger.leave(in_order=True)


def expire(storage: Storage) -> None:
    """As if every lease had been left unrenewed for long enough."""
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=storage.now - 1))


def fewest_by_group(
    storage: Storage, group: Callable[[Any], int]
) -> dict[tuple[int, int], int | None]:
    """The fewest steps to target in each group of a study's slots that race together.

    Those of the others depend on who reaches the goal first: whoever is behind is capped, or has
    got there before anybody told it.

    group -- the number of a slot's generation, or round
    """
    found: dict[tuple[int, int], list[int]] = {}
    for row in rows(storage):
        steps = found.setdefault((row.study_id, group(row)), [])
        steps += [] if row.steps_to_target is None else [row.steps_to_target]
    return {of: min(steps, default=None) for of, steps in found.items()}


def stored(storage: Storage, name: str) -> Study:
    """A study as it is now."""
    with storage.read() as conn:
        return next(s for s in find_studies(conn, ALL) if s.name == name)


def rows(storage: Storage, *where: Any) -> list[Any]:
    """The slots, study by study, by number."""
    query = select(slots).where(*where).order_by(slots.c.study_id, slots.c.number)
    with storage.read() as conn:
        return list(conn.execute(query))


def slots_of(storage: Storage, name: str) -> list[Any]:
    """Those of one study."""
    return rows(storage, slots.c.study_id == stored(storage, name).id)


def optuna_trials(storage: Storage, name: str = f"{NAME}/b4") -> list[Any]:
    """The trials of a study as Optuna reads them."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    found = optuna.load_study(study_name=name, storage=rdb).trials
    rdb.engine.dispose()
    return found
