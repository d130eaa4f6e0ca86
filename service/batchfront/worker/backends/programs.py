"""Trials that are programs, which run beside the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition

from sqlalchemy import select

from batchfront import __version__
from batchfront.errors import BatchfrontError, SweepFileError
from batchfront.phase_timer import timed_as
from batchfront.store.migrations import database_name
from batchfront.store.schema import measurements, slots
from batchfront.study.identity import identity_parts, refuse_other_identity
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.study.variants import as_variant
from batchfront.training.device_names import describe_all, visible_gpus
from batchfront.training.examine import examine
from batchfront.training.programs.engine import Together
from batchfront.training.programs.folder import TrialFolders
from batchfront.training.programs.leftovers import sweep_left
from batchfront.training.programs.preflight import checksums
from batchfront.training.programs.run import ProgramRun, ProgramTrial
from batchfront.training.programs.states import ProgramStates
from batchfront.vocabulary import Schedule
from batchfront.worker.backend import HeatSetup, Place
from batchfront.workload.code.versions import digest
from batchfront.workload.goal import Goal
from batchfront.workload.program import Program
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.stopping_rules import StoppingRules
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.trust import Trust

STRETCH = 300.0
"""Seconds for which programs that resume run on while others wait for their turn: what starting
one takes, most of a minute where much is loaded, should be little beside that."""


@dataclass
class LoadedProgram:
    """A program's study made ready: a `RunFactory`.

    news -- notified when any of its programs has told something, or has ended
    runs -- all that it has made and that may not be over
    """

    study: Study
    program: Program
    folders: TrialFolders
    device: str
    versions: Mapping[str, str]
    room: int | None = None
    news: Condition = field(default_factory=Condition)
    runs: list[ProgramRun] = field(default_factory=list)

    @property
    def goal(self) -> Goal:
        """What a trial has to reach."""
        return self.program.goal

    @property
    def stopping(self) -> StoppingRules:
        """When a trial is given up."""
        return self.program.stopping

    def run(
        self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0
    ) -> ProgramRun:
        """A fresh run, whose program is started when it is advanced."""
        trial = ProgramTrial(
            self.program,
            batch_size,
            values,
            seed,
            self.study.name,
            number,
            self.folders,
            self.device,
        )
        run = ProgramRun(trial, self.news)
        self.runs.append(run)
        return run

    def is_current(self) -> bool:
        """Whether a program that starts now is of the same code. Where it isn't, the next heat
        refuses it."""
        try:
            return digest(checksums(self.program)) == self.versions["source"]
        except BatchfrontError:
            return False

    def join(self) -> None:
        """Wait until nothing is left of programs that have been closed."""
        for run in self.runs:
            run.join()
        self.runs.clear()


class ProgramBackend:
    """The backend of programs."""

    def __init__(self, place: Place) -> None:
        self._place = place
        name = place.tries(lambda: database_name(place.storage))
        self._folders = TrialFolders(place.options.trial_dir or "batchfront-trials", name)
        gpus = visible_gpus() if place.device != "cpu" else []
        self._describes = describe_all([place.device], gpus)
        self._loaded: LoadedProgram | None = None
        self._at_once: dict[int, int] = {}  # by study
        sweep_left()

    def limit(self, study: Study) -> int:
        if study.id not in self._at_once:
            try:
                at_once = find_program(study, self._place.trust).resources.at_once
            except BatchfrontError:  # which `prepare` tells
                at_once = 1
            self._at_once[study.id] = max(at_once // max(self._place.sharing, 1), 1)
        return self._at_once[study.id]

    @timed_as("set-up")
    def prepare(self, study: Study) -> LoadedProgram:
        self.close()
        program = find_program(study, self._place.trust)
        examined = examine(program, [study.batch_size], str(program.path))
        parts = identity_parts(examined.identity_parts, [examined.code], study.variant)
        refuse_other_identity(study, program, parts)
        versions = {
            "batchfront": __version__,
            "device": self._describes,
            "source": digest(examined.code),
        }
        self._loaded = LoadedProgram(study, program, self._folders, self._place.device, versions)
        return self._loaded

    def heat(self, study: Study, taken: Sequence[Slot]) -> HeatSetup:
        assert self._loaded is not None
        kept = ProgramStates(self._folders, study.name) if self._loaded.program.resume else None
        races = study.schedule == Schedule.RACE
        room = self.limit(study) if races else None
        engine = engine_of(self._loaded, self._place)
        return HeatSetup(engine, kept, STRETCH, room, may_begin=self._loaded.is_current)

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.join()


def engine_of(loaded: LoadedProgram, place: Place) -> Together:
    """A fresh engine for programs of one study, which knows whether any has ever told an
    evaluation."""
    told = measurements.join(slots, measurements.c.slot_id == slots.c.id)
    query = select(slots.c.id).select_from(told).where(slots.c.study_id == loaded.study.id).limit(1)

    def any_heard() -> bool:
        with place.storage.read() as conn:
            return conn.execute(query).first() is not None

    return Together(loaded.news, any_heard=place.tries(any_heard))


def find_program(study: Study, trust: Trust) -> Program:
    """The program of a study, from a sweep file that may be run here: the one that it was planned
    with, or another of that file's name.

    The command comes from there alone, never from the database. Raises UntrustedCode if there is
    none, and SweepFileError for one that can't be read where no other is it.
    """
    broken: SweepFileError | None = None
    for path in trust.sweep_files(study.spec):
        try:
            program = read_sweep_file(path).program
        except SweepFileError as error:  # which may be another project's
            broken = broken or error
            continue
        if as_variant(program, study.variant).name == study.workload:
            asked = program.as_asked(study.goal_value, study.precision)
            return as_variant(asked, study.variant)
    raise broken or trust.untrusted(study.workload, study.spec)
