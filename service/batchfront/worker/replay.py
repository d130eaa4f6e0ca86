"""A trial run again by itself, as it was: to get its weights, and to show that they are its own.

Nothing is written to the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from batchfront.errors import BatchfrontError, IdentityError
from batchfront.frontier.reached_trial import ReachedTrial
from batchfront.outcomes import TrialResult
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.training.engines import Engine, Sequential
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.kept_models import packed
from batchfront.training.run import Run, RunFactory
from batchfront.vocabulary import EngineName, Outcome
from batchfront.worker.backend import Place
from batchfront.worker.kept_winner import facts_of
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import backend_of


@dataclass(frozen=True)
class _Only:
    """The slot of the one trial of a heat."""

    number: int


@dataclass(frozen=True)
class Replayed:
    """How a trial ended that was run again.

    weights -- as it passed the goal, as a file of safetensors; None if it has not
    differs -- in what it was computed otherwise, a clause each: "torch 2.6, and 2.5 in the search"
    """

    reached: ReachedTrial
    result: TrialResult
    weights: bytes | None
    differs: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether it reached the goal at the same step."""
        return self.result.steps_to_target == self.reached.steps


def replay(
    storage: Storage,
    reached: ReachedTrial,
    device: str,
    watch: Callable[[int], None] = lambda _: None,
    code: tuple[str, ...] = (),
) -> Replayed:
    """Run a trial again until it reaches the goal, or ends without.

    device -- by name: "cpu" or "cuda:1"
    watch  -- called with the step that it has come to
    code   -- the folders and files whose code may run, beside the catalog's

    Raises IdentityError if the code found here gives its study another identity, UntrustedCode if
    it may not run, UsageError for a trial that has no weights, and BatchfrontError, with its
    reason, if it fails.
    """
    reached.require_weights(kept=True)  # of a loop, the run says whether it gives any
    study, trial = reached.study, reached.trial
    with TemporaryDirectory(prefix="batchfront-replay-") as folder:
        options = WorkerOptions(device=device, trial_dir=folder, code=code)
        backend = backend_of(study.kind, Place(storage, device, 1, options, impatient, Event()))
        try:
            factory = backend.prepare(study)
            _cut_alike(factory, trial.micro_batch)
            result, weights = _raced(reached, factory, watch)
        except IdentityError as error:
            raise IdentityError(
                f"{error}. A trial is replayed by the code that it was run by: bring the code here "
                "to that version"
            ) from error
        finally:
            backend.close()
    if result.outcome == Outcome.FAILED:
        raise BatchfrontError(f"trial {trial.number}: {result.reason.splitlines()[0]}")
    now = {**factory.versions, "engine": result.engine}
    return Replayed(reached, result, weights, _differences(trial.versions, now))


def _cut_alike(factory: RunFactory[Any], micro_batch: int | None) -> None:
    """Have batches cut as the trial's were, where they are ours to cut."""
    sizes = getattr(factory, "micro_batches", None)
    if sizes is not None:
        sizes.training.limit, sizes.room = micro_batch, None


def _raced(
    reached: ReachedTrial, factory: RunFactory[Any], watch: Callable[[int], None]
) -> tuple[TrialResult, bytes | None]:
    study, trial = reached.study, reached.trial
    kept: list[bytes] = []

    def crossed(slot: _Only, run: Run) -> None:
        if slot.number != trial.number:
            return
        weights = run.weights()
        if weights is None:
            raise BatchfrontError("it has no weights to give")
        kept.append(packed(weights, facts_of(study, trial, run, factory.versions)))

    def run(number: int) -> tuple[_Only, Any]:
        seed = study.trial_seed(trial.number)
        made = factory.run(study.batch_size, trial.params, seed, number=trial.number)
        return _Only(number), made

    engine: Engine[Any] = Sequential()
    runs = [run(trial.number)]
    if trial.versions.get("engine") == EngineName.VECTORIZED:
        engine, runs = _vectorized(runs, run)
    rules = RaceRules(factory.goal, factory.stopping)
    heat: Heat[_Only, Any] = Heat(rules, runs, engine=engine, crossed=crossed)
    ended: dict[int, TrialResult] = {}
    while heat.live:
        ended |= {slot.number: result for slot, result in heat.round(Event())}
        watch(runs[0][1].step)
    return ended[trial.number], kept[0] if kept else None


def _vectorized(
    runs: list[tuple[_Only, Any]], run: Callable[[int], tuple[_Only, Any]]
) -> tuple[Engine[Any], list[tuple[_Only, Any]]]:
    """What computes all as one, and a heat for it: most models are stacked in company alone, for
    which a second run of the same trial will do."""
    from batchfront.training.vectorized.engine import Vectorized
    from batchfront.training.vectorized.forward import is_layered

    layered = is_layered(runs[0][1].model)
    return Vectorized(), runs if layered else [*runs, run(-1)]


def _differences(before: Mapping[str, str], now: Mapping[str, Any]) -> tuple[str, ...]:
    named = {"source": "code"}
    return tuple(
        f"{named.get(key, key)} {now.get(key)}, and {version} in the search"
        for key, version in before.items()
        if now.get(key) != version
    )
