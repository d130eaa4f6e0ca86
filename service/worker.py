"""A worker: claim a heat, race it, record how it ended, until nothing is left to do."""

import json
import logging
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from threading import Event
from time import monotonic

import torch

from service.bench import Bench, set_up
from service.errors import LeaseLost
from service.lease import LeaseKeeper
from service.ledger import ATTEMPTS, Ledger
from service.sampling import draw
from service.slots import Filter, Slot, Study
from service.storage import Storage
from service.training.checkpoint import Checkpoints
from service.training.device import describe, room_for
from service.training.heat import Ending, Heat
from service.training.seeds import study_seed, trial_seed
from service.training.trial import TrialRun

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.3  # between two looks for something to do
_SHARE_SECONDS = 2.0  # a heat is kept whole at least this long between two hand-outs
_CHECKPOINT_SECONDS = 60.0
_CHECKPOINT_SHARE = 0.02  # of the time, at most, goes into checkpoints
_COPIES = 4  # weights, gradients, optimizer state, and room for more


@dataclass(frozen=True)
class Settings:
    """What a worker works on, and with.

    sharing     -- how many workers share the device's memory
    checkpoints -- a folder that every worker of the database can reach; None: interrupted trials
                   start again
    """

    worker_id: str
    device: torch.device
    wanted: Filter = field(default_factory=Filter)
    sharing: int = 1
    checkpoints: Path | None = None


class Worker:
    """One process's worth of training. `stop` makes it save what it has and hand it back."""

    def __init__(self, storage: Storage, settings: Settings, stop: Event) -> None:
        self.storage, self.settings, self.stop = storage, settings, stop
        self.ledger = Ledger(storage, settings.worker_id)
        self.checkpoints = Checkpoints(settings.checkpoints) if settings.checkpoints else None
        self._bench: Bench | None = None

    def run(self) -> None:
        """Work until no slot is left that this worker could take, or until stopped.

        Raises IdentityError if this worker's code gives a study another definition.
        """
        device = describe(self.settings.device)
        self.ledger.register(socket.gethostname(), os.getpid(), device)
        idle = True
        try:
            while not self.stop.is_set():
                claimed = self.ledger.claim(self.settings.wanted, self._limit)
                if claimed is not None:
                    idle = False
                    self._take(*claimed)
                elif not self.ledger.open_slots(self.settings.wanted):
                    break
                else:
                    if not idle:
                        self.ledger.report("idle")
                    idle = True
                    self.stop.wait(_IDLE_SECONDS)
        finally:
            self.ledger.report("stopped")

    def _limit(self, study: Study) -> int:
        shapes = study.identity["model"]["parameters"].values()
        size = 4 * _COPIES * sum(math.prod(shape) for shape in shapes)
        return room_for(size, self.settings.device, self.settings.sharing)

    def _take(self, study: Study, taken: Sequence[Slot]) -> None:
        try:
            bench = self._bench = set_up(study, self.settings.device, self._bench)
            drawn = [s if s.params is not None else self._drawn(study, s) for s in taken]
            space = bench.workload.space(study.batch_size)
            started = self.ledger.start(study, drawn, space, bench.versions)
        except LeaseLost as error:
            log.warning("%s", error)
            return
        except BaseException:
            self.ledger.hand_back([(slot, slot.steps) for slot in taken])
            raise
        with LeaseKeeper(self.ledger, study.id) as keeper:
            _Race(self, study, bench, keeper).run(started)

    def _drawn(self, study: Study, slot: Slot) -> Slot:
        return replace(slot, params=draw(self.storage, study, slot.number))


class _Race:
    """One heat from its start to the end of its last trial, or to the stop."""

    def __init__(self, worker: Worker, study: Study, bench: Bench, keeper: LeaseKeeper) -> None:
        self.ledger, self.stop = worker.ledger, worker.stop
        self.checkpoints = worker.checkpoints
        self.study, self.bench, self.keeper = study, bench, keeper
        self.heat: Heat[Slot] = Heat(bench.workload, study.batch_size, [])

    def run(self, slots: Sequence[Slot]) -> None:
        self.keeper.hold({s.id: (s.fence, s.steps) for s in slots})
        self._enter(slots)
        shared = saved = monotonic()
        pause = _CHECKPOINT_SECONDS
        self.heat.lower_cap(self.ledger.cap(self.study.id))
        while self.heat.live:
            self._hold()
            ended = self.heat.round(self.stop)
            self._record(ended)
            if self.stop.is_set():
                given, self.heat.live = self.heat.live, []
                self._hand_back(given)
                return
            self._hear()
            if self.keeper.news.idle and monotonic() - shared > _SHARE_SECONDS:
                self._share()
                shared = monotonic()
            if self.checkpoints and monotonic() - saved > pause:
                began = monotonic()
                self._save(self.heat.live)
                saved = monotonic()
                pause = max(_CHECKPOINT_SECONDS, (saved - began) / _CHECKPOINT_SHARE)

    def _enter(self, slots: Sequence[Slot]) -> None:
        """Make the slots' runs, from their checkpoints where there are any."""
        seed = study_seed(self.study.seed, self.study.workload, self.study.batch_size)
        for slot in slots:
            try:
                run = self.bench.run(
                    self.study.batch_size, slot.params or {}, trial_seed(seed, slot.number)
                )
            except Exception as error:
                lines = str(error).strip().splitlines() or ["no message"]
                reason = f"{type(error).__name__}: {lines[0]}"
                self._record([(slot, Ending("failed", reason, slot.steps))])
                continue
            if self.checkpoints:
                self.checkpoints.restore(slot, run, self._tag(slot))
            self.heat.live.append((slot, run))

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

    def _hear(self) -> None:
        news = self.keeper.news
        self.heat.lower_cap(news.cap)
        if news.lost:
            log.warning("%s: %d trials passed to another worker", self.study.name, len(news.lost))
            self.heat.live = [(s, run) for s, run in self.heat.live if s.id not in news.lost]

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
