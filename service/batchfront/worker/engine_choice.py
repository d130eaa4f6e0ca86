"""Which engine computes a heat: asked for, remembered in the database, or found by a short trial.

The trial is on runs of its own that are thrown away: which engine is faster is a matter of time,
and no trial's result may hang on that. What the first worker finds, all workers of the database go
by that have the same kind of device.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Event

import torch
from sqlalchemy import insert, select

from batchfront.errors import UsageError
from batchfront.phase_timer import timed_as
from batchfront.store.database import Storage
from batchfront.store.retry import Tries
from batchfront.store.schema import engines
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.devices import kind
from batchfront.training.engines import Engine, Sequential
from batchfront.training.memory import is_lost_device, release
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.eligibility import why_never, why_not
from batchfront.training.vectorized.engine import Vectorized
from batchfront.vocabulary import EngineName, Phase
from batchfront.worker.engine_timing import speedup
from batchfront.worker.setup import LoadedWorkload
from batchfront.workload import catalog
from batchfront.workload.data import Splits
from batchfront.workload.search_space import point_at
from batchfront.workload.workload import Workload

log = logging.getLogger(__name__)

FEWEST = 4
"""Trials of a heat from which on it may pay to compute them as one."""

_WORTH = 1.1  # times as fast, at least: less is within what one measurement may be off


class EngineChoice:
    """The choices of one worker.

    asked   -- auto, or the engine to use everywhere
    devices -- those that compute each trial together
    sharing -- how many workers share them
    stop    -- when set, a trial under way is broken off
    enter   -- says which phase the worker is in by now
    """

    def __init__(
        self,
        storage: Storage,
        tries: Tries,
        asked: EngineName,
        devices: Sequence[torch.device],
        sharing: int,
        stop: Event,
        enter: Callable[[Phase], None] = lambda _: None,
    ) -> None:
        self._storage, self._tries, self._asked = storage, tries, asked
        self._devices, self._stop, self._enter = devices, stop, enter
        self._kind = kind(devices[0], sharing)
        self._why_not: dict[tuple[str, int], str | None] = {}  # by workload and batch size
        self._told: set[str] = set()
        self._loaded: LoadedWorkload | None = None
        self._reasons: dict[str, str | None] = {}  # of the kinds of trials of that workload

    @timed_as("set-up")
    def of(self, study: Study, loaded: LoadedWorkload, taken: Sequence[Slot]) -> EngineName:
        """The engine for a heat of these trials, their metaparameters sampled.

        Raises UsageError where the vectorized one is asked for and can't compute the workload.
        """
        if self._asked == EngineName.SEQUENTIAL:
            return EngineName.SEQUENTIAL
        if self._asked == EngineName.AUTO and len(taken) < FEWEST:
            return EngineName.SEQUENTIAL
        if self._asked == EngineName.VECTORIZED:
            _refuse(study.workload, self._unfit(study, loaded))
            return EngineName.VECTORIZED
        why = why_never(loaded.workload, loaded.splits, self._devices)
        if why is not None:
            if study.workload not in self._told:
                self._told.add(study.workload)
                log.info("%s: trials are computed one by one, as %s", study.workload, why)
            return EngineName.SEQUENTIAL
        return self._tries(lambda: self._read(study)) or self._find(study, loaded, taken)

    def make(self, name: EngineName, loaded: LoadedWorkload) -> Engine[ModelRun]:
        """A fresh engine, for one heat; of a workload's trials it knows what others found."""
        if name == EngineName.SEQUENTIAL:
            return Sequential()
        return self._vectorized(loaded)

    def _vectorized(self, loaded: LoadedWorkload) -> Vectorized:
        if self._loaded is not loaded:
            self._loaded, self._reasons = loaded, {}
        return Vectorized(self._reasons)

    def _unfit(self, study: Study, loaded: LoadedWorkload) -> str | None:
        key = study.workload, study.batch_size
        if key not in self._why_not:
            given = (loaded.workload, study.batch_size, loaded.splits, self._devices)
            self._why_not[key] = _why_not(*given)
        return self._why_not[key]

    def _find(self, study: Study, loaded: LoadedWorkload, taken: Sequence[Slot]) -> EngineName:
        self._enter(Phase.ENGINES)
        try:
            ratio = speedup(study, loaded, taken, self._stop, self._vectorized(loaded))
        except Exception as error:
            if is_lost_device(error):
                raise
            log.debug("%s: engines not compared: %s", study.name, error)
            ratio = None
        if self._devices[0].type != "cpu":  # whose memory goes back as its tensors do
            release()
        if ratio is None:
            return EngineName.SEQUENTIAL
        found = EngineName.VECTORIZED if ratio >= _WORTH else EngineName.SEQUENTIAL
        kept = self._tries(lambda: self._write(study, found, ratio, len(taken)))
        said = f"vectorized is {ratio:.1f} times as fast as sequential ({len(taken)} trials)"
        log.info("%s: %s; %s", study.name, kept, said)
        return kept

    def _read(self, study: Study) -> EngineName | None:
        with self._storage.read() as conn:
            query = select(engines.c.engine).filter_by(**self._key(study))
            found = conn.execute(query).scalar_one_or_none()
        return None if found is None else EngineName(found)

    def _write(self, study: Study, found: EngineName, ratio: float, trials: int) -> EngineName:
        """What stands there from now on: somebody else may have found something meanwhile."""
        with self._storage.write() as conn:
            if conn.dialect.name == "postgresql":  # two workers may find the first at once
                conn.exec_driver_sql("LOCK TABLE bf_engines IN SHARE ROW EXCLUSIVE MODE")
            query = select(engines.c.engine).filter_by(**self._key(study))
            there = conn.execute(query).scalar_one_or_none()
            if there is None:
                new = {"engine": found, "ratio": ratio, "trials": trials}
                conn.execute(insert(engines).values(**self._key(study), **new))
        return EngineName(there or found)

    def _key(self, study: Study) -> dict[str, str | int]:
        return {
            "workload": study.workload,
            "device": self._kind,
            "batch_size": study.batch_size,
        }


def refuse_unfit(study: Study, spec: str, devices: Sequence[torch.device]) -> None:
    """Raise UsageError if the vectorized engine can't compute a study's workload.

    spec -- by which it is loaded here
    """
    workload = catalog.load_trained(spec).as_asked(study.goal_value, study.precision)
    given = (workload, study.batch_size, workload.load_data().to(devices[0]), devices)
    _refuse(study.workload, _why_not(*given))


def _why_not(
    workload: Workload, batch_size: int, splits: Splits, devices: Sequence[torch.device]
) -> str | None:
    """Asked of the middle of the search space, so that it is the same of every heat."""
    middle = [0.5] * len(workload.searched(batch_size))
    values = point_at(workload.space(batch_size), middle)
    return why_not(workload, batch_size, splits, values, devices)


def _refuse(workload: str, why: str | None) -> None:
    if why is not None:
        raise UsageError(
            f"{workload}: --engine vectorized can't compute it: {why}; use auto or sequential"
        )
