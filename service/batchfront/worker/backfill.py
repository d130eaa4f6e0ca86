"""Further slots for a heat under way, in the places of trials that have ended."""

import logging
from collections.abc import Callable, Mapping, Sequence

from batchfront.errors import LeaseLost, Unreachable
from batchfront.ledger.ledger import Held, Ledger, RaceState, is_alone
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.vocabulary import Schedule
from batchfront.worker.heartbeat import Heartbeat

log = logging.getLogger(__name__)

ONE_BY_ONE = 8
"""Trials of a study with `one-by-one` schedule that a worker takes on together where one
computation does so: enough to fill it, and few beside those whose results a sampler knows."""

_SHARE = 4  # of the room: so much is free before a race, whose trials then wait, is filled up


class Backfill:
    """Claims further slots of a study for a heat that computes its trials as one, while fewer are
    left than it has room for.

    A race is filled up where there was no room for all of its study at first, once a part of the
    room is free: its trials wait until those that come in have caught up. With `one-by-one`
    schedule each trial that ends makes room for another.

    sampled  -- slots with their metaparameters sampled, where they had none
    versions -- what computes the trials, as is written with each
    may_begin -- asked before each claim; once it says no, the heat goes on with what it has
    """

    def __init__(
        self,
        ledger: Ledger,
        study: Study,
        heartbeat: Heartbeat,
        room: int,
        sampled: Callable[[Study, Sequence[Slot]], list[Slot]],
        versions: Mapping[str, str],
        may_begin: Callable[[], bool] | None = None,
    ) -> None:
        self._ledger, self._study, self._heartbeat = ledger, study, heartbeat
        self._sampled, self._versions = sampled, versions
        self._room, self._may_begin = room, may_begin
        self._races = study.schedule == Schedule.RACE
        self._wanting = False  # whether there may be slots to be had
        self._heard = 0  # the number of the race state

    def begin(self, taken: Sequence[Slot]) -> None:
        """Take note of the slots that the heat begins with."""
        if (self._races and len(taken) < self._room) or any(map(is_alone, taken)):
            self.end()

    def end(self) -> None:
        """No more from now on: others are there to take them."""
        self._room = 0

    def note(self, state: RaceState) -> None:
        """Take note of whether there are slots that nobody holds."""
        self._wanting = state.behind is not None

    def follow(self, state: RaceState) -> None:
        """The same, of a heartbeat's race state, which comes again and again until there is
        another."""
        if state.at > self._heard:
            self._heard = state.at
            self.note(state)

    def claim(self, held: Held, room: int | None = None) -> list[Slot]:
        """Claim and start further slots, which are then held beside those in hand.

        room -- how many memory holds, if that is known
        """
        places = min(self._room, room or self._room) - len(held)
        if not self._wanting or places < (max(self._room // _SHARE, 1) if self._races else 1):
            return []
        if self._may_begin is not None and not self._may_begin():
            self.end()
            return []
        more = self._ledger.claim_more(self._study, held, places)
        if more is None:
            self.end()
            return []
        study, taken = more
        self._wanting = len(taken) == places
        self._heartbeat.hold({**held, **{s.id: (s.fence, s.steps) for s in taken}})
        try:
            started = self._started(study, taken)
        except Unreachable:
            raise
        except BaseException:
            self._ledger.release([(slot, slot.steps) for slot in taken])
            raise
        if started:
            log.debug("%s: %d further trials", study.name, len(started))
        return started

    def _started(self, study: Study, taken: Sequence[Slot]) -> list[Slot]:
        """Of trials one by one, each is sampled when those before it are written, so that a sampler
        knows of them."""
        if self._races:
            return self._start(study, self._sampled(study, taken))
        ready = [slot for slot in taken if slot.params is not None]
        started = self._start(study, ready)
        for slot in taken:
            if slot.params is None:
                started += self._start(study, self._sampled(study, [slot]))
        return started

    def _start(self, study: Study, ready: Sequence[Slot]) -> list[Slot]:
        if not ready:
            return []
        try:
            return self._ledger.start(study, ready, study.space, self._versions)
        except LeaseLost:
            return []
