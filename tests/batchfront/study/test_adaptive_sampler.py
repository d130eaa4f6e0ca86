"""Adaptive samplers draw inside the space, from all that the study has shown so far."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import select

from batchfront.frontier.frontier import load_frontier
from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study import adaptive_sampler as sampling
from batchfront.study.shown import read_shown
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.workload.search_space import (
    Choice,
    Integer,
    Linear,
    Log,
    ReverseLog,
    SearchSpace,
    dimensions,
)
from batchfront.workload.workload import Workload
from tests.searches import expire, work, worker
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage

SPACE: SearchSpace = {
    "learning_rate": Log(1e-3, 0.1),
    "momentum": ReverseLog(0.0, 0.95),
    "dropout": Choice(0.0, 0.1, 0.3),
    "label_smoothing": Linear(0.0, 0.2),
    "decay_steps": Integer(20, 150, log=True),
    "decay_factor": 0.5,
}

samplers = pytest.mark.parametrize("sampler", ["tpe", "gp"])


def workload() -> Workload:
    return replace(clouds(), search_space=SPACE)


def planned(storage: Storage, sampler: str, **asked: Any) -> Study:
    """One by one, unless asked for otherwise."""
    asked = {"batch_sizes": (4,), "sampler": sampler, "together": 1, **asked}
    request = SearchOptions(**{"trials": 15, **asked})
    (study,) = plan(storage, SPEC, workload(), request).studies
    return study


def ended(storage: Storage, study: Study, draws: int) -> None:
    """Draw so many trials and end them in every way there is; the last is left running."""
    ledger = worker(storage, "one")
    for n in range(draws):
        claimed = ledger.claim(Filter(), lambda _: 1)
        assert claimed is not None
        (slot,) = claimed[1]
        slot = replace(slot, params=sampling.sample(storage, study, [slot.number])[0])
        (slot,) = ledger.start(study, [slot], SPACE, {})
        if n < draws - 1:
            assert ledger.finish(study, [(slot, ending(n))]) == []


def ending(n: int) -> TrialResult:
    kinds = [
        TrialResult(
            "reached", "", 90 - n, (), steps_to_target=90 - n, metric=0.09, metric_step=90 - n
        ),
        TrialResult("capped", "", 80, (), metric=0.3 + n / 100, metric_step=64),
        TrialResult("diverged", "", 5, ()),
        TrialResult("failed", "", 1, ()),
        TrialResult("stalled", "", 128, (), metric=0.6, metric_step=128),
    ]
    return kinds[n % len(kinds)]


@samplers
def test_every_point_lies_in_the_space_and_keeps_its_kind(storage: Storage, sampler: str) -> None:
    study = planned(storage, sampler)
    ended(storage, study, 14)
    with storage.read() as conn:
        found = conn.execute(select(slots.c.params).where(slots.c.params.is_not(None))).scalars()
        draws = [json.loads(params) for params in found]
    assert len(draws) == 14
    for draw in draws:
        assert draw.keys() == SPACE.keys()
        assert 1e-3 <= draw["learning_rate"] <= 0.1
        assert 0.0 <= draw["momentum"] <= 0.95
        assert draw["dropout"] in (0.0, 0.1, 0.3)
        assert 0.0 <= draw["label_smoothing"] <= 0.2
        assert type(draw["decay_steps"]) is int
        assert 20 <= draw["decay_steps"] <= 150
        assert draw["decay_factor"] == 0.5
    for name in dimensions(SPACE):
        assert len({draw[name] for draw in draws}) > 1


@samplers
def test_the_same_results_give_the_same_point_and_another_slot_another(
    storage: Storage, sampler: str
) -> None:
    study = planned(storage, sampler)
    ended(storage, study, 12)
    drawn = sampling.sample(storage, study, [12])
    assert sampling.sample(storage, study, [12]) == drawn
    assert sampling.sample(storage, study, [13]) != drawn
    assert sampling.sample(storage, replace(study, seed=1), [12]) != drawn


def test_the_sampler_sees_every_sampled_trial_with_what_it_showed_the_running_one_too(
    storage: Storage,
) -> None:
    study = planned(storage, "tpe")
    ended(storage, study, 6)
    with storage.read() as conn:
        seen = sampling._trials(study, read_shown(conn, study).values())
    assert [t.state for t in seen] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    needed = [None if t.value is None else round(math.exp(t.value)) for t in seen]
    assert needed == [90, round(80 * 3.1), 150, None, 150 * 6, None]
    for trial in seen:
        assert trial.params["dropout"] in (0, 1, 2)
        assert all(0 <= v <= 1 for name, v in trial.params.items() if name != "dropout")


def capped(storage: Storage, study: Study) -> list[float]:
    """What the sampler is told of the first two trials that were capped."""
    with storage.read() as conn:
        seen = sampling._trials(study, read_shown(conn, study).values())
    return [float(seen[n].value or 0.0) for n in (1, 6)]


def test_what_missed_the_goal_by_more_seems_further_from_it_also_of_a_score(
    storage: Storage,
) -> None:
    study = planned(storage, "tpe")
    ended(storage, study, 8)
    less, more = capped(storage, study)
    assert less < more
    goal = {**study.identity["goal"], "better": "higher", "value": 0.9}
    scored = replace(study, identity={**study.identity, "goal": goal})
    more, less = capped(storage, scored)
    assert less < more


def test_an_adaptive_sampler_learns_where_the_good_points_are(storage: Storage) -> None:
    study = planned(storage, "tpe", trials=40)
    ledger = worker(storage, "one")
    rates = []
    while (claimed := ledger.claim(Filter(), lambda _: 1)) is not None:
        (slot,) = claimed[1]
        slot = replace(slot, params=sampling.sample(storage, study, [slot.number])[0])
        assert slot.params is not None
        rate = float(slot.params["learning_rate"])  # the higher, the sooner
        rates.append(rate)
        steps = int(10 / rate)
        (slot,) = ledger.start(study, [slot], SPACE, {})
        ledger.finish(study, [(slot, TrialResult("reached", "", steps, steps_to_target=steps))])
    # Log-uniform draws would lie above the middle of the range, 0.01, half of the time.
    assert sum(rate > 0.01 for rate in rates[-20:]) >= 15


@samplers
def test_a_small_study_runs_from_end_to_end_one_by_one(
    storage: Storage, sampler: str, tmp_path: Path
) -> None:
    path = tmp_path / "adaptive.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from tests.batchfront.study.test_adaptive_sampler import workload as searched\n"
        "from batchfront import Workload\n"
        "def workload() -> Workload: return searched()\n"
    )
    asked = {"sampler": sampler, "together": 1}
    request = SearchOptions(trials=13, batch_sizes=(4,), **asked)
    plan(storage, str(path), workload(), request)
    work(storage, code=(str(path),))
    (point,) = load_frontier(storage, "clouds/mlp/momentum").points
    assert sum(point.outcomes.values()) == 13
    assert "open" not in point.outcomes
    assert "failed" not in point.outcomes
    assert point.steps is not None
    assert point.study.schedule == "one-by-one"


def test_a_released_slot_keeps_its_point(storage: Storage) -> None:
    study = planned(storage, "tpe", trials=1)
    ledger = worker(storage, "one")

    def claimed() -> Slot:
        found = ledger.claim(Filter(), lambda _: 1)
        assert found is not None
        return found[1][0]

    first = claimed()
    assert first.params is None
    drawn = replace(first, params=sampling.sample(storage, study, [0])[0])
    ledger.release([(s, 3) for s in ledger.start(study, [drawn], SPACE, {})])
    assert claimed().params == drawn.params
    ledger = worker(storage, "two")
    expire(storage)
    assert claimed().params == drawn.params
