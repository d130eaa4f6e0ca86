"""Reading every frontier of a database, in our queries and through Optuna's own API.

    python -m tests.benchmarks.aggregation --check

1,000, 10,000 and 168,160 trials in studies of 370, the last in 454 studies over 35 workloads, as
many as Shallue et al. 2018 ran; a tenth of the trials with 64 measurements. Ours is what a report
starts from: all frontiers with their finishers, outcomes and versions. Optuna's is `load_study` for
every study, then its `trials`, and then only its `best_trial`. Both must find the same.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import optuna

from batchfront.frontier.frontier import Frontier, load_frontiers
from batchfront.frontier.queries import last_change, load_loss_curves
from batchfront.store.database import Storage
from batchfront.store.url import open_storage
from batchfront.workload.search_space import dimensions
from tests.benchmarks.finished_database import finish_studies
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.production_server import Server, server

PROMISE_SECONDS = 10.0
"""The most that all frontiers of the largest database may take."""

_STATES = {"reached": "COMPLETE", "failed": "FAIL"}

T = TypeVar("T")
Winner = tuple[int | None, float | None, dict[str, Any]]
Summary = dict[str, tuple[Winner, dict[str, int]]]
"""By study: its best trial's number, value and parameters, and its trials by Optuna state."""


@dataclass(frozen=True)
class Timed:
    """Seconds of each repetition, by what was timed, in one database; and the studies in which
    Optuna's frontier is another than ours."""

    storage: str
    trials: int
    studies: int
    seconds: dict[str, list[float]]
    differences: list[str]

    def ratio(self, theirs: str) -> float:
        """How many times as long Optuna took as `load_frontiers`, at its fastest each."""
        return min(self.seconds[theirs]) / min(self.seconds[OURS])


OURS, CURVES, CHANGE = "all frontiers", "one workload's losses", "whether anything changed"
THEIRS, BEST = "Optuna, trials", "Optuna, best_trial"


def ours(frontiers: Sequence[Frontier]) -> Summary:
    """What our frontiers say of what Optuna keeps too: parameters that were searched, and states.

    A trial that has not begun is none of Optuna's.
    """
    found: Summary = {}
    for point in (point for frontier in frontiers for point in frontier.points):
        states: Counter[str] = Counter()
        for outcome, trials in point.outcomes.items():
            if outcome != "open":
                states[_STATES.get(outcome, "PRUNED")] += trials
        searched = dimensions(point.study.space)
        params = {name: value for name, value in point.params.items() if name in searched}
        number = point.best.number if point.best else None
        found[point.study.name] = ((number, point.steps, params), dict(states))
    return found


def through_optuna(url: str) -> Summary:
    """The same through Optuna's API: of equal values the lowest number."""
    found: Summary = {}
    with _optuna(url) as storage:
        for name in optuna.get_all_study_names(storage):
            trials = optuna.load_study(study_name=name, storage=storage).trials
            complete = [t for t in trials if t.state.name == "COMPLETE"]
            best = min(complete, key=lambda t: (t.value, t.number), default=None)
            winner = (best.number, best.value, best.params) if best else (None, None, {})
            found[name] = (winner, dict(Counter(t.state.name for t in trials)))
    return found


def best_through_optuna(url: str) -> dict[str, float | None]:
    """The best values alone, by study."""
    found: dict[str, float | None] = {}
    with _optuna(url) as storage:
        for name in optuna.get_all_study_names(storage):
            with suppress(ValueError):  # no trial has reached the goal
                study = optuna.load_study(study_name=name, storage=storage)
                found[name] = study.best_trial.value
    return found


@contextmanager
def _optuna(url: str) -> Iterator[optuna.storages.RDBStorage]:
    storage = optuna.storages.RDBStorage(url)
    yield storage
    storage.engine.dispose()


def differences(mine: Summary, theirs: Summary, best: Mapping[str, float | None]) -> list[str]:
    """The studies in which they are not the same."""
    names = sorted(mine.keys() | theirs.keys())
    found = [name for name in names if mine.get(name) != theirs.get(name)]
    values = {name: winner[1] for name, (winner, _) in mine.items() if winner[1] is not None}
    return found + sorted(name for name in values if best.get(name) != values[name])


def measure(storage: Storage, trials: int, repetitions: int) -> Timed:
    """Read a database of so many trials in every way."""
    kind = storage.engine.dialect.name
    if kind == "postgresql":  # what autovacuum does within a minute or so
        with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")
    url = storage.url.render_as_string(hide_password=False)
    frontiers = load_frontiers(storage)
    some = frontiers[0].workload
    studies = sum(len(frontier.points) for frontier in frontiers)
    seconds = {
        OURS: [_timed(load_frontiers, storage)[0] for _ in range(repetitions)],
        CURVES: [_timed(load_loss_curves, storage, some)[0] for _ in range(repetitions)],
        CHANGE: [_timed(last_change, storage)[0] for _ in range(repetitions)],
    }
    all_trials, theirs = _timed(through_optuna, url)
    best_alone, best = _timed(best_through_optuna, url)
    seconds |= {THEIRS: [all_trials], BEST: [best_alone]}
    return Timed(kind, trials, studies, seconds, differences(ours(frontiers), theirs, best))


def _timed(act: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    began = perf_counter()
    found = act(*arguments)
    return perf_counter() - began, found


@contextmanager
def _databases(on: Server, trials: int) -> Iterator[tuple[Storage, Storage]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trials.db"
        opened = open_storage(f"sqlite:///{file}", create=True), on.fresh(f"trials_{trials}")
        yield opened
        for storage in opened:
            storage.close()


def times_table(found: Sequence[Timed]) -> str:
    """A row for each database: seconds, and Optuna's as multiples of ours."""
    names = (OURS, CURVES, CHANGE, THEIRS, BEST)
    rows = [
        [
            f"{timed.storage}, {timed.trials:,} in {timed.studies}",
            *(spread(timed.seconds[name], ",.3f") for name in names),
            f"{timed.ratio(THEIRS):,.0f}",
            f"{timed.ratio(BEST):,.1f}",
        ]
        for timed in found
    ]
    return table(["seconds", *names, "trials / ours", "best_trial / ours"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 where Optuna's API gives another frontier or, with --check, if
    the largest takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 and 400 trials")
    parser.add_argument(
        "--sizes", default="1000,10000,168160", help="trials (default: %(default)s)"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 above {PROMISE_SECONDS:.0f} seconds"
    )
    asked = parser.parse_args(arguments)
    sizes = [40, 400] if asked.quick else [int(size) for size in asked.sizes.split(",")]
    found, broken = [], []
    with server() as on:
        for size in sizes:
            with _databases(on, size) as opened:
                for storage in opened:
                    finish_studies(storage, size)
                    timed = measure(storage, size, 1 if asked.quick else asked.repetitions)
                    found.append(timed)
                    broken += [f"another frontier: {name}" for name in timed.differences]
                    print(times_table([timed]), file=sys.stderr, flush=True)
    print(times_table(found))
    slow = [timed for timed in found if min(timed.seconds[OURS]) > PROMISE_SECONDS]
    if asked.check:
        broken += [f"{timed.storage}, {timed.trials:,} trials: too slow" for timed in slow]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
