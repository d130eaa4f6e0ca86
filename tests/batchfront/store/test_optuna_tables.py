"""What we write into Optuna's tables is what Optuna's own API reads, and would have written."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from batchfront.outcomes import TrialResult
from batchfront.store.optuna_tables import create_study, distribution
from batchfront.store.optuna_trials import create_trials, finish_trials
from batchfront.store.url import Storage
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Linear,
    Log,
    ReverseLog,
    SearchSpace,
    dimensions,
    point_at,
    quasi_random_points,
)

pytestmark = pytest.mark.every_storage

SPACE: SearchSpace = {
    "learning_rate": Log(1e-3, 1.0),
    "momentum": ReverseLog(0.0, 0.99),
    "smoothing": Linear(0.0, 0.2),
    "layers": Integer(1, 8),
    "units": Integer(2, 1024, log=True),
    "activation": Choice("relu", 0.5, 3, True),
    "decay": 0.25,
}
POINTS = quasi_random_points(SPACE, 4, seed=0)
NAME = "clouds/mlp/momentum/b4"


@pytest.fixture
def rdb(database: str) -> Iterator[optuna.storages.RDBStorage]:
    """Optuna's own view of the same database."""
    opened = optuna.storages.RDBStorage(database)
    yield opened
    opened.engine.dispose()


def make_study(storage: Storage, **attributes: Any) -> int:
    with storage.write() as conn:
        made = {"batchfront": "1", "batch_size": 4, **attributes}
        return create_study(conn, NAME, made, taken=())


def make_trials(storage: Storage, study_id: int, numbers: range = range(4)) -> list[int]:
    draws = {number: POINTS[number] for number in numbers}
    with storage.write() as conn:
        told = {number: {"versions": {"torch": "2"}} for number in numbers}
        return create_trials(conn, study_id, NAME, SPACE, draws, told)


def load(rdb: optuna.storages.RDBStorage) -> optuna.Study:
    return optuna.load_study(study_name=NAME, storage=rdb)


def test_a_study_is_read_back_with_direction_and_attributes(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    goal = {"metric": "error rate", "value": 0.1}
    study_id = make_study(storage, goal=goal, batch_size=4, note="é")
    study = load(rdb)
    assert study._study_id == study_id
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.metric_names == ["steps to target"]
    said = {"batchfront": "1", "goal": goal, "batch_size": 4, "note": "é"}
    assert study.user_attrs == said
    assert study.trials == []


def test_running_trials_are_read_back_with_number_parameters_and_distributions(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    ids = make_trials(storage, make_study(storage))
    trials = load(rdb).trials
    assert [trial._trial_id for trial in trials] == ids
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    for trial, point in zip(trials, POINTS, strict=True):
        assert trial.state == TrialState.RUNNING
        assert trial.params == {name: point[name] for name in dimensions(SPACE)}
        assert trial.distributions == {n: distribution(d) for n, d in dimensions(SPACE).items()}
        assert trial.user_attrs == {"versions": {"torch": "2"}}
        assert trial.datetime_start is not None
        assert abs(datetime.now() - trial.datetime_start) < timedelta(minutes=10)
        assert trial.datetime_complete is None


def test_trials_keep_their_numbers_in_whatever_order_they_start(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    study_id = make_study(storage)
    later = make_trials(storage, study_id, range(2, 4))
    assert [t.number for t in load(rdb).trials] == [2, 3]
    first = make_trials(storage, study_id, range(2))
    trials = load(rdb).trials
    assert [t.number for t in trials] == [0, 1, 2, 3]
    assert [t._trial_id for t in trials] == [*first, *later]
    assert [t.params["learning_rate"] for t in trials] == [p["learning_rate"] for p in POINTS]


def finish(storage: Storage, ids: list[int]) -> None:
    results = (
        TrialResult(Outcome.CAPPED, "late", 120, metric=0.5, metric_step=120),
        TrialResult(Outcome.REACHED, "", 70, (), 70, metric=0.11, metric_step=64),
        TrialResult(Outcome.FAILED, "a\nb", 3, engine="sequential"),
        TrialResult(Outcome.REACHED, "", 69, (), 69, metric=0.09, metric_step=69),
    )
    with storage.write() as conn:
        finish_trials(conn, dict(zip(ids, results, strict=True)))


def test_ended_trials_are_read_back_with_state_value_metric_and_attributes(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    finish(storage, make_trials(storage, make_study(storage)))
    capped, reached, failed, best = load(rdb).trials
    assert (capped.state, capped.value) == (TrialState.PRUNED, None)
    assert capped.intermediate_values == {120: 0.5}
    said = {"outcome": "capped", "reason": "late", "steps": 120}
    assert capped.user_attrs == {"versions": {"torch": "2"}, **said}
    assert (reached.state, reached.value) == (TrialState.COMPLETE, 70.0)
    assert reached.intermediate_values == {64: 0.11}
    assert (failed.state, failed.values, failed.intermediate_values) == (TrialState.FAIL, None, {})
    assert failed.user_attrs["reason"] == "a\nb"
    assert failed.user_attrs["engine"] == "sequential"
    for trial in (capped, reached, failed, best):
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        assert trial.datetime_start <= trial.datetime_complete
    assert load(rdb).best_trial.number == 3
    assert load(rdb).best_value == 69.0


@pytest.mark.parametrize("metric", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_read_back_as_it_was(
    storage: Storage, rdb: optuna.storages.RDBStorage, metric: float
) -> None:
    ids = make_trials(storage, make_study(storage), range(1))
    with storage.write() as conn:
        diverged = TrialResult(Outcome.DIVERGED, "", 7, metric=metric, metric_step=7)
        finish_trials(conn, {ids[0]: diverged})
    assert load(rdb).trials[0].intermediate_values == {7: pytest.approx(metric, nan_ok=True)}


def compared(trial: FrozenTrial) -> dict[str, Any]:
    kept = dict(vars(trial))
    for own in ("_trial_id", "_datetime_start", "datetime_start", "datetime_complete"):
        kept.pop(own, None)
    return kept


def test_optuna_given_the_same_trials_would_have_stored_the_same(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    finish(storage, make_trials(storage, make_study(storage)))
    ours = load(rdb).trials
    theirs = optuna.create_study(study_name="theirs", storage=rdb)
    for trial in ours:
        template = create_trial(
            state=trial.state,
            value=trial.value,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            intermediate_values=trial.intermediate_values,
        )
        rdb.create_new_trial(theirs._study_id, template)
    assert [compared(t) for t in theirs.trials] == [compared(t) for t in ours]


KINDS: list[Dimension] = [
    Log(1e-5, 10.0),
    ReverseLog(0.5, 0.999),
    Linear(-1.0, 1.0),
    Integer(1, 3),
    Integer(1, 4096, log=True),
    Choice("a", "b"),
    Choice(0.5, 1e-4, "none", False),
]


@pytest.mark.parametrize("dimension", KINDS, ids=str)
def test_each_dimension_is_stored_as_optuna_would_store_it(
    storage: Storage, rdb: optuna.storages.RDBStorage, dimension: Dimension
) -> None:
    space = {"x": dimension}
    draws = {n: point_at(space, [n / 8]) for n in range(9)}
    with storage.write() as conn:
        study_id = create_study(conn, NAME, {"batchfront": "1"}, taken=())
        create_trials(conn, study_id, NAME, space, draws, {})
    ours = load(rdb).trials
    theirs = optuna.create_study(study_name="theirs", storage=rdb)
    for draw in draws.values():
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(draw),
            distributions={"x": distribution(dimension)},
        )
        rdb.create_new_trial(theirs._study_id, template)
    assert [t.params for t in ours] == list(draws.values())
    assert [compared(t) for t in ours] == [compared(t) for t in theirs.trials]
    assert [type(t.params["x"]) for t in ours] == [type(draw["x"]) for draw in draws.values()]


def test_a_study_without_a_searched_metaparameter_holds_trials_too(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    study_id = make_study(storage, batch_size=4)
    with storage.write() as conn:
        draws = {0: {"decay": 0.5}, 1: {"decay": 0.5}}
        create_trials(conn, study_id, NAME, {"decay": 0.5}, draws, {})
    assert [t.params for t in load(rdb).trials] == [{}, {}]


def test_optuna_goes_on_numbering_after_our_trials(
    storage: Storage, rdb: optuna.storages.RDBStorage
) -> None:
    finish(storage, make_trials(storage, make_study(storage)))
    assert load(rdb).ask().number == 4
