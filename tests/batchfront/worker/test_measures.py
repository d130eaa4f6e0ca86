"""Measures go with a search from its workers to its frontier, frames, exports and page."""

import math
from pathlib import Path
from typing import Any

import pytest

from batchfront.exchange.export import export
from batchfront.exchange.restore import restore
from batchfront.frontier.dataframes import load_measurements_frame
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_goal_curves, load_measure_curves
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.report.files import write_report
from batchfront.store.url import Storage
from batchfront.vocabulary import EngineName
from batchfront.workload.catalog import load
from batchfront.workload.metrics import ERROR_RATE
from tests import toy
from tests.packed import figures_of
from tests.searches import planned, rows, work

NAME = "plain/mlp/momentum"
NAMES = ["cross-entropy", "margin"]

pytestmark = pytest.mark.every_storage


def ended(storage: Storage) -> list[tuple[Any, ...]]:
    """All of a trial's result that what is measured beside it must not change."""
    return [
        (r.number, r.outcome, r.reason, r.steps, r.steps_lower, r.metric, r.evaluated_examples)
        for r in rows(storage)
    ]


@pytest.mark.parametrize("engine", [EngineName.SEQUENTIAL, EngineName.VECTORIZED])
def test_every_full_evaluation_and_goal_crossing_has_its_measures(
    storage: Storage, second_storage: Storage, engine: EngineName
) -> None:
    planned(storage, toy.measuring, batch_sizes=(4,))
    work(storage, engine=engine)
    planned(second_storage, toy.plain, batch_sizes=(4,))
    work(second_storage, engine=engine)
    assert ended(storage) == ended(second_storage)
    frame = load_measurements_frame(storage, NAME)
    of_validation = frame[frame["split"] == "validation"]
    at = {name: mine.index for name, mine in of_validation.groupby("metric")}
    assert sorted(at) == sorted([*NAMES, ERROR_RATE.name])
    where = [of_validation.loc[mine, ["trial", "step"]].values.tolist() for mine in at.values()]
    assert where[0] == where[1] == where[2]
    assert of_validation["value"].notna().all()
    (point,) = load_frontier(storage, NAME).points
    assert point.best is not None
    mine = of_validation[
        (of_validation["trial"] == point.trial) & (of_validation["step"] == point.steps)
    ]
    wanted = dict(zip(mine["metric"], mine["value"], strict=True))
    assert wanted.pop(ERROR_RATE.name) == point.best.metric
    assert point.measures == wanted
    assert list(point.to_dict()["measures"]) == NAMES
    curves = load_measure_curves(storage, NAME, ERROR_RATE.name)
    goal = load_goal_curves(storage, NAME, ERROR_RATE.name)
    assert list(curves) == NAMES
    for of_study in curves.values():
        for study, found in of_study.items():
            assert found.steps.tolist() == goal[study].steps.tolist()


def test_a_search_that_was_planned_without_measures_goes_on_with_them(
    storage: Storage, tmp_path: Path
) -> None:
    planned(storage, toy.plain, batch_sizes=(4,), trials=2)
    work(storage)
    before = ended(storage)
    planned(storage, toy.measuring, batch_sizes=(4,), trials=4)
    work(storage)
    assert ended(storage)[:2] == before
    frame = load_measurements_frame(storage, NAME)
    measured = frame[frame["metric"].isin(NAMES)]
    assert measured["trial"].min() == 2
    assert "Curves" in write_report(storage, (), tmp_path / "report.html").read_text()


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_measures_come_back_from_an_export(
    storage: Storage, second_storage: Storage, tmp_path: Path, format_: str
) -> None:
    planned(storage, toy.measuring, batch_sizes=(4,), trials=2)
    work(storage)
    export(storage, (), tmp_path / "tables", format_, lambda _: None)
    assert [one.made for one in restore(second_storage, tmp_path / "tables")] == [True]
    one, other = (load_measurements_frame(of, NAME) for of in (storage, second_storage))
    assert one.equals(other)
    ours, theirs = (load_frontier(of, NAME).points[0].measures for of in (storage, second_storage))
    assert ours == theirs
    assert sorted(ours) == NAMES


def test_the_page_offers_the_curves_of_each_measure_and_has_the_winners(
    storage: Storage, tmp_path: Path
) -> None:
    planned(storage, toy.measuring, batch_sizes=(4,))
    work(storage)
    text = write_report(storage, (), tmp_path / "report.html").read_text()
    assert '<option value="measure1">validation cross-entropy</option>' in text
    assert '<option value="measure2">validation margin</option>' in text
    assert figures_of(text)["w1/4/measure2"]["data"]
    assert "Winners’ measures where they passed the goal" in text
    (point,) = load_frontier(storage, NAME).points
    value = point.measures["margin"]
    assert value is not None
    assert f"{value:.3g}" in text


LOOP = """
from batchfront import Goal, Log, Loop


def train(trial):
    value = 1.0
    for step in range(1, trial.step_budget + 1):
        value *= 1 - trial["learning_rate"] * trial.batch_size / 8
        if trial.evaluates(step):
            yield trial.measured(step, value, measures={"twice": 2 * value, "none": float("nan")})


def looping():
    return Loop(name="a/loop/here", train=train, goal=Goal("error", 0.5, better="lower"),
                search_space={"learning_rate": Log(0.01, 0.1)}, step_budget=64, batch_sizes=(8,))
"""


def test_a_loop_tells_measures_of_its_own(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "looping.py"
    file.write_text(LOOP)
    spec = f"{file}:looping"
    plan(storage, spec, load(spec), SearchOptions(trials=2, batch_sizes=(8,)))
    work(storage, code=(str(tmp_path),))
    frame = load_measurements_frame(storage, "a/loop/here")
    wide = frame.pivot(index=["trial", "step"], columns="metric", values="value")
    assert (wide["twice"] == 2 * wide["error"]).all()
    assert wide["none"].isna().all()
    (point,) = load_frontier(storage, "a/loop/here").points
    assert point.best is not None
    assert point.measures == {"none": None, "twice": 2 * (point.best.metric or math.nan)}
    text = write_report(storage, (), tmp_path / "report.html").read_text()
    assert '<option value="measure2">twice</option>' in text
    assert "<td>not finite</td>" in text
