"""A worker's heartbeat: the thread that keeps its lease alive while its main thread trains."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event, Lock, Thread
from time import monotonic, time

from batchfront.errors import StorageLost
from batchfront.ledger.ledger import LEASE_SECONDS, Held, Ledger, RaceState
from batchfront.phase_timer import timed_as
from batchfront.study.study import Study
from batchfront.worker.progress import Progress, Shown
from batchfront.workload.metric_fields import Better

log = logging.getLogger(__name__)

FIRST_PAUSE = min(0.5, LEASE_SECONDS / 10)

LONGEST_PAUSE = LEASE_SECONDS / 6
"""Seconds between two polls of the race state: also how long a winner elsewhere goes unnoticed.
They grow with the heat's age, so that what is trained in vain stays a few percent of the heat, and
a thousand workers with long heats don't ask a database two thousand times a second. The lease
itself is renewed, which is a write, by the first of them and then once in the longest pause."""

_GROWTH = 0.05

_LEAVING_SECONDS = 2.0  # a renewal under way is not waited for longer than this


class Heartbeat:
    """Renews a worker's lease until closed, and knows the latest race state of its study.

    The training thread publishes how far each slot is with `hold`; it never waits for the
    database.
    """

    def __init__(self, ledger: Ledger, study_id: int, every: float | None = None) -> None:
        self._ledger, self._study_id, self._every = ledger, study_id, every
        self._lock = Lock()
        self._held: dict[int, tuple[int, int]] = {}
        self._state = RaceState()
        self._storage_lost: StorageLost | None = None
        self._asked_at = time()  # which goes on while the machine sleeps
        self._closed = Event()
        self._speed = _Speed()
        self._progress: Progress | None = None
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with timed_as("storage"):
            self._thread.join(_LEAVING_SECONDS)

    def watch(self, shown: Callable[[], Shown], study: Study, better: Better) -> None:
        """From now on whoever looks is told of what the study's trials in hand show.

        shown  -- gives it, in this thread: each slot with its trial's evaluations so far
        better -- which values of the metric are
        """
        self._progress = Progress(self._ledger, study, shown, better)

    def hold(self, slots: Mapping[int, tuple[int, int]]) -> None:
        """From now on these slots are held: id to (fence, steps trained so far)."""
        with self._lock:
            self._held = dict(slots)
            self._speed.begin({k: steps for k, (_, steps) in slots.items()})

    @property
    def race_state(self) -> RaceState:
        """What was learned last. `lost` only names slots that are still held here.

        Raises StorageLost once there is nowhere left to write a result to.
        """
        if self._storage_lost is not None:
            raise self._storage_lost
        with self._lock:
            return replace(self._state, lost=self._state.lost & self._held.keys())

    def catch_up(self) -> None:
        """Learn at once what there is to know, if nobody has asked for as long as a lease lasts:
        the machine has slept, say, and others may have the slots."""
        if abs(time() - self._asked_at) > LEASE_SECONDS:
            self._ask(self._ledger.poll)

    def _beat(self) -> None:
        began = monotonic()
        pause, due = self._every or FIRST_PAUSE, began
        while not self._closed.wait(pause):
            now = monotonic()
            pause = self._every or self._pause(now - began)
            if now < due:
                self._ask(self._ledger.poll)
            elif self._ask(self._renew):
                due = now + (self._every or LONGEST_PAUSE - pause / 2)
                self._tell()

    def _renew(self, study_id: int, held: Held) -> RaceState:
        with self._lock:
            rate = self._speed.of({k: steps for k, (_, steps) in held.items()})
        best = None if self._progress is None else self._progress.best()
        return self._ledger.heartbeat(study_id, held, rate, best)

    def _tell(self) -> None:
        if self._progress is not None and not self._closed.is_set():
            try:
                self._progress.write()
            except Exception as error:  # the next time says it, or the trials' results
                log.debug("progress not written: %s", error)

    def _ask(self, ask: Callable[[int, Held], RaceState]) -> bool:
        """Learn what the ledger knows, by one of its methods. Returns whether it answered."""
        self._asked_at = time()
        with self._lock:
            held = dict(self._held)
        try:
            state = ask(self._study_id, held)
        except StorageLost as error:
            self._storage_lost = error
            return False
        except Exception as error:
            # The lease outlives a short outage, and after a longer one everyone's is renewed.
            log.debug("lease not renewed: %s", error)
            return False
        with self._lock:
            self._state = replace(state, at=self._state.at + 1)
        return True

    @staticmethod
    def _pause(age: float) -> float:
        return min(max(_GROWTH * age, FIRST_PAUSE), LONGEST_PAUSE)


class _Speed:
    """Steps a second of all trials together, since last asked, or since the first steps: until
    those the trials were set up, which says nothing of how long steps take."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._at = monotonic()
        self._moving = False

    def begin(self, steps: Mapping[int, int]) -> None:
        """Count from here, if no step has been seen before."""
        if not self._moving:
            before = self._steps
            self._moving = any(reached > before.get(k, reached) for k, reached in steps.items())
            self._steps, self._at = dict(steps), monotonic()

    def of(self, steps: Mapping[int, int]) -> float:
        now = monotonic()
        done = sum(reached - self._steps.get(k, reached) for k, reached in steps.items())
        rate = max(done, 0) / max(now - self._at, 1e-3)
        self._steps, self._at = dict(steps), now
        return rate
