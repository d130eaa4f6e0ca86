"""The learning curves that Optuna is shown change no sampler's draws."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from sqlalchemy import delete, func, select

from batchfront.outcomes import Evaluation, TrialResult
from batchfront.store.optuna_tables import create_study, intermediate_values, trials
from batchfront.store.optuna_trials import (
    MOST_SHOWN,
    create_trials,
    finish_trials,
    intermediate_values_of,
    reopen_trials,
    spread,
)
from batchfront.store.url import Storage
from batchfront.study.adaptive_sampler import sample
from batchfront.study.points import quasi_random
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Choice, Log, SearchSpace, quasi_random_points
from tests.searches import claim, planned, stored, worker

SPACE: SearchSpace = {"learning_rate": Log(1e-3, 1.0), "units": Choice(8, 16, 32)}


def ending(number: int) -> TrialResult:
    """The end of a trial, a third of which reach the goal, with the curve that led there."""
    last = 20 + number
    curve = tuple(
        Evaluation(step, None, 1.0 / (step + number % 5)) for step in range(1, last + 1, 3)
    )
    told: dict[str, Any] = {"evaluations": curve, "metric": 0.3 + number / 99, "metric_step": last}
    if number % 3:
        outcome = (Outcome.CAPPED, Outcome.STALLED)[number % 2]
        return TrialResult(outcome, "", last, **told)
    return TrialResult(
        Outcome.REACHED, "", last, steps_to_target=last, steps_lower=last - 1, **told
    )


def finished(storage: Storage, name: str, *, curves: bool) -> None:
    """A study of Optuna's with 24 trials that have ended."""
    points = dict(enumerate(quasi_random_points(SPACE, 24, seed=0)))
    with storage.write() as conn:
        study_id = create_study(conn, name, {"batchfront": "1"}, taken=())
        ids = create_trials(conn, study_id, name, SPACE, points, {})
        ends = [ending(number) for number in points]
        ends = ends if curves else [replace(one, evaluations=()) for one in ends]
        finish_trials(conn, dict(zip(ids, ends, strict=True)))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "sampler",
    [
        lambda: TPESampler(seed=3),
        lambda: TPESampler(seed=3, multivariate=True, group=True, constant_liar=True),
        lambda: GPSampler(seed=3),
        lambda: RandomSampler(seed=3),
    ],
    ids=["tpe", "multivariate tpe", "gp", "random"],
)
def test_a_sampler_of_optunas_draws_the_same_to_the_bit(
    storage: Storage, database: str, sampler: Callable[[], BaseSampler]
) -> None:
    drawn = {}
    for name, curves in (("last values", False), ("curves", True)):
        finished(storage, name, curves=curves)
        study = optuna.load_study(study_name=name, storage=database, sampler=sampler())
        assert (max(len(one.intermediate_values) for one in study.trials) > 1) == curves
        axes = study.trials[0].distributions
        drawn[name] = [study.ask(axes).params for _ in range(4)]
    assert drawn["curves"] == drawn["last values"]


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_of_ours_draws_the_same_to_the_bit(storage: Storage, sampler: str) -> None:
    asked = {"batch_sizes": (4,), "sampler": sampler, "together": 1, "trials": 16}
    (study,) = planned(storage, **asked)
    ledger = worker(storage)
    for number in range(14):
        _, (slot,) = claim(ledger, limit=1)
        slot = replace(slot, params=quasi_random(study, number, 1)[0])
        (slot,) = ledger.start(study, [slot], study.space, {})
        assert ledger.finish(study, [(slot, ending(number))]) == []
    with_curves = sample(storage, stored(storage, study.name), [14, 15])
    assert _only_the_last_is_left(storage, study) > 100
    assert sample(storage, stored(storage, study.name), [14, 15]) == with_curves


def _only_the_last_is_left(storage: Storage, study: Study) -> int:
    """Have Optuna know of each trial what it did before it was shown curves; how many are gone."""
    table = intermediate_values.c
    with storage.write() as conn:
        own = select(trials.c.trial_id).where(trials.c.study_id == study.id)
        last = select(func.max(table.trial_intermediate_value_id)).group_by(table.trial_id)
        earlier = table.trial_id.in_(own), table.trial_intermediate_value_id.not_in(last)
        return int(conn.execute(delete(intermediate_values).where(*earlier)).rowcount)


def test_the_last_value_is_what_it_was_before_curves_were_shown() -> None:
    for number in range(24):
        one = ending(number)
        assert intermediate_values_of(one)[-1] == (one.metric_step, one.metric)
        before = replace(one, evaluations=())
        assert intermediate_values_of(before) == [(one.metric_step, one.metric)]


def test_what_a_trial_shows_after_its_goal_is_not_told() -> None:
    after = Evaluation(90, None, 0.01)
    one = ending(0)
    gone_on = replace(one, evaluations=(*one.evaluations, after))
    assert intermediate_values_of(gone_on) == intermediate_values_of(one)


def test_a_trial_without_an_evaluation_has_none() -> None:
    assert intermediate_values_of(TrialResult(Outcome.FAILED, "", 3)) == []


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    curve = [(step, 1.0) for step in range(1, 5_001)]
    shown = spread(curve, MOST_SHOWN)
    assert len(shown) == MOST_SHOWN == len({*shown})
    assert (shown[0], shown[-1]) == (curve[0], curve[-1])
    assert spread(curve[:7], MOST_SHOWN) == curve[:7]


def test_a_trial_that_is_begun_again_has_none_of_its_values(storage: Storage) -> None:
    finished(storage, "curves", curves=True)
    with storage.write() as conn:
        ids = list(conn.execute(select(trials.c.trial_id)).scalars())
        reopen_trials(conn, ids)
        assert conn.execute(select(func.count()).select_from(intermediate_values)).scalar() == 0
