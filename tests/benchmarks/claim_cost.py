"""How the cost of a claim, and of what goes with it, grows with the trials in the database.

    python -m tests.benchmarks.claim_cost

Four studies hold 100 to 100,000 trials together: two fifths done, a fifth held by other workers,
the rest free. A worker claims a heat of 8, starts it, renews its lease, ends it, and looks for
more in vain; then all is put back as it was. Beside it, Optuna's `ask` and `tell` in the same
studies. PostgreSQL's planner either knows the tables (VACUUM ANALYZE) or has never seen them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import optuna
from sqlalchemy import text, update

from batchfront.ledger.ledger import Ledger
from batchfront.store.schema import workers
from batchfront.study.study import Filter
from tests.benchmarks.filled_database import fill, put_back
from tests.benchmarks.markdown import table
from tests.benchmarks.noop_trials import ALL, DISTRIBUTIONS, SPACE, VERSIONS, reached
from tests.benchmarks.production_server import Server, server

PROMISE = 2.0
"""The most that a claim may cost in the largest database, in claims from the smallest."""

SIZES = (100, 1_000, 10_000, 100_000)
BATCH_SIZES = (4, 8, 16, 32)
HEAT = 8

FIRST, ASK, CALM = "Optuna's first ask", "Optuna's ask", "the same, none else running"
_ASKS = 10
_NOWHERE = Filter(workloads=("no/such/workload",))


@dataclass
class Stopwatch:
    """Milliseconds by what was timed."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, name: str, act: Callable[..., Any], *arguments: Any) -> Any:
        began = perf_counter()
        found = act(*arguments)
        self.times.setdefault(name, []).append(1000 * (perf_counter() - began))
        return found


class Subject:
    """One filled database, with a worker and an Optuna process at it."""

    def __init__(self, on: Server, trials: int, known: bool) -> None:
        name = f"trials_{trials}_{known}".lower()
        self.trials, self.known, self.timed = trials, known, Stopwatch()
        self.storage = on.fresh(name)
        fill(self.storage, trials, BATCH_SIZES)
        if known:
            on.analyze(name)
        self.ledger = Ledger(self.storage, "the one")
        self.ledger.register("here", 1, "cpu")
        self.study: optuna.Study | None = None

    def wake(self) -> None:
        """Let all workers have been heard of just now, and hold what they hold for an hour."""
        with self.storage.write() as conn:
            now = self.storage.now
            conn.execute(update(workers).values(seen_at=now, lease_expires=now + 3600))

    def heat(self) -> None:
        """What a worker asks of the ledger for a heat."""
        study, taken = self.timed("claim", self.ledger.claim, ALL, lambda _: HEAT)
        assert len(taken) == HEAT
        started = self.timed("start", self.ledger.start, study, taken, SPACE, VERSIONS)
        held = {slot.id: (slot.fence, 10) for slot in started}
        self.timed("renew", self.ledger.heartbeat, study.id, held)
        endings = [(slot, reached(100)) for slot in started]
        assert self.timed("finish", self.ledger.finish, study, endings) == []
        self.timed("look in vain", self._look)
        put_back(self.storage, started)

    def _look(self) -> None:
        """What a worker does that finds nothing free, and waits for a part of another's heat."""
        assert self.ledger.claim(_NOWHERE, lambda _: HEAT) is None
        assert self.ledger.is_open(ALL)
        self.ledger.wait(ALL)

    def open_in_optuna(self) -> None:
        """Come to the first study as a new process would, which then reads it."""
        storage = optuna.storages.RDBStorage(self.storage.url.render_as_string(hide_password=False))
        name, sampler = f"clouds/mlp/momentum/b{BATCH_SIZES[0]}", optuna.samplers.RandomSampler()
        self.study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        self.ask(FIRST)

    def ask(self, kind: str) -> None:
        """Ask for a trial, and tell how it went."""
        assert self.study is not None
        trial = self.timed(kind, self.study.ask, DISTRIBUTIONS)
        if kind != FIRST:
            self.timed("tell", self.study.tell, trial, 100.0)

    def end_others(self) -> None:
        """End the trials that others run."""
        with self.storage.write() as conn:
            conn.execute(text("UPDATE trials SET state = 'FAIL' WHERE state = 'RUNNING'"))


def measure(subjects: Sequence[Subject], repetitions: int) -> None:
    """Time everything in every database, in turns."""
    for subject in subjects:
        subject.wake()
    for _ in range(repetitions):
        for subject in subjects:
            subject.heat()
    for subject in subjects:
        subject.open_in_optuna()
    for kind in (ASK, CALM):
        for _ in range(min(repetitions, _ASKS)):  # at 100,000 trials each takes seconds
            for subject in subjects:
                subject.ask(kind)
        for subject in subjects:
            subject.end_others()
            subject.open_in_optuna()


def costs_table(subjects: Sequence[Subject], known: bool) -> str:
    """A row for each thing timed, a column for each size: median and quartiles."""
    shown = [subject for subject in subjects if subject.known == known]
    kinds = (*shown[0].timed.times,)
    rows = [[kind, *(_shown(subject.timed.times[kind]) for subject in shown)] for kind in kinds]
    return table(["milliseconds", *(f"{subject.trials:,} trials" for subject in shown)], rows)


def _shown(values: Sequence[float]) -> str:
    low, middle, high = quantiles(values, n=4, method="inclusive")
    form = ",.1f" if middle < 100 else ",.0f"
    return f"{middle:{form}} ({low:{form}}–{high:{form}})"


def growth(subjects: Sequence[Subject], kind: str) -> float:
    """The median in the largest database over that in the smallest; the worse of both kinds."""
    found = []
    for known in {subject.known for subject in subjects}:
        ends = sorted((s for s in subjects if s.known == known), key=lambda s: s.trials)
        first, last = (median(ends[index].timed.times[kind]) for index in (0, -1))
        found.append(last / first)
    return max(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 trials, few times")
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 if a claim grows more than {PROMISE}-fold"
    )
    asked = parser.parse_args(arguments)
    sizes, repetitions = (SIZES[:2], 6) if asked.quick else (SIZES, asked.repetitions)
    with server(autovacuum="off") as on:
        subjects = [Subject(on, size, known) for known in (True, False) for size in sizes]
        measure(subjects, repetitions)
        for subject in subjects:
            subject.storage.close()
    print("After VACUUM ANALYZE:", costs_table(subjects, True), sep="\n\n")
    print("\nNever analyzed:", costs_table(subjects, False), sep="\n\n")
    grown = {kind: growth(subjects, kind) for kind in ("claim", ASK)}
    print("\n" + ", ".join(f"{kind}: {times:.2f}-fold" for kind, times in grown.items()))
    return 1 if asked.check and grown["claim"] > PROMISE else 0


if __name__ == "__main__":
    sys.exit(main())
