"""Simulated workers: the true ledger and the true lease heartbeat, and training that only waits."""

import gc
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, perf_counter, thread_time
from typing import Any

from batchfront.ledger.ledger import Ledger, RaceState
from batchfront.outcomes import TrialResult
from batchfront.store.database import Storage, parse_url
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.worker.heartbeat import Heartbeat
from tests.benchmarks.noop_trials import ALL, SPACE, VERSIONS, capped, reached, stalled

HEAT = 32
STEPS = 600
"""What the winner of a heat needs; its looks are 36 measurements, as are those of most trials."""

EARLY = 8
"""Trials of a heat that are given up one by one before the winner has won."""

BLOCKING = ("claim", "start", "ask", "finish")
"""What a worker's training waits for."""

BESIDE = ("heartbeat", "poll")
"""What its lease heartbeat does beside the training."""


@dataclass(frozen=True)
class Call:
    """One call of the ledger: when it began, its seconds, and those of the caller's CPU."""

    kind: str
    began: float
    seconds: float
    cpu: float


@dataclass
class Seen:
    """What a process of workers has seen."""

    calls: list[Call] = field(default_factory=list)
    heats: list[tuple[float, float]] = field(default_factory=list)  # when it began, and its seconds
    measurements: list[tuple[float, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)  # trials, as the ledger took them
    lost: list[int] = field(default_factory=list)  # trials whose lease had run out
    errors: list[str] = field(default_factory=list)


class TimedLedger(Ledger):
    """A ledger that times each of its calls."""

    seen: Seen

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began, at, cpu = monotonic(), perf_counter(), thread_time()
        yield
        self.seen.calls.append(Call(kind, began, perf_counter() - at, thread_time() - cpu))

    def claim(self, *arguments: Any) -> tuple[Study, list[Slot]] | None:
        with self._timed("claim"):
            return super().claim(*arguments)

    def start(self, *arguments: Any) -> list[Slot]:
        with self._timed("start"):
            return super().start(*arguments)

    def ask(self, study_id: int) -> RaceState:
        """How the race stands, asked by the thread that trains."""
        with self._timed("ask"):
            return super().poll(study_id, {})

    def finish(self, study: Study, endings: Sequence[tuple[Slot, TrialResult]]) -> list[Slot]:
        looks = sum(2 * len(ending.evaluations) for _, ending in endings)
        self.seen.measurements.append((monotonic(), looks))
        with self._timed("finish"):
            lost = super().finish(study, endings)
        self.seen.ended.append(len(endings) - len(lost))
        self.seen.lost.append(len(lost))
        return lost

    def heartbeat(self, *arguments: Any) -> RaceState:
        with self._timed("heartbeat"):
            return super().heartbeat(*arguments)

    def poll(self, *arguments: Any) -> RaceState:
        with self._timed("poll"):
            return super().poll(*arguments)


def work(url: str, names: Sequence[str], seconds: float, until: float) -> Seen:
    """Be these workers, each with connections of its own, until a time on the monotonic clock;
    each begins at some moment of the length of a heat."""
    gc.freeze()  # what was imported is not looked through again and again
    seen, stop = Seen(), Event()
    threads = []
    for name in names:
        ledger = TimedLedger(Storage(parse_url(url)), name)
        ledger.seen = seen
        threads.append(Thread(target=_work, args=(ledger, seconds, stop), daemon=True))
    for thread in threads:
        thread.start()
    stop.wait(until - monotonic())
    stop.set()
    for thread in threads:
        thread.join()
    return seen


def _work(ledger: TimedLedger, seconds: float, stop: Event) -> None:
    stop.wait(random.uniform(0, seconds))
    try:
        ledger.register("here", 1, "cpu")
        while not stop.is_set():
            began = monotonic()
            if _heat(ledger, seconds, stop):
                ledger.seen.heats.append((began, monotonic() - began))
        ledger.storage.close()
    except Exception as error:
        ledger.seen.errors.append(f"{type(error).__name__}: {error}")


def _heat(ledger: TimedLedger, seconds: float, stop: Event) -> bool:
    """A heat from its claim to the end of its last trial; False if it was stopped before."""
    claimed = ledger.claim(ALL, lambda _: HEAT)
    if claimed is None:
        raise RuntimeError("nothing is left to claim")
    study, taken = claimed
    with Heartbeat(ledger, study.id) as heartbeat:
        heartbeat.hold({slot.id: (slot.fence, 0) for slot in taken})
        live = ledger.start(study, taken, SPACE, VERSIONS)
        ledger.ask(study.id)
        began = monotonic()
        for share in sorted(random.random() for _ in range(EARLY)):
            if stop.wait(began + share * seconds - monotonic()):
                return False
            steps = max(1, round(share * STEPS))
            ended = live.pop()
            heartbeat.hold({slot.id: (slot.fence, steps) for slot in live})
            ledger.finish(study, [(ended, stalled(steps))])
        if stop.wait(began + seconds - monotonic()):
            return False
        endings = [(live[0], reached(STEPS, curve=True))]
        endings += [(slot, capped(STEPS, STEPS)) for slot in live[1:]]
        heartbeat.hold({})
        ledger.finish(study, endings)
    return True
