"""Studies of whole searches, planned and worked on as a user's are, for what they cost and find."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Literal

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import open_storage
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from tests.benchmarks.whole_ours import totals_in
from tests.searches import CODE

ASKED: dict[str, dict[str, Any]] = {
    "warm start": {"warm_start": True},
    "tpe": {"sampler": "tpe"},
    "tpe, one by one": {"sampler": "tpe", "together": 1},
    "gp": {"sampler": "gp"},
    "gp, one by one": {"sampler": "gp", "together": 1},
}
"""Kinds of search, by what is asked for."""


@dataclass(frozen=True)
class Search:
    """A search of one workload over batch sizes, in ascending order, by one worker."""

    kind: str
    workload: str
    batch_sizes: tuple[int, ...]
    seed: int
    trials: int = 32
    goal: float | None = None


@dataclass(frozen=True)
class Found:
    """What one of its studies came to: its training steps, its evaluated examples, the steps of
    its winner."""

    kind: str
    workload: str
    batch_size: int
    seed: int
    trials: int
    steps: int
    evaluated: int
    best: int | None


def searched(search: Search) -> list[Found]:
    """Run a search in a database of its own."""
    asked = {"seed": search.seed, "trials": search.trials, "goal": search.goal}
    request = SearchOptions(batch_sizes=search.batch_sizes, **asked, **ASKED[search.kind])
    alone = request.together == 1
    engine: Literal["sequential", "vectorized"] = "sequential" if alone else "vectorized"
    with TemporaryDirectory() as folder:
        storage = open_storage(f"sqlite:///{folder}/trials.db", create=True)
        plan(storage, search.workload, catalog.load(search.workload), request)
        Worker(
            storage,
            Settings("one", "cpu", options=WorkerOptions(engine=engine, code=CODE)),
            Event(),
        ).run()
        studies = totals_in(storage)
        storage.close()
    common, drawn = (search.kind, search.workload), (search.seed, search.trials)
    return [Found(*common, s.batch_size, *drawn, s.steps, s.evaluated, s.best) for s in studies]


def search_into(path: Path, searches: Iterable[Search]) -> list[Found]:
    """What these searches find: those that a file of JSON lines lacks are run, and added."""
    known = list(_read(path))
    found = []
    for search in searches:
        rows = [row for row in known if _is_of(row, search)]
        if not rows:
            rows = searched(search)
            with path.open("a") as file:
                file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
            print(f"{search.kind}, {search.workload}, seed {search.seed}", file=sys.stderr)
        found += rows
    return found


def _is_of(row: Found, search: Search) -> bool:
    meant = (search.kind, search.workload, search.seed, search.trials)
    return (row.kind, row.workload, row.seed, row.trials) == meant


def _read(path: Path) -> Iterator[Found]:
    for line in path.read_text().splitlines() if path.exists() else ():
        yield Found(**json.loads(line))
