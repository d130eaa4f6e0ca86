"""One heat raced to its end: leases, news, hand-outs and checkpoints around the training."""

import json
import logging
from collections.abc import Sequence
from hashlib import blake2b
from threading import Event
from time import monotonic

from service.bench import Bench
from service.claims import ATTEMPTS
from service.lease import LeaseKeeper
from service.ledger import Ledger, News
from service.slots import Slot, Study
from service.training.checkpoint import Checkpoints
from service.training.heat import Ending, Heat, failure
from service.training.seeds import study_seed, trial_seed
from service.training.trial import TrialRun

log = logging.getLogger(__name__)

_SHARE_SECONDS = 2.0  # a heat is kept whole at least this long between two hand-outs
_FIRST_CHECKPOINT_SECONDS = 10.0
_CHECKPOINT_SECONDS = 60.0
_CHECKPOINT_SHARE = 0.02  # of the time, at most, goes into checkpoints


class Race:
    """One heat from its start to the end of its last trial, or to the stop."""

    def __init__(
        self,
        ledger: Ledger,
        study: Study,
        bench: Bench,
        keeper: LeaseKeeper,
        checkpoints: Checkpoints | None,
        stop: Event,
    ) -> None:
        self.ledger, self.study, self.bench = ledger, study, bench
        self.keeper, self.checkpoints, self.stop = keeper, checkpoints, stop
        self.heat: Heat[Slot] = Heat(bench.workload, study.batch_size, [])

    def run(self, slots: Sequence[Slot]) -> None:
        """Race the slots, which are started and leased, until none is live or `stop` is set."""
        self.keeper.hold({s.id: (s.fence, s.steps) for s in slots})
        self._enter(slots)
        shared = saved = monotonic()
        pause = _FIRST_CHECKPOINT_SECONDS
        self.heat.lower_cap(self.ledger.cap(self.study.id))
        while self.heat.live:
            self._hold()
            ended = self.heat.round(self.stop)
            self._record(ended)
            if self.stop.is_set():
                given, self.heat.live = self.heat.live, []
                self._hand_back(given)
                return
            news = self._hear()
            if news.idle and not news.free and monotonic() - shared > _SHARE_SECONDS:
                self._share()
                shared = monotonic()
            if self.checkpoints and monotonic() - saved > pause:
                began = monotonic()
                kept = self._save(self.heat.live)
                self.ledger.kept([slot for slot, _ in self.heat.live if slot.id in kept])
                saved = monotonic()
                pause = max(_CHECKPOINT_SECONDS, (saved - began) / _CHECKPOINT_SHARE)

    def _enter(self, slots: Sequence[Slot]) -> None:
        """Make the slots' runs, from their checkpoints where there are any."""
        seed = study_seed(self.study.seed, self.study.workload, self.study.batch_size)
        broken = []
        for slot in slots:
            try:
                run = self.bench.run(
                    self.study.batch_size, slot.params or {}, trial_seed(seed, slot.number)
                )
            except Exception as error:
                broken.append((slot, Ending("failed", failure(error), slot.steps)))
                continue
            if self.checkpoints:
                self.checkpoints.restore(slot, run, self._tag(slot))
            self.heat.live.append((slot, run))
        self._record(broken)

    def _hold(self) -> None:
        self.keeper.hold({slot.id: (slot.fence, run.step) for slot, run in self.heat.live})

    def _record(self, ended: Sequence[tuple[Slot, Ending]]) -> None:
        """Write endings; a failed trial is handed back instead while it has attempts left."""
        if not ended:
            return
        self._hold()  # without the ended ones, which are about to be no longer ours
        again = [s for s, e in ended if e.outcome == "failed" and s.attempts < ATTEMPTS]
        final = [(s, e) for s, e in ended if s not in again]
        for slot, ending in ended:
            if ending.outcome == "failed":
                log.warning(
                    "%s trial %d failed (attempt %d of %d): %s",
                    self.study.name,
                    slot.number,
                    slot.attempts,
                    ATTEMPTS,
                    ending.reason.splitlines()[0],
                )
        lost = self.ledger.finish(self.study, final) if final else []
        if again:
            self.ledger.hand_back([(slot, 0) for slot in again], failed=True)
        if self.checkpoints:
            for slot, _ in ended:
                if slot not in lost:
                    self.checkpoints.drop(slot)

    def _hear(self) -> News:
        news = self.keeper.news
        self.heat.lower_cap(news.cap)
        if news.lost:
            log.warning("%s: %d trials passed to another worker", self.study.name, len(news.lost))
            self.heat.live = [(s, run) for s, run in self.heat.live if s.id not in news.lost]
        return news

    def _share(self) -> None:
        """Give every second trial of the heat to whoever is idle."""
        given = self.heat.live[1::2]
        if given and self.checkpoints:
            self.heat.live = self.heat.live[::2]
            self._hand_back(given)

    def _hand_back(self, given: Sequence[tuple[Slot, TrialRun]]) -> None:
        """Save trials that are no longer in the heat, and free their slots."""
        kept = self._save(given)
        self._hold()
        self.ledger.hand_back((slot, run.step if slot.id in kept else 0) for slot, run in given)

    def _save(self, runs: Sequence[tuple[Slot, TrialRun]]) -> set[int]:
        if self.checkpoints is None:
            return set()
        keep = self.checkpoints.save
        return {slot.id for slot, run in runs if keep(slot, run, self._tag(slot))}

    def _tag(self, slot: Slot) -> str:
        """What a checkpoint of this slot is a state of, but for the device it was made on."""
        code = [self.bench.versions[key] for key in ("batchfront", "torch", "source")]
        parts = [dict(self.study.identity), code, slot.number, dict(slot.params or {})]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
