"""What a worker computes trials with: one backend for each kind of workload."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Event
from typing import Any, Protocol

from batchfront.store.database import Storage
from batchfront.store.retry import Tries
from batchfront.study.code import spec_here
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.engines import Engine
from batchfront.training.run import RunFactory
from batchfront.vocabulary import Phase
from batchfront.worker.checkpoint_policy import Kept
from batchfront.worker.options import WorkerOptions
from batchfront.workload.trust import Trust


@dataclass(frozen=True)
class Place:
    """Where a backend works, and for whom.

    device  -- the worker's, by name: "cpu" or "cuda:1"; the first, where several compute a trial
    sharing -- how many workers share the device's memory
    tries   -- how often and how long the database is asked while it is away
    stop    -- when set, what takes long is broken off
    enter   -- says which phase the worker is in by now
    """

    storage: Storage
    device: str
    sharing: int
    options: WorkerOptions
    tries: Tries
    stop: Event
    enter: Callable[[Phase], None] = lambda _: None

    @cached_property
    def trust(self) -> Trust:
        """Whose code it may load."""
        return Trust.of(self.options.code)

    def spec(self, study: Study) -> str:
        """The spec by which a study's code is loaded: asked each time that it is, and before.

        Raises UntrustedCode if it may not be, and IdentityError if it has changed.
        """
        return spec_here(study, self.trust)


@dataclass(frozen=True)
class HeatSetup:
    """What computes one heat.

    kept        -- where its interrupted trials are kept; None: they start again
    kept_whole  -- seconds for which it isn't handed on, at least, where that takes its time; None:
                   as any heat
    room        -- trials at most, where others take the places of those that end; None: they don't
    after_round -- called after each round of the heat
    may_begin   -- asked before others take the places of those that end; None: they may
    """

    engine: Engine[Any]
    kept: Kept | None = None
    kept_whole: float | None = None
    room: int | None = None
    after_round: Callable[[], None] | None = None
    may_begin: Callable[[], bool] | None = None


class Backend(Protocol):
    """Prepares and computes the trials of one kind of workload on a worker's devices."""

    def limit(self, study: Study) -> int:
        """How many of a study's trials this worker can hold at once: asked while it claims."""

    def prepare(self, study: Study) -> RunFactory[Any]:
        """Make a study ready, from which its runs come then; what was ready before may be dropped.

        Raises BatchfrontError if its code is gone, may not run here, or gives the study another
        identity.
        """

    def heat(self, study: Study, taken: Sequence[Slot]) -> HeatSetup:
        """Set up a heat of the study that was prepared last: its first trials, with their
        metaparameters."""

    def close(self) -> None:
        """End what it has started, such as processes."""
