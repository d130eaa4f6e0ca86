"""A worker: claim a heat, race it, record how it ended, until nothing is left to do."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event

from batchfront.errors import (
    BatchfrontError,
    IdentityError,
    LeaseLost,
    StorageError,
    StorageLost,
    Unreachable,
    UntrustedCode,
    WorkloadError,
)
from batchfront.extras import installed
from batchfront.ledger.ledger import Ledger
from batchfront.ledger.self_description import SelfDescription
from batchfront.log_lines import about
from batchfront.phase_timer import Clock, timed_as
from batchfront.plan.share_out import share_out
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.migrations import database_name
from batchfront.store.retry import Patience
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.study.warm_start import sample_late
from batchfront.training.checkpoint_files import CheckpointFiles
from batchfront.training.device_names import describe_all, following, visible_gpus
from batchfront.training.kept_models import KeptModels, models_beside
from batchfront.vocabulary import EngineName, KeepModel, Phase, Purpose
from batchfront.worker.backend import Backend, Place
from batchfront.worker.backfill import Backfill
from batchfront.worker.heartbeat import LONGEST_PAUSE, Heartbeat
from batchfront.worker.kept_winner import KeptWinner
from batchfront.worker.options import WorkerOptions
from batchfront.worker.pace import Pace
from batchfront.worker.race import Race
from batchfront.worker.step_budget import StepBudget

log = logging.getLogger(__name__)

_TOLD_PACKAGES = ("batchfront", "optuna", "torch")

# Between two looks for something to do. Whoever waits for longer than half a lease would take the
# silence of workers that have died for its own, and give them time to come back, again and again.
_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 0.3, LONGEST_PAUSE


@dataclass(frozen=True)
class Settings:
    """What a worker works on, and with.

    device  -- the worker's, by name: "cpu" or "cuda:1"; the first, where several compute each trial
    options -- what it has been told; without a folder for checkpoints, interrupted trials start
               again
    sharing -- how many workers share the device's memory
    """

    worker_id: str
    device: str
    wanted: Filter = field(default_factory=Filter)
    options: WorkerOptions = field(
        default_factory=lambda: WorkerOptions(engine=EngineName.SEQUENTIAL)
    )
    sharing: int = 1


class _BackendWanted(Exception):
    """A study is of a kind that this worker hasn't met yet."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self.study = study


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
        self._files: CheckpointFiles | None = None
        self._models: KeptModels | None = None
        name = self.ledger.tries(lambda: database_name(storage))
        if options.checkpoint_dir is not None:
            self._files = CheckpointFiles(options.checkpoint_dir, name)
        models = models_beside(storage.url, options.checkpoint_dir)
        if models is not None and options.keep_model == KeepModel.BEST:
            self._models = KeptModels(models, name)
        self._place = Place(
            storage,
            settings.device,
            settings.sharing,
            options,
            self.ledger.tries,
            stop,
            self.ledger.enter_phase,
        )
        _ = self._place.trust  # said now, if there is no such place
        self._backends: dict[str | None, Backend] = {}
        self._budget = StepBudget(options.max_steps, stop)
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
        in_order = False
        try:
            gpus = visible_gpus() if self.settings.device != "cpu" else []
            together = self.settings.options.devices_per_trial
            device = describe_all(following(self.settings.device, together, len(gpus)), gpus)
            self.ledger.register(socket.gethostname(), os.getpid(), device, self._description())
            self._work()
            in_order = True
        except Unreachable as error:
            if not self.stop.is_set():
                raise
            log.warning("%s; what this worker holds is free when its lease runs out", error)
        finally:
            for backend in self._backends.values():
                backend.close()
            # If not, the list of workers learns it from the lease.
            with suppress(StorageLost, Unreachable):
                self.ledger.leave(in_order=in_order)

    def _description(self) -> SelfDescription:
        found = {package: installed(package) for package in _TOLD_PACKAGES}
        versions = {package: version for package, version in found.items() if version}
        left = {workload: str(error) for workload, error in self._unfit.items()}
        if self._files is None:
            return SelfDescription(versions, left=left)
        # Only a server has workers on other machines, which may not reach the same place.
        mark = "" if self.storage.url.get_backend_name() == "sqlite" else self._files.mark()
        return SelfDescription(versions, self.settings.options.checkpoint_dir, mark, left)

    def _work(self) -> None:
        pause = _IDLE_SECONDS
        while not self.stop.is_set():
            wanted = replace(self.settings.wanted, without=tuple(self._unfit))
            claimed = self._claim(wanted)
            while self._files is not None and self.ledger.retries_exhausted:
                self._files.drop(self.ledger.retries_exhausted.pop())
            if claimed is not None:
                self._take(*claimed)
                pause = _IDLE_SECONDS
            elif self._share_out(wanted):
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

    def _claim(self, wanted: Filter) -> tuple[Study, list[Slot]] | None:
        while True:
            try:
                return self.ledger.claim(wanted, self._limit)
            except _BackendWanted as wish:
                # Not in the claim's transaction, which others wait for: it imports for seconds.
                try:
                    self._place.spec(wish.study)  # or for nothing, where its code may not run
                except (IdentityError, UntrustedCode) as error:
                    self._leave(wish.study, error)
                    return None
                self.ledger.enter_phase(Phase.IMPORTING)
                self._backend(wish.study.kind)

    @timed_as("set-up")
    def _backend(self, kind: str | None) -> Backend:
        if kind not in self._backends:
            self._backends[kind] = backend_of(kind, self._place)
        return self._backends[kind]

    @timed_as("set-up")
    def _share_out(self, wanted: Filter) -> bool:
        """Give searches that share out their trials another round, where it is time for one.
        Returns whether there was any."""
        return bool(self.ledger.tries(lambda: share_out(self.storage, wanted)))

    def _limit(self, study: Study) -> int:
        if study.kind not in self._backends:
            raise _BackendWanted(study)
        return self._backends[study.kind].limit(study)

    def _take(self, study: Study, taken: Sequence[Slot]) -> None:
        with about(study=study.name), Heartbeat(self.ledger, study.id) as heartbeat:
            # From now on: loading the data may take longer than a lease lasts.
            heartbeat.hold({s.id: (s.fence, s.steps) for s in taken})
            try:
                backend = self._backend(study.kind)
                factory = backend.prepare(study)
                if self.stop.is_set():
                    self.ledger.release([(slot, slot.steps) for slot in taken])
                    return
                sampled = self._sampled(study, taken)
                heat = backend.heat(study, sampled)
                started = self.ledger.start(study, sampled, study.space, factory.versions)
            except LeaseLost as error:
                log.warning("%s", error)
                return
            except Unreachable:
                raise
            except BaseException as error:
                self.ledger.release([(slot, slot.steps) for slot in taken])
                if not isinstance(error, BatchfrontError) or isinstance(error, StorageError):
                    raise
                self._leave(study, error)
                return
            backfill = None
            if heat.room is not None:
                backfill = Backfill(
                    self.ledger,
                    study,
                    heartbeat,
                    heat.room,
                    self._sampled,
                    factory.versions,
                    heat.may_begin,
                )
            whole = self._pace.kept_whole if heat.kept_whole is None else heat.kept_whole
            pace = replace(self._pace, kept_whole=whole)
            race = Race(
                self.ledger,
                study,
                factory,
                heartbeat=heartbeat,
                stop=self.stop,
                engine=heat.engine,
                kept=heat.kept,
                backfill=backfill,
                winner=self._winner(study, factory.versions),
                pace=pace,
                budget=self._budget,
                after_round=heat.after_round,
            )
            self.ledger.enter_phase(None)
            try:
                race.run(started)
            except WorkloadError as error:  # no trial of it can do better
                self.ledger.release([(slot, 0) for slot, _ in race.heat.live])
                self._leave(study, error)

    def _winner(self, study: Study, versions: Mapping[str, str]) -> KeptWinner | None:
        """What keeps the weights of a search's winner; reruns have none."""
        if self._models is None or study.purpose != Purpose.SEARCH:
            return None
        return KeptWinner(study, self._models, self.ledger, versions)

    def _leave(self, study: Study, error: BatchfrontError) -> None:
        """Leave a workload that can't be run here to other workers."""
        self._unfit[study.workload] = error = self._advised(error)
        if not self.settings.options.until_done:  # there is no end at which to tell
            log.warning("left to other workers: %s", error)
        self.ledger.describe(self._description())

    def _advised(self, error: BatchfrontError) -> BatchfrontError:
        """The error with what would let the workload run here."""
        if isinstance(error, UntrustedCode) and error.place is not None:
            allow = command(self.storage, "work", "--code", error.place)
            return UntrustedCode(f"{error}; to allow it: {allow}", error.place)
        if not isinstance(error, IdentityError):
            return error
        if not error.planned:
            return IdentityError(f"{error}. Undo the change on this machine")
        accept = command(self.storage, "plan", *error.planned)
        return IdentityError(
            f"{error}. Bring the code here to that version, or accept it: {accept}", error.planned
        )

    @timed_as("sampling")
    def _sampled(self, study: Study, taken: Sequence[Slot]) -> list[Slot]:
        """The slots, with metaparameters for those that had none."""
        bare = [slot for slot in taken if slot.params is None]
        if not bare:
            return list(taken)
        numbers = [slot.number for slot in bare]
        found = self.ledger.tries(partial(sample_late, self.storage, study, numbers))
        sampled = {
            slot.number: replace(slot, params=one.params, origin=one.origin)
            for slot, one in zip(bare, found, strict=True)
        }
        return [sampled.get(slot.number, slot) for slot in taken]


def backend_of(kind: str | None, place: Place) -> Backend:
    """The backend for workloads of a kind, as a study's identity says it; None: those that
    batchfront trains."""
    # Late: of what these import, a worker needs only one.
    match kind:
        case None:
            from batchfront.worker.backends.models import ModelBackend

            return ModelBackend(place)
        case "program":
            from batchfront.worker.backends.programs import ProgramBackend

            return ProgramBackend(place)
        case "loop":
            from batchfront.worker.backends.loops import LoopBackend

            return LoopBackend(place)
    raise AssertionError(kind)
