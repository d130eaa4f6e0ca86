"""DataFrames for notebooks: the frontier, and all trials and measurements of a workload."""

import math
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import event, update

from batchfront.errors import UsageError
from batchfront.frontier.dataframes import load_measurements_frame, load_trials_frame
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from tests.batchfront.frontier.test_frontier import CAPPED, DIVERGED, NAME, end, planned, reached
from tests.reading import load_curves
from tests.toy import POISONED, poisoned

pytestmark = pytest.mark.every_storage


@pytest.fixture
def ended(storage: Storage) -> Storage:
    """Two batch sizes with five trials each, four of which are done; and another workload."""
    planned(storage)
    end(storage, 4, CAPPED, reached(41, 40), reached(40, 39), DIVERGED)
    plan(storage, POISONED, poisoned(), SearchOptions(trials=2, batch_sizes=(4,)))
    return storage


def test_a_frontier_as_a_frame_has_a_row_for_each_batch_size(ended: Storage) -> None:
    frontier = load_frontier(ended, NAME)
    frame = frontier.to_frame()
    whole = ["batch_size", "steps", "steps_lower", "examples", "trial", "trials"]
    assert list(frame.columns[:6]) == whole
    assert frame.loc[0, whole].tolist() == [4, 40, 39, 160, 2, 5]
    assert frame.loc[1, "steps"] is pd.NA
    assert frame["steps"].dtype == "Int64"
    assert frame["outcomes_open"].tolist() == [1, 5]
    assert frame["outcomes_reached"].tolist() == [2, 0]
    assert frame.loc[0, "params_momentum"] == frontier.points[0].params["momentum"]
    assert math.isnan(frame.loc[1, "params_momentum"])


def test_a_frame_of_trials_is_what_loading_each_study_gives(ended: Storage) -> None:
    frame = load_trials_frame(ended, NAME)
    assert len(frame) == 10
    for point in load_frontier(ended, NAME).points:
        mine = frame[frame["batch_size"] == point.batch_size]
        trials = load_trials(ended, point.study.id)
        assert mine["trial"].tolist() == [trial.number for trial in trials]
        for field in ("outcome", "steps", "steps_to_target", "steps_lower", "metric"):
            expected = [getattr(trial, field) for trial in trials]
            assert [_plain(value) for value in mine[field]] == expected, field
        for name in trials[0].params:
            assert mine[f"params_{name}"].tolist() == [trial.params[name] for trial in trials]
    assert set(frame["purpose"]) == {"search"}
    best = frame.loc[frame["steps_to_target"].idxmin()]
    assert (best["batch_size"], best["trial"], best["steps_to_target"]) == (4, 2, 40)


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


def test_a_frame_of_measurements_is_every_curve(ended: Storage) -> None:
    frame = load_measurements_frame(ended, NAME)
    point = load_frontier(ended, NAME).points[0]
    curves = load_curves(ended, point.study.id)
    assert len(frame) == sum(map(len, curves.values()))
    for number, curve in curves.items():
        mine = frame[frame["trial"] == number]
        assert mine["step"].is_monotonic_increasing
        found = mine[["step", "split", "metric", "value"]].itertuples(index=False, name=None)
        kept = {(*rest, None if math.isnan(value) else value) for *rest, value in found}
        assert kept == {(p.step, p.split, p.metric, p.value) for p in curve}


def test_trials_of_other_purposes_are_told_apart(ended: Storage) -> None:
    with ended.write() as conn:
        second = load_frontier(ended, NAME).points[1].study.id
        conn.execute(update(studies).where(studies.c.id == second).values(purpose="confirm"))
    purposes = load_trials_frame(ended, NAME).groupby("purpose")["trial"].count()
    assert purposes.to_dict() == {"search": 5, "confirm": 5}


def test_a_frame_takes_the_same_queries_however_many_studies_there_are(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 8, 16, 32))
    asked: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    event.listen(storage.engine, "before_cursor_execute", hear)
    for load in (load_trials_frame, load_measurements_frame):
        with storage.read() as moment:
            load_frontier(moment, NAME)  # which finds out what can be read
            asked.clear()
            load(moment, NAME)
        assert sum("bf_slots" in statement for statement in asked) <= 2


def test_frames_of_nothing_measured_have_their_columns(storage: Storage) -> None:
    planned(storage)
    frame = load_measurements_frame(storage, NAME)
    assert list(frame.columns) == [
        "batch_size",
        "purpose",
        "trial",
        "step",
        "split",
        "metric",
        "value",
    ]
    assert frame.empty


def test_an_unknown_workload_is_refused_with_those_there_are(ended: Storage) -> None:
    for load in (load_trials_frame, load_measurements_frame):
        with pytest.raises(UsageError, match=f"no studies of 'x/y/z'.*{NAME}"):
            load(ended, "x/y/z")


def test_a_frame_is_loaded_from_a_url_too(ended: Storage) -> None:
    url = ended.url.render_as_string(hide_password=False)
    pd.testing.assert_frame_equal(load_trials_frame(url, NAME), load_trials_frame(ended, NAME))
