"""The frontier: the best trial of every batch size, and how all the others ended."""

from functools import partial
from pathlib import Path

import optuna
import pytest

from batchfront.errors import StorageError, UsageError
from batchfront.frontier.frontier import load_frontier, load_frontiers
from batchfront.frontier.queries import load_trials, workload_names
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.study.study import Filter
from tests import searches
from tests.benchmarks.aggregation import (
    best_through_optuna,
    differences,
    ours,
    through_optuna,
)
from tests.benchmarks.finished_database import finish_studies
from tests.reading import Measurement, load_curves
from tests.searches import NAME, claim, worker
from tests.toy import POISONED, clouds, poisoned

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=5)


def reached(steps: int, lower: int) -> TrialResult:
    looks = (Evaluation(1, 1.4, 0.7), Evaluation(32, float("inf"), 0.2))
    return TrialResult(
        "reached", "", steps, looks, steps, lower, metric=0.09, metric_step=steps, test_metric=0.11
    )


CAPPED = TrialResult("capped", "another was first", 40)
DIVERGED = TrialResult("diverged", "not finite", 3)


def end(storage: Storage, batch_size: int, *endings: TrialResult) -> None:
    """The first slots of a study end so, in the order of their numbers."""
    ledger = worker(storage, f"worker-{batch_size}")
    study, taken = claim(ledger, len(endings), Filter(batch_sizes=(batch_size,)))
    ours = ledger.start(study, taken, clouds().space(batch_size), {"torch": "2", "device": "cpu"})
    assert ledger.finish(study, list(zip(ours, endings, strict=True))) == []


def test_the_best_trial_is_the_one_with_the_fewest_steps(storage: Storage) -> None:
    planned(storage)
    end(storage, 4, CAPPED, reached(41, 40), reached(40, 39), DIVERGED)
    frontier = load_frontier(storage, NAME)
    point, open_point = frontier.points
    assert (point.batch_size, point.steps, point.steps_lower) == (4, 40, 39)
    assert point.examples == 160
    assert point.best is not None
    assert point.best.number == 2
    assert point.params == load_trials(storage, point.study.id)[2].params
    assert point.study.train_examples == 96
    assert point.outcomes == {"capped": 1, "reached": 2, "diverged": 1, "open": 1}
    assert frontier.reached == (point,)
    assert (open_point.steps, open_point.examples, open_point.best) == (None, None, None)
    assert (open_point.params, open_point.edges) == ({}, {})
    assert open_point.outcomes == {"open": 5}


def test_of_equals_the_lowest_number_is_the_best(storage: Storage) -> None:
    planned(storage)
    end(storage, 4, CAPPED, reached(40, 39), reached(40, 39))
    best = load_frontier(storage, NAME).points[0].best
    assert best is not None
    assert best.number == 1


def test_the_best_is_optunas_best_trial_and_has_its_number_and_parameters(
    storage: Storage,
) -> None:
    planned(storage)
    end(storage, 4, CAPPED, reached(41, 40), DIVERGED, reached(40, 39))
    point = load_frontier(storage, NAME).points[0]
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    theirs = optuna.load_study(study_name=point.study.name, storage=rdb).best_trial
    rdb.engine.dispose()
    assert point.best is not None
    assert (theirs.number, theirs.value) == (point.best.number, point.steps)
    fixed = {"decay_steps": 150}
    assert {**theirs.params, **fixed} == point.params


def test_every_study_of_a_database_is_as_optunas_own_api_gives_it(storage: Storage) -> None:
    assert finish_studies(storage, trials=300, a_study=20) == 15  # of two workloads, with ties
    url = storage.url.render_as_string(hide_password=False)
    mine, theirs = ours(load_frontiers(storage)), through_optuna(url)
    assert [len(frontier.points) for frontier in load_frontiers(storage)] == [13, 2]
    assert sum(sum(states.values()) for _, states in mine.values()) == 270  # the rest is not done
    assert differences(mine, theirs, best_through_optuna(url)) == []


def test_a_study_without_a_winner_has_a_point_without_steps(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    end(storage, 4, DIVERGED, TrialResult("exhausted", "", 150, metric=0.3, metric_step=150))
    (point,) = load_frontier(storage, NAME).points
    assert point.steps is None
    assert point.outcomes == {"diverged": 1, "exhausted": 1}
    assert load_frontier(storage, NAME).reached == ()


def test_points_come_by_batch_size_in_whatever_order_they_were_planned(storage: Storage) -> None:
    planned(storage, batch_sizes=(16,))
    planned(storage, batch_sizes=(4, 32, 8))
    sizes = [point.batch_size for point in load_frontier(storage, NAME).points]
    assert sizes == [4, 8, 16, 32]


def test_a_frontier_as_plain_data_has_the_promised_keys(storage: Storage) -> None:
    planned(storage)
    end(storage, 4, reached(40, 39))
    plain = load_frontier(storage, NAME).to_dict()
    assert plain.keys() == {"workload", "goal", "code", "points"}
    assert plain["workload"] == NAME
    assert plain["goal"] == {"metric": "error rate", "better": "lower", "value": 0.1}
    first, second = plain["points"]
    keys = {"batch_size", "steps", "steps_lower", "examples", "trial", "params", "outcomes"}
    assert keys <= first.keys() == second.keys()
    assert (first["steps"], first["trial"]) == (40, 0)
    assert first["params"].keys() == clouds().search_space.keys()  # type: ignore[union-attr]
    assert (second["steps"], second["trial"], second["params"]) == (None, None, {})


def test_a_winner_at_an_end_of_the_search_space_is_marked(storage: Storage) -> None:
    planned(storage, trials=40, batch_sizes=(4,))
    trials = load_trials(storage, load_frontier(storage, NAME).points[0].study.id)
    highest = max(trials, key=lambda t: float(t.params["learning_rate"]))
    endings = [CAPPED] * highest.number + [reached(40, 39)]
    end(storage, 4, *endings)
    assert load_frontier(storage, NAME).points[0].edges["learning_rate"] == "high"


def test_a_goal_reads_as_what_it_asks(storage: Storage) -> None:
    planned(storage, goal=0.25)
    assert load_frontier(storage, NAME).goal_text == "validation error rate < 0.25"


def test_the_versions_are_all_that_trials_ran_on(storage: Storage) -> None:
    planned(storage)
    assert load_frontier(storage, NAME).versions == {}
    end(storage, 4, CAPPED)
    assert load_frontier(storage, NAME).versions == {"torch": ["2"], "device": ["cpu"]}


def test_curves_are_the_kept_measurements_by_trial_and_step(storage: Storage) -> None:
    study = planned(storage, batch_sizes=(4,))[0]
    end(storage, 4, CAPPED, reached(40, 39))
    curves = load_curves(storage, study.id)
    assert curves.keys() == {1}
    steps = [point.step for point in curves[1]]
    assert steps == sorted(steps)
    assert set(curves[1]) == {
        Measurement(1, "train", "loss", 1.4),
        Measurement(1, "validation", "error rate", 0.7),
        Measurement(32, "train", "loss", None),
        Measurement(32, "validation", "error rate", 0.2),
        Measurement(40, "validation", "error rate", 0.09),
        Measurement(40, "test", "error rate", 0.11),
    }
    assert load_curves(storage, study.id + 1) == {}


def test_several_workloads_of_one_database_are_kept_apart(storage: Storage) -> None:
    planned(storage)
    plan(storage, POISONED, poisoned(), SearchOptions(trials=2, batch_sizes=(4,)))
    end(storage, 16, reached(40, 39))
    names = [NAME, "clouds/poisoned/momentum"]
    assert workload_names(storage) == names
    assert [f.workload for f in load_frontiers(storage)] == names
    assert [f.workload for f in load_frontiers(storage, names[1:])] == names[1:]
    assert [len(f.points) for f in load_frontiers(storage)] == [2, 1]


def test_an_unknown_workload_is_refused_with_those_there_are(storage: Storage) -> None:
    with pytest.raises(
        UsageError,
        match=r"no studies of 'x/y/z' in database .*: `batchfront run .*`, say, makes some there",
    ):
        load_frontier(storage, "x/y/z")
    planned(storage)
    with pytest.raises(UsageError, match=f"there are: {NAME}"):
        load_frontier(storage, "x/y/z")


def test_a_frontier_is_loaded_from_a_url_too(storage: Storage, tmp_path: Path) -> None:
    planned(storage)
    url = storage.url.render_as_string(hide_password=False)
    assert load_frontier(url, NAME).to_dict() == load_frontier(storage, NAME).to_dict()
    with pytest.raises(StorageError, match="no database"):
        load_frontier(f"sqlite:///{tmp_path}/none.db", NAME)
