"""The runs that are probed: a winner's, as it was, or one of the probe's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event

from batchfront.advice.noise_scale import Probe
from batchfront.errors import BatchfrontError
from batchfront.frontier.reached_trial import ReachedTrial
from batchfront.outcomes import TrialResult
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.study.study import Study
from batchfront.training.devices import resolve, use_one_thread
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.training.noise_scale import NoiseScale, refuse_unreadable
from batchfront.training.range_test import RangeTest, range_test
from batchfront.vocabulary import Outcome
from batchfront.worker.backend import Place
from batchfront.worker.backends.models import ModelBackend
from batchfront.worker.microbatch_sizes import KnownMicroBatchSizes
from batchfront.worker.options import WorkerOptions
from batchfront.worker.probed import Probed, ProbeOptions, Say, Tested, middle
from batchfront.worker.setup import Found, LoadedWorkload, Wanted
from batchfront.worker.signals import time_limit
from batchfront.workload.catalog import load_trained
from batchfront.workload.search_space import Log, Metaparameters, dimensions, point_at

_SEED = 0  # of a probe's own run

_BELOW = 4.0  # times below the rate at which a range test's loss was lowest, a run trains well

_SLOWER = 4.0  # times slower a run tries again that has diverged

_TRIES = 3

_RATES = (100.0, 2.0)  # times below and above the same rate, a search finds its best

_WIDER = 10.0  # times further than the workload's own range, on both sides, a range test goes


@dataclass(frozen=True)
class _Only:
    """The slot of the one run of a heat."""

    number: int = 0


def winner_run(
    storage: Storage, reached: ReachedTrial, options: ProbeOptions, stop: Event
) -> Probed:
    """Train a winner again to where it reached the goal: see `probe`."""
    study, trial = reached.study, reached.trial
    told = WorkerOptions(device=options.device, code=options.code)
    backend = ModelBackend(Place(storage, options.device, 1, told, impatient, stop))
    try:
        loaded = backend.prepare(study)
        loaded.micro_batches.training.limit, loaded.micro_batches.room = trial.micro_batch, None
        seed = study.trial_seed(trial.number)
        run = loaded.run(study.batch_size, trial.params, seed, number=trial.number)
        noise = NoiseScale(run)
        if not run.advance(reached.steps, stop):
            raise BatchfrontError("interrupted; nothing was kept")
        passed = run.evaluate(full=False).passed
    finally:
        backend.close()
    read = _read(study.workload, trial.number, run, noise, loaded)
    ended = "" if passed else f"it isn't past the goal at step {reached.steps:,}, as in the search"
    examples = run.step * run.batch_size + noise.extra
    counted = (noise.extra, examples, len(run.splits.train))
    return Probed(read, _planned(study), reached.steps, passed, ended, *counted)


def own_run(
    storage: Storage,
    name: str,
    spec: str,
    studies: Sequence[Study],
    options: ProbeOptions,
    stop: Event,
    say: Say,
) -> Probed:
    """Train a run of a workload without a winner: see `probe`.

    studies -- of the workload, which have no winner yet
    """
    use_one_thread()
    sizes = [s.batch_size for s in studies] or load_trained(spec).batch_sizes
    batch_size = middle(sizes) if options.batch_size is None else options.batch_size
    device = resolve(options.device)
    wanted = Wanted.by(studies[0]) if studies else Wanted(spec, [batch_size])
    wanted = replace(wanted, batch_sizes=[batch_size])
    known = KnownMicroBatchSizes(storage, impatient, device)
    loaded = Found(wanted, spec).on([device], known.recall)
    space = loaded.workload.space(batch_size)
    values = point_at(space, [0.5] * len(dimensions(space)))
    refuse_unreadable(loaded.run(batch_size, values, _SEED))
    planned = _planned(studies[0]) if studies else (spec,)
    examples, tested = 0, None
    with time_limit(options.max_time, stop) as over:
        rates = space["learning_rate"]
        if isinstance(rates, Log):
            say(f"Learning-rate range test of {name} at batch size {batch_size:,} …")
            wide = Log(rates.low / _WIDER, rates.high * _WIDER)
            found = range_test(loaded.run(batch_size, values, _SEED), wide, stop)
            if found is not None:
                tested = _tested(found, varies=callable(loaded.workload.search_space))
                values["learning_rate"] = _round(found.lowest / _BELOW)
                examples = found.steps * batch_size
        run, noise, result = _trained(loaded, batch_size, values, stop, say)
    if stop.is_set() and not over.is_set():
        raise BatchfrontError("interrupted; nothing was kept")
    read = _read(name, None, run, noise, loaded)
    passed = result is not None and result.outcome == Outcome.REACHED
    ended = "its time was over" if result is None else result.reason.splitlines()[0]
    examples += run.step * batch_size + noise.extra
    counted = (noise.extra, examples, len(run.splits.train))
    return Probed(read, planned, None, passed, "" if passed else ended, *counted, tested)


def _tested(found: RangeTest, *, varies: bool) -> Tested:
    """What a range test says of the learning rates to search."""
    low, high = _RATES
    rates = Log(_round(found.lowest / low), _round(found.lowest * high))
    return Tested(found.lowest, found.diverged, rates, varies)


def _planned(study: Study) -> tuple[str, ...]:
    """What `plan` was told of the workload."""
    return study.spec, *(() if study.variant is None else ("--variant", study.variant))


def _round(rate: float) -> float:
    return float(f"{rate:.2g}")


def _trained(
    loaded: LoadedWorkload, batch_size: int, values: Metaparameters, stop: Event, say: Say
) -> tuple[ModelRun, NoiseScale, TrialResult | None]:
    """A run to its end, or to the stop: then it has no result. One that diverges tries again with
    a smaller learning rate."""
    for left in reversed(range(_TRIES)):
        rate = float(values["learning_rate"])
        say(f"Training with a learning rate of {rate:.3g}, with its gradient noise …")
        run = loaded.run(batch_size, values, _SEED)
        noise = NoiseScale(run)
        heat: Heat[_Only, ModelRun] = Heat(
            RaceRules(loaded.goal, loaded.stopping), [(_Only(), run)]
        )
        result: TrialResult | None = None
        while heat.live and not stop.is_set():
            result = next((ended for _, ended in heat.round(stop)), None)
        if result is not None and result.outcome == Outcome.FAILED:
            raise BatchfrontError(f"{loaded.workload.name}: {result.reason.splitlines()[0]}")
        if result is None or result.outcome != Outcome.DIVERGED or not left:
            break
        values = {**values, "learning_rate": rate / _SLOWER}
    return run, noise, result


def _read(
    name: str, trial: int | None, run: ModelRun, noise: NoiseScale, loaded: LoadedWorkload
) -> Probe:
    readings = tuple(noise.readings)
    versions = dict(loaded.versions)
    told = (name, run.batch_size, trial, dict(run.values), run.seed, run.step)
    return Probe(*told, readings, versions)
