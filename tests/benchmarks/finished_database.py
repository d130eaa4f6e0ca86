"""A database of finished studies, left by the engine's own plan and ledger: nothing is trained."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.study.study import Filter, Study
from batchfront.vocabulary import Outcome
from tests.benchmarks.noop_trials import VERSIONS
from tests.toy import SPEC, clouds

BATCH_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
TRIALS_A_STUDY = 370
"""About those of the 454 studies of Shallue et al. 2018, with 168,160 trials."""

LOOKS = 32
"""Full looks of a trial whose curve is kept, each at two metrics: 64 measurements."""

_OPEN = 2  # trials of each study that are not done
_SHARES: dict[Outcome, float] = {
    "reached": 1 / 8,
    "diverged": 1 / 8,
    "stalled": 1 / 8,
}  # the rest is capped


def finish_studies(
    storage: Storage,
    trials: int,
    a_study: int = TRIALS_A_STUDY,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> int:
    """Plan workloads of these batch sizes each, and end so many trials of them as a race might.

    A tenth of the trials keep their curves. The number of studies that it took.
    """
    count = max(round(trials / a_study), 1)
    ledger = Ledger(storage, "the one")
    ledger.register("here", 1, "cpu")
    for first in range(0, count, len(batch_sizes)):
        of_workload = tuple(batch_sizes[: count - first])
        name = f"clouds/mlp_{first // len(batch_sizes)}/momentum"
        most = math.ceil(trials / count)
        request = SearchOptions(of_workload, most)
        rng = random.Random(first)
        for index, study in enumerate(_planned(storage, name, request), first):
            extra = trials - count * (most - 1)  # so many studies have one trial more than others
            _end(ledger, study, most - _OPEN - (index >= extra), rng)
    return count


def _planned(storage: Storage, name: str, request: SearchOptions) -> tuple[Study, ...]:
    return plan(storage, SPEC, replace(clouds(), name=name), request).studies


def _end(ledger: Ledger, study: Study, trials: int, rng: random.Random) -> None:
    claimed = ledger.claim(Filter((study.workload,), (study.batch_size,)), lambda _: trials)
    assert claimed is not None
    started = ledger.start(study, claimed[1], study.space, VERSIONS)
    best = 2_000 // study.batch_size + 40
    ended = zip(started, _endings(len(started), best, rng), strict=True)
    assert ledger.finish(study, list(ended)) == []


def _endings(trials: int, best: int, rng: random.Random) -> Iterator[TrialResult]:
    kinds: list[Outcome] = [*_SHARES, "capped"]
    shares = [*_SHARES.values(), 1 - sum(_SHARES.values())]
    for number, kind in enumerate(rng.choices(kinds, shares, k=trials)):
        steps = best + rng.randrange(1 + best // 2)  # with ties
        looks = _looks(steps) if number % 10 == 0 else ()
        if kind == "reached":
            yield TrialResult("reached", "", steps, looks, steps, steps - 1, 0.09, steps, 0.12)
        elif kind == "diverged":
            yield TrialResult("diverged", "the loss is not finite", 7)
        else:
            yield TrialResult(kind, "no use", steps, looks, metric=0.3, metric_step=steps)


def _looks(steps: int) -> tuple[Evaluation, ...]:
    at = sorted({1 + (steps - 1) * look // (LOOKS - 1) for look in range(LOOKS)})
    return tuple(Evaluation(step, 1 / step, 0.9 / step) for step in at)
