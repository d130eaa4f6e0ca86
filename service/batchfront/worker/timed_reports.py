"""Times what trains by a loop or a program of the user's: whole steps, by a short run of it."""

from collections.abc import Iterator
from itertools import count, pairwise
from tempfile import TemporaryDirectory
from threading import Event, Timer
from time import perf_counter
from typing import Any

from batchfront.advice.timings import Timing
from batchfront.errors import BatchfrontError, UsageError
from batchfront.phrases import listed
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.study.study import Study
from batchfront.training.device_names import describe_all, resolve, visible_gpus
from batchfront.training.engines import Engine, Failed
from batchfront.training.run import RunFactory
from batchfront.vocabulary import TimedPart
from batchfront.worker.backend import Place
from batchfront.worker.backends.programs import LoadedProgram
from batchfront.worker.options import WorkerOptions
from batchfront.worker.timed import SECONDS, Conditions, Say, Subject, Timed, TimingOptions
from batchfront.worker.worker import backend_of
from batchfront.workload.search_space import Metaparameters, dimensions, point_at

_STRETCHES = 20
"""From an evaluation to the next: so many are timed, where there is time for them."""

_FEWEST = 3  # of which a median says something

_SHORTEST = 0.05  # seconds of one, over as many evaluations as that takes: they come in lumps


def time_reports(storage: Storage, subject: Subject, options: TimingOptions, say: Say) -> Timed:
    """Time a planned loop or program: see `time_workload`. As nobody but itself knows what its
    steps consist of, each has its share of the evaluations."""
    studies = _meant(storage, subject, options)
    gpus = visible_gpus() if options.device != "cpu" else []
    device = resolve(options.device, len(gpus))
    each = SECONDS if options.batch_sizes else SECONDS / len(studies)
    timings, left_out = [], []
    for study in studies:
        say(f"Timing {study.name}: a run of {each:.0f} s at most …")
        with TemporaryDirectory(prefix="batchfront-time-") as folder:
            place = _place(storage, subject, device, folder)
            found = _timing(
                place, study, _values(subject, study), describe_all([device], gpus), each
            )
        timings += [] if found is None else [found]
        left_out += [] if found is not None else [study]
    if not timings:
        raise UsageError(
            f"{subject.name}: a run of {each:.0f} s at most was evaluated less than {_FEWEST + 1} "
            "times, and a step is timed between two evaluations; let it be evaluated sooner, or "
            "write what its steps take into a file, and bring it in: "
            + command(storage, "import timings", "FILE")
        )
    notes = ["A step is timed with its share of the evaluations, which are the run's own affair."]
    if left_out:
        sizes = listed([f"{study.batch_size:,}" for study in left_out])
        notes.append(
            f"Batches of {sizes} were left out: a run of {each:.0f} s was evaluated less than "
            f"{_FEWEST + 1} times; what --batch-sizes names is given {SECONDS:.0f} s."
        )
    return Timed(subject.name, timings[0].device, tuple(timings), tuple(notes))


def _meant(storage: Storage, subject: Subject, options: TimingOptions) -> list[Study]:
    """The studies at the batch sizes that are asked for.

    Raises UsageError if there is none at one of them, or if several devices are to share a batch.
    """
    kind = subject.studies[0].kind
    if options.devices_per_trial != (1,):
        raise UsageError(
            f"--devices-per-trial {max(options.devices_per_trial)}: {subject.name} is a {kind}, "
            "which says itself what it computes on"
        )
    there = {study.batch_size: study for study in subject.studies}
    for batch_size in options.batch_sizes or ():
        if batch_size not in there:
            sizes = ",".join(map(str, sorted({*there, *(options.batch_sizes or ())})))
            plan = command(storage, "plan", there[min(there)].spec, "--batch-sizes", sizes)
            raise UsageError(
                f"--batch-sizes {batch_size}: {subject.name} is a {kind}, whose steps are timed by "
                f"running a trial of it, and none is planned at this batch size: {plan}"
            )
    return [there[size] for size in options.batch_sizes or sorted(there)]


def _place(storage: Storage, subject: Subject, device: str, folder: str) -> Place:
    told = WorkerOptions(device=device, trial_dir=folder, code=subject.code)
    return Place(storage, device, 1, told, impatient, Event())


def _values(subject: Subject, study: Study) -> Metaparameters:
    """The winner's or, without one, those in the middle of the search space."""
    won, space = subject.nearest(study.batch_size), study.space
    return point_at(space, [0.5] * len(dimensions(space))) if won is None else won.params


def _timing(
    place: Place, study: Study, values: Metaparameters, device: str, seconds: float
) -> Timing | None:
    """The timing of its steps; None where there were too few evaluations."""
    backend = backend_of(study.kind, place)
    alarm = Timer(seconds, place.stop.set)
    took: list[float] = []
    try:
        factory = backend.prepare(study)
        engine = backend.heat(study, []).engine
        alarm.start()
        for number in count():  # a run may end soon
            found = [*_stretches(engine, factory, study, values, number, place.stop)]
            took += found
            if not found or len(took) >= _STRETCHES:
                break
    finally:
        alarm.cancel()
        backend.close()
    if len(took) < _FEWEST:
        return None
    conditions = Conditions(study.workload, study.precision or "float32", device, factory.versions)
    devices = factory.program.devices if isinstance(factory, LoadedProgram) else 1
    return conditions.timing(TimedPart.STEP, study.batch_size, took, devices)


def _stretches(
    engine: Engine[Any],
    factory: RunFactory[Any],
    study: Study,
    values: Metaparameters,
    number: int,
    stop: Event,
) -> Iterator[float]:
    """The seconds of a step in each stretch of a run, from its first evaluation on: before that,
    much is loaded."""
    run = factory.run(study.batch_size, values, study.trial_seed(number), number=number)
    marks: list[tuple[float, int]] = []
    last: tuple[float, int] | None = None
    try:
        while len(marks) <= _STRETCHES:
            after = run.evaluation_steps.after(run.step)
            if after is None or stop.is_set():
                break
            (advanced,) = engine.advance([run], after, stop)
            if isinstance(advanced, Failed):
                raise BatchfrontError(f"{study.name}: {advanced.reason.splitlines()[0]}")
            if not advanced:
                break
            last = perf_counter(), run.step
            if not marks or last[0] - marks[-1][0] >= _SHORTEST:
                marks.append(last)
    finally:
        run.close()
    if len(marks) == 1 and last is not None and last is not marks[0]:
        marks.append(last)  # all that there was
    for (began, first), (ended, step) in pairwise(marks):
        yield (ended - began) / (step - first)
