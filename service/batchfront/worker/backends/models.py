"""Trials that batchfront trains: a model, on torch's devices, by the engine that is faster."""

import math
from collections.abc import Sequence
from functools import partial

from batchfront.phase_timer import timed_as
from batchfront.store.migrations import database_name
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.devices import following, resolve, room_for, use_one_thread
from batchfront.vocabulary import EngineName, Phase, Schedule
from batchfront.worker.backend import HeatSetup, Place
from batchfront.worker.backfill import ONE_BY_ONE
from batchfront.worker.engine_choice import EngineChoice
from batchfront.worker.microbatch_sizes import KnownMicroBatchSizes
from batchfront.worker.setup import LoadedWorkload, set_up

_COPIES = 4  # weights, gradients, optimizer state, and room for more

_KEPT = 2  # of weights and optimizer state, to go back to

LARGEST_HEAT = 1000
"""Trials that a worker holds at most, however small they are."""


class ModelBackend:
    """The backend of workloads that batchfront trains."""

    def __init__(self, place: Place) -> None:
        use_one_thread()
        self._place = place
        options, storage, tries = place.options, place.storage, place.tries
        # Torch may see no GPU where there is one; then it wasn't asked for.
        found = place.options.device == "auto" and place.device != "cpu"
        self._device = resolve("auto" if found else place.device)
        self._devices = following(self._device, options.devices_per_trial)
        # Memory of the host's has to hold every rank's part; of a GPU's, each has its own.
        self._sharing = place.sharing * self._devices.count(self._devices[0])
        self._sizes = KnownMicroBatchSizes(storage, tries, self._device, self._sharing)
        self._engines = EngineChoice(
            storage, tries, options.engine, self._devices, self._sharing, place.stop, place.enter
        )
        self._checkpoints: Checkpoints | None = None
        if options.checkpoint_dir is not None:
            name = tries(lambda: database_name(storage))
            self._checkpoints = Checkpoints(options.checkpoint_dir, name)
        self._loaded: LoadedWorkload | None = None

    def limit(self, study: Study) -> int:
        shapes = study.identity["model"]["parameters"].values()
        copies = _COPIES + ("average" in study.identity) + (_KEPT if study.sparse else 0)
        size = 4 * copies * sum(math.prod(shape) for shape in shapes)
        room = room_for(size, self._device, self._sharing)
        known = (
            self._loaded.room if self._loaded is not None and self._loaded.serves(study) else None
        )
        return min(room, known or LARGEST_HEAT, LARGEST_HEAT)

    @timed_as("set-up")
    def prepare(self, study: Study) -> LoadedWorkload:
        if self._loaded is None or not self._loaded.serves(study):
            self._place.enter(Phase.CHECKING)
        self._loaded = set_up(
            study, self._devices, self._loaded, self._sizes.recall, self._place.spec
        )
        return self._loaded

    def heat(self, study: Study, taken: Sequence[Slot]) -> HeatSetup:
        assert self._loaded is not None
        loaded = self._loaded
        engine = self._engines.of(study, loaded, taken)
        return HeatSetup(
            self._engines.make(engine, loaded),
            self._checkpoints if loaded.resumes else None,
            room=self._room(study) if engine == EngineName.VECTORIZED else None,
            after_round=partial(self._sizes.keep, loaded.workload, loaded.micro_batches),
        )

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.close()

    def _room(self, study: Study) -> int:
        """Trials that are computed as one, at most."""
        room = self.limit(study)
        return min(room, ONE_BY_ONE) if study.schedule == Schedule.ONE_BY_ONE else room
