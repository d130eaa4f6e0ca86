"""A worker: claim a heat, race it, record how it ended, until nothing is left to do."""

import logging
import math
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event

import torch

from batchfront.errors import BatchfrontError, LeaseLost, StorageError, Unreachable
from batchfront.ledger.ledger import Ledger
from batchfront.phase_timer import Clock, timed_as
from batchfront.store.database import Storage
from batchfront.store.migrations import database_name
from batchfront.store.retry import Patience
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.study.warm_start import sample_late
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.devices import describe_all, following, room_for
from batchfront.vocabulary import EngineName, Schedule
from batchfront.worker.backfill import ONE_BY_ONE, Backfill
from batchfront.worker.engine_choice import EngineChoice
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.microbatch_sizes import KnownMicroBatchSizes
from batchfront.worker.options import WorkerOptions
from batchfront.worker.pace import Pace
from batchfront.worker.race import Race
from batchfront.worker.setup import LoadedWorkload, set_up

log = logging.getLogger(__name__)

_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 0.3, 5.0  # between two looks for something to do

_COPIES = 4  # weights, gradients, optimizer state, and room for more

LARGEST_HEAT = 1000
"""Trials that a worker holds at most, however small they are."""


@dataclass(frozen=True)
class Settings:
    """What a worker works on, and with.

    device  -- the worker's, as found here; the first, where several compute each trial
    options -- what it has been told; without a folder for checkpoints, interrupted trials start
               again
    sharing -- how many workers share the device's memory
    """

    worker_id: str
    device: torch.device
    wanted: Filter = field(default_factory=Filter)
    options: WorkerOptions = field(
        default_factory=lambda: WorkerOptions(engine=EngineName.SEQUENTIAL)
    )
    sharing: int = 1


class Worker:
    """One process's worth of training. `stop` makes it save what it has and release it.

    clock -- of the worker's life, if that has begun before
    pace  -- how often training stops for something else, if not as usual
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        stop: Event,
        clock: Clock | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.storage, self.settings, self.stop = storage, settings, stop
        self._pace = Pace() if pace is None else pace
        options = settings.options
        patience = Patience(options.max_outage, stop)
        self._clock = Clock() if clock is None else clock
        self.ledger = Ledger(storage, settings.worker_id, patience, self._clock)
        self.checkpoints: Checkpoints | None = None
        if options.checkpoint_dir is not None:
            name = self.ledger.tries(lambda: database_name(storage))
            self.checkpoints = Checkpoints(options.checkpoint_dir, name)
        self._devices = following(settings.device, options.devices_per_trial)
        # Memory of the host's has to hold every rank's part; of a GPU's, each has its own.
        self._sharing = settings.sharing * self._devices.count(self._devices[0])
        self._sizes = KnownMicroBatchSizes(storage, patience, settings.device, self._sharing)
        self._engines = EngineChoice(
            storage, patience, options.engine, self._devices, self._sharing, stop
        )
        self._loaded: LoadedWorkload | None = None
        self._unfit: dict[str, BatchfrontError] = {}  # by workload; told at the end

    def run(self) -> None:
        """Work until no slot is left that this worker could take, or until stopped.

        A workload that can't be set up here (its code is gone, or gives a study another identity,
        or its data is missing) is left to others; its error is raised at the end.
        """
        with self._clock:
            self._live()
        if not self.stop.is_set():
            self._tell_unfit()

    def _live(self) -> None:
        device = describe_all(self._devices)
        in_order = False
        try:
            self.ledger.register(socket.gethostname(), os.getpid(), device)
            self._work()
            in_order = True
        except Unreachable as error:
            if not self.stop.is_set():
                raise
            log.warning("%s; what this worker holds is free when its lease runs out", error)
        finally:
            if self._loaded is not None:
                self._loaded.close()
            with suppress(Unreachable):  # then the list of workers learns it from the lease
                self.ledger.leave(in_order=in_order)

    def _work(self) -> None:
        pause = _IDLE_SECONDS
        while not self.stop.is_set():
            wanted = replace(self.settings.wanted, without=tuple(self._unfit))
            claimed = self.ledger.claim(wanted, self._limit)
            while self.checkpoints is not None and self.ledger.retries_exhausted:
                self.checkpoints.drop(self.ledger.retries_exhausted.pop())
            if claimed is not None:
                self._take(*claimed)
                pause = _IDLE_SECONDS
            elif not self.settings.options.until_done or self.ledger.is_open(wanted):
                self.ledger.wait(wanted)
                with timed_as("waiting"):
                    self.stop.wait(pause)
                pause = min(1.5 * pause, _LONGEST_IDLE_SECONDS)
            else:
                break

    def _tell_unfit(self) -> None:
        errors = list(self._unfit.values())
        for error in errors[1:]:
            log.warning("%s", error)
        if errors:
            raise errors[0]

    def _limit(self, study: Study) -> int:
        shapes = study.identity["model"]["parameters"].values()
        size = 4 * _COPIES * sum(math.prod(shape) for shape in shapes)
        room = room_for(size, self.settings.device, self._sharing)
        known = (
            self._loaded.room if self._loaded is not None and self._loaded.serves(study) else None
        )
        return min(room, known or LARGEST_HEAT, LARGEST_HEAT)

    def _take(self, study: Study, taken: Sequence[Slot]) -> None:
        with Heartbeat(self.ledger, study.id) as heartbeat:
            # From now on: loading the data may take longer than a lease lasts.
            heartbeat.hold({s.id: (s.fence, s.steps) for s in taken})
            try:
                devices, recall = self._devices, self._sizes.recall
                with timed_as("set-up"):
                    loaded = self._loaded = set_up(study, devices, self._loaded, recall)
                if self.stop.is_set():
                    self.ledger.release([(slot, slot.steps) for slot in taken])
                    return
                sampled = self._sampled(study, taken)
                engine = self._engines.of(study, loaded, sampled)
                started = self.ledger.start(study, sampled, study.space, loaded.versions)
            except LeaseLost as error:
                log.warning("%s", error)
                return
            except Unreachable:
                raise
            except BaseException as error:
                self.ledger.release([(slot, slot.steps) for slot in taken])
                if not isinstance(error, BatchfrontError) or isinstance(error, StorageError):
                    raise
                self._unfit[study.workload] = error
                if not self.settings.options.until_done:  # there is no end at which to tell
                    log.warning("left to other workers: %s", error)
                return
            backfill = None
            if engine == EngineName.VECTORIZED:
                room = self._room(study)
                backfill = Backfill(
                    self.ledger, study, heartbeat, room, self._sampled, loaded.versions
                )
            race = Race(
                self.ledger,
                study,
                loaded,
                heartbeat=heartbeat,
                stop=self.stop,
                engine=self._engines.make(engine, loaded),
                checkpoints=self.checkpoints if loaded.resumes else None,
                backfill=backfill,
                pace=self._pace,
                after_round=partial(self._sizes.keep, loaded.workload, loaded.micro_batches),
            )
            race.run(started)

    def _room(self, study: Study) -> int:
        """Trials that are computed as one, at most."""
        room = self._limit(study)
        return min(room, ONE_BY_ONE) if study.schedule == Schedule.ONE_BY_ONE else room

    @timed_as("set-up")
    def _sampled(self, study: Study, taken: Sequence[Slot]) -> list[Slot]:
        """The slots, with metaparameters for those that had none."""
        bare = [slot for slot in taken if slot.params is None]
        numbers = [slot.number for slot in bare]
        found = self.ledger.tries(partial(sample_late, self.storage, study, numbers))
        sampled = {
            slot.number: replace(slot, params=one.params, origin=one.origin)
            for slot, one in zip(bare, found, strict=True)
        }
        return [sampled.get(slot.number, slot) for slot in taken]
