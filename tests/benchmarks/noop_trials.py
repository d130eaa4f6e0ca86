"""Trials in which nothing is trained, for measuring what keeping their record costs."""

import math
import random
from collections.abc import Sequence

from sqlalchemy import text, update

from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.optuna_tables import distribution
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.workload.search_space import dimensions
from tests.toy import SPEC, clouds

ALL = Filter()
VERSIONS = {"batchfront": "0", "torch": "2", "device": "cpu", "source": "0123456789abcdef"}
SPACE = clouds().space(4)
DISTRIBUTIONS = {name: distribution(kind) for name, kind in dimensions(SPACE).items()}
"""The same for Optuna."""

_LOOK = 2**0.5
_DRAWN = 100
_MORE = """INSERT INTO bf_slots (study_id, number, state, params, fence, attempts, deaths, steps)
    SELECT study_id, n, 'free', params, 0, 0, 0, 0
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    JOIN bf_slots ON number = n % :first"""


def planned(storage: Storage, trials: int, batch_sizes: Sequence[int]) -> tuple[Study, ...]:
    """A study for each batch size, with this many trials each; only the first have a draw of
    their own, which in so many would take minutes."""
    first = min(trials, _DRAWN)
    found = plan(storage, SPEC, clouds(), SearchOptions(tuple(batch_sizes), first)).studies
    if trials > first:
        with storage.write() as conn:
            conn.execute(text(_MORE), {"first": first, "last": trials - 1})
            conn.execute(update(studies).values(trials=trials))
    return found


def race(
    ledger: Ledger, heat: int, ending: TrialResult, wanted: Filter = ALL
) -> tuple[Study, list[Slot]] | None:
    """Claim, start and finish a heat of at most so many trials; None if nothing is free."""
    claimed = ledger.claim(wanted, lambda _: heat)
    if claimed is None:
        return None
    study, taken = claimed
    started = ledger.start(study, taken, SPACE, VERSIONS)
    ledger.finish(study, [(slot, ending) for slot in started])
    return study, started


def reached(steps: int, curve: bool = False) -> TrialResult:
    """A trial that reached its goal; with `curve`, and its looks on the way."""
    return TrialResult(
        "reached",
        f"validation error rate < 0.1 at step {steps}",
        steps,
        _looks(steps) if curve else (),
        steps_to_target=steps,
        steps_lower=max(steps - 1, 0),
        metric=0.09,
        metric_step=steps,
        test_metric=0.12,
    )


def capped(steps: int, cap: int) -> TrialResult:
    """A trial that was beaten, with its looks."""
    looks = _looks(steps)
    reason = f"another trial reached the goal in {cap} steps"
    return TrialResult(
        "capped", reason, steps, looks, metric=looks[-1].metric, metric_step=looks[-1].step
    )


def stalled(steps: int) -> TrialResult:
    """A trial that was given up, with its looks."""
    looks = _looks(steps)
    reason = "no progress in the last half of its steps"
    return TrialResult(
        "stalled", reason, steps, looks, metric=looks[-1].metric, metric_step=looks[-1].step
    )


def _looks(steps: int) -> tuple[Evaluation, ...]:
    rungs = range(math.floor(math.log(steps) / math.log(_LOOK) + 1e-9) + 1)
    at = sorted({math.ceil(_LOOK**rung - 1e-9) for rung in rungs})
    return tuple(Evaluation(step, random.random(), random.random()) for step in at)
