"""Trials that are Python functions of the user's: generators in the worker's process, and functions
that call back, each of their trials in a process of its own."""

import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from threading import Event

from batchfront import __version__
from batchfront.errors import CatalogError
from batchfront.extras import has_torch
from batchfront.phase_timer import timed_as
from batchfront.store.migrations import database_name
from batchfront.study.identity import identity_parts, refuse_other_identity
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.study.variants import as_variant
from batchfront.training.checkpoint_files import Named
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.engines import Sequential
from batchfront.training.loops.child import as_program
from batchfront.training.loops.resumption import Resumption
from batchfront.training.loops.room import LARGEST_HEAT, measured_room
from batchfront.training.loops.run import LoopRun
from batchfront.training.loops.watch import Watch
from batchfront.training.memory import is_lost_device
from batchfront.training.programs.folder import TrialFolders
from batchfront.training.run import Run
from batchfront.vocabulary import Phase
from batchfront.worker.backend import HeatSetup, Place
from batchfront.worker.backends.programs import LoadedProgram, engine_of
from batchfront.workload import catalog
from batchfront.workload.code.loop import loop_code
from batchfront.workload.code.versions import Code, digest
from batchfront.workload.goal import Goal
from batchfront.workload.loop import Loop
from batchfront.workload.search_space import Metaparameters, dimensions, point_at
from batchfront.workload.stopping_rules import StoppingRules

log = logging.getLogger(__name__)

_CHEAP_SECONDS = 10.0  # of training, which may as well be done again elsewhere


@dataclass
class LoadedLoop:
    """A loop's study made ready: a `RunFactory`.

    room -- runs at once, where it is known how many memory holds
    """

    study: Study
    loop: Loop
    resumption: Resumption
    folders: TrialFolders
    device: str
    versions: Mapping[str, str]
    room: int | None = None
    watch: Watch = field(default_factory=Watch)
    runs: list[LoopRun] = field(default_factory=list)

    @property
    def goal(self) -> Goal:
        """What a trial has to reach."""
        return self.loop.goal

    @property
    def stopping(self) -> StoppingRules:
        """When a trial is given up."""
        return self.loop.stopping

    def run(
        self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0
    ) -> LoopRun:
        """A fresh run, of which nothing runs before it is advanced.

        Raises MemoryError where memory holds no more of them.
        """
        self.runs = [run for run in self.runs if not run.closed]
        if self.room is not None and len(self.runs) >= self.room:
            raise MemoryError(f"{self.loop.name} takes up so much of it")
        run = LoopRun(
            self.loop,
            batch_size,
            values,
            seed,
            device=self.device,
            folder=lambda resume: self.folders.take(self.study.name, number, resume=resume),
            resumption=self.resumption,
            watch=self.watch,
        )
        self.runs.append(run)
        return run

    def close(self) -> None:
        """End what is left of its runs."""
        for run in self.runs:
            run.close()


class LoopBackend:
    """The backend of loops."""

    def __init__(self, place: Place) -> None:
        self._place = place
        name = place.tries(lambda: database_name(place.storage))
        self._folders = TrialFolders(place.options.trial_dir or "batchfront-trials", name)
        self._kept: dict[Resumption, Checkpoints | None] = dict.fromkeys(Resumption)
        if (where := place.options.checkpoint_dir) is not None:
            self._kept[Resumption.KEPT] = Checkpoints(where, name)
            self._kept[Resumption.REPLAYED] = _CheapToRepeat(where, name, place.stop)
        self._watch = Watch()
        self._found: dict[tuple[str, str | None, float | None], tuple[Loop, Code]] = {}
        self._rooms: dict[int, int] = {}  # by study
        self._loaded: LoadedLoop | LoadedProgram | None = None

    def limit(self, study: Study) -> int:
        found = self._rooms.get(study.id, LARGEST_HEAT)
        at_once: int | None = study.identity["preflight"]["at_once"]
        if at_once is None:
            return found
        return min(found, max(at_once // max(self._place.sharing, 1), 1))

    @timed_as("set-up")
    def prepare(self, study: Study) -> LoadedLoop | LoadedProgram:
        self.close()
        tries = study.identity["preflight"]
        # A loop may have been planned with torch about that needs none.
        uses_torch = tries["torch"] and has_torch()
        device = _torch_device(self._place) if uses_torch else self._place.device
        loop, code = self._find(study)
        refuse_other_identity(study, loop, identity_parts({}, [code], study.variant))
        versions = {"batchfront": __version__, "device": device, "source": digest(code)}
        if uses_torch:
            versions["torch"] = sys.modules["torch"].__version__
        given = self._folders, device, versions
        if loop.calls_back:
            # Each trial loads it again: it is to be what this has loaded.
            program = as_program(loop, self._place.spec(study), digest(code))
            self._loaded = LoadedProgram(study, program, *given)
            return self._loaded
        resumption = Resumption(tries["resumption"])
        self._loaded = loaded = LoadedLoop(study, loop, resumption, *given, watch=self._watch)
        if tries["at_once"] is None and study.id not in self._rooms:
            self._rooms[study.id] = self._room(loaded)
        loaded.room = self.limit(study)
        return loaded

    def heat(self, study: Study, taken: Sequence[Slot]) -> HeatSetup:
        loaded = self._loaded
        assert loaded is not None
        if isinstance(loaded, LoadedProgram):
            return HeatSetup(engine_of(loaded, self._place))
        kept = self._kept[loaded.resumption]
        return HeatSetup(Sequential(), kept, after_round=partial(self._note_room, loaded))

    def close(self) -> None:
        if isinstance(self._loaded, LoadedProgram):
            self._loaded.join()
        elif self._loaded is not None:
            self._loaded.close()
        self._loaded = None

    def _find(self, study: Study) -> tuple[Loop, Code]:
        """A study's loop and its code, loaded once: its file may hold what it has loaded itself."""
        key = study.spec, study.variant, study.goal_value
        if key not in self._found:
            self._place.enter(Phase.CHECKING)
            spec = self._place.spec(study)
            found = as_variant(catalog.load(spec), study.variant)
            if not isinstance(found, Loop):
                raise CatalogError(f"{spec} is a {type(found).__name__}, not a Loop")
            if found.trained_elsewhere:
                raise CatalogError(
                    f"{found.name} has no function to train it: its trials are asked for, by "
                    "batchfront.open(URL).trial(NAME), and trained by whoever asks"
                )
            code = loop_code(found)  # before it has run, and changed what it may hold
            asked = found.as_asked(study.goal_value, study.precision)
            self._found[key] = asked, code
        return self._found[key]

    def _room(self, loaded: LoadedLoop) -> int:
        """How many runs memory holds, by two that are thrown away."""
        loop, study, place = loaded.loop, loaded.study, self._place
        numbers = count(-1, -1)  # which no trial has

        @contextmanager
        def begin() -> Iterator[None]:
            space = loop.space(study.batch_size)
            middle = point_at(space, [0.5] * len(dimensions(space)))
            number = next(numbers)
            run = loaded.run(study.batch_size, middle, seed=0, number=number)
            try:
                run.advance(1, place.stop)
                yield
            finally:
                run.close()
                shutil.rmtree(self._folders.path(study.name, number), ignore_errors=True)

        try:
            found = measured_room(begin, loaded.device, place.sharing)
        except Exception as error:  # which its trials will meet themselves
            if is_lost_device(error):
                raise
            log.debug("%s: its memory isn't known: %s", loop.name, error)
            return LARGEST_HEAT
        log.debug("%s: room for %d trials at once", study.name, found)
        return found

    def _note_room(self, loaded: LoadedLoop) -> None:
        """Have fewer runs at once from now on, if memory has run out for some."""
        if any(run.ran_out for run in loaded.runs):
            loaded.runs = [run for run in loaded.runs if not run.closed]
            self._rooms[loaded.study.id] = loaded.room = max(len(loaded.runs), 1)
            log.warning("%s: room for %d trials at once", loaded.study.name, loaded.room)


class _CheapToRepeat(Checkpoints):
    """The checkpoints of loops that are run again up to where they stood. They are handed over only
    as long as that costs little, and where the worker ends."""

    def __init__(self, where: str, database: str, stop: Event) -> None:
        super().__init__(where, database)
        self._stop = stop

    def save(self, slot: Named, run: Run, tag: str) -> bool:
        """The same of what is handed over."""
        cheap = run.cost.training_seconds < _CHEAP_SECONDS
        return (cheap or self._stop.is_set()) and super().save(slot, run, tag)


def _torch_device(place: Place) -> str:
    """The worker's device, as torch sees it, which is imported now: before any of its random
    numbers are drawn."""
    from batchfront.training.devices import resolve, use_one_thread

    use_one_thread()
    # Torch may see no GPU where there is one; then it wasn't asked for.
    found = place.options.device == "auto" and place.device != "cpu"
    return str(resolve("auto" if found else place.device))
