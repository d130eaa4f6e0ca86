"""The dashboard is shown learning curves, values of pruned trials, and importances of all."""

from collections.abc import Iterator

import pytest
from optuna.trial import FrozenTrial
from sqlalchemy import delete, func, select

from batchfront.outcomes import Evaluation, TrialResult
from batchfront.report.web.dashboard import Studies, dashboard
from batchfront.report.web.dashboard_trials import importances
from batchfront.store.optuna_tables import create_study, intermediate_values, trial_values
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import dimensions
from tests.searches import planned, started, worker
from tests.web import ask, served

CURVE = tuple(Evaluation(step, 1.0, 1.0 / step) for step in range(1, 40))
SHOWN = {"evaluations": CURVE, "metric": 0.02, "metric_step": 40}
ENDS = (
    TrialResult(Outcome.REACHED, "", 40, steps_to_target=40, steps_lower=39, **SHOWN),
    TrialResult(Outcome.CAPPED, "", 40, **SHOWN),
    TrialResult(Outcome.STALLED, "", 40, **SHOWN),
    TrialResult(Outcome.DROPPED, "", 40, **SHOWN),
    TrialResult(Outcome.FAILED, "an error", 40),
)


@pytest.fixture
def study(storage: Storage) -> Study:
    """A study whose trials have ended in many ways; one still runs."""
    planned(storage, batch_sizes=(4,), trials=6)
    ledger = worker(storage)
    study, taken = started(ledger)
    assert ledger.finish(study, list(zip(taken, ENDS, strict=False))) == []
    return study


@pytest.fixture
def shown(storage: Storage) -> Iterator[Studies]:
    opened = Studies(storage, changes=False)
    yield opened
    opened.engine.dispose()


def trials(shown: Studies, study: Study) -> list[FrozenTrial]:
    return shown.get_all_trials(study.id)


def test_a_pruned_trial_has_the_steps_by_which_it_had_not_reached_the_goal(
    shown: Studies, study: Study
) -> None:
    budget = float(study.identity["step_budget"])
    values = [trial.values for trial in trials(shown, study)]
    assert values == [[40.0], [40.0], [budget], None, None, None]
    assert shown.get_best_trial(study.id).number == 0


def test_none_of_it_is_written(storage: Storage, shown: Studies, study: Study) -> None:
    trials(shown, study)
    with storage.read() as conn:
        assert conn.execute(select(func.count()).select_from(trial_values)).scalar() == 1


def test_a_trial_from_before_curves_were_kept_has_its_curve(
    storage: Storage, shown: Studies, study: Study
) -> None:
    before = [trial.intermediate_values for trial in trials(shown, study)]
    assert [len(curve) for curve in before] == [40, 40, 40, 40, 0, 0]
    with storage.write() as conn:
        conn.execute(delete(intermediate_values).where(intermediate_values.c.step < 40))
    assert [trial.intermediate_values for trial in trials(shown, study)] == before


def test_a_study_that_is_none_of_ours_stays_as_it_is(storage: Storage, shown: Studies) -> None:
    with storage.write() as conn:
        theirs = create_study(conn, "theirs", {"made": "by others"}, taken=())
    assert shown.get_all_trials(theirs) == []


def test_importances_are_told_of_pruned_trials_too(storage: Storage, study: Study) -> None:
    with served(dashboard(storage)) as address:
        answered = ask(address, f"/api/studies/{study.id}/param_importances").json
        unknown = ask(address, "/api/studies/99/param_importances")
    (found,) = answered["param_importances"]
    assert {one["name"] for one in found} == {*dimensions(study.space)}
    assert sum(one["importance"] for one in found) == pytest.approx(1.0)
    assert "FloatDistribution" in {one["distribution"] for one in found}
    assert unknown.status == 404


def test_importances_of_a_single_value_are_left_to_the_dashboard(
    shown: Studies, study: Study
) -> None:
    assert importances(trials(shown, study)[:1]) is None
