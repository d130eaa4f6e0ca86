"""A workload's trials and measurements, whole and in one query each."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import event

from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import (
    load_goal_curves,
    load_reruns,
    load_trials,
    load_workload_trials,
)
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ERROR, curve, ended, reached
from tests.batchfront.report.rows import add_study

pytestmark = pytest.mark.every_storage

NAME = "a/b/c"


@pytest.fixture
def written(storage: Storage) -> Storage:
    """Two batch sizes, one of them with curves; runs of a rule; and another workload."""
    first = reached(8, params={"learning_rate": 0.1}, curve=curve((1, 0.9), (4, None), (8, 0.02)))
    second = ended("capped", 8, curve=[(1, "test", "error rate", 0.1), *curve((2, 0.5))])
    add_study(storage, NAME, 16, [first, ended("failed", 0), second])
    add_study(storage, NAME, 4, [reached(30)])
    add_study(storage, NAME, 4, [reached(40)], purpose="linear")
    add_study(storage, NAME, 4, [reached(50)], purpose="confirm")
    add_study(storage, "x/y/z", 4, [reached(5, curve=curve((5, 0.01)))])
    return storage


@contextmanager
def queries(storage: Storage) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(conn: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            sent.append(statement)

    event.listen(storage.engine, "before_cursor_execute", note)
    yield sent
    event.remove(storage.engine, "before_cursor_execute", note)


def test_trials_are_those_of_the_search_by_study(written: Storage) -> None:
    with written.read() as moment, queries(written) as sent:
        frontier = load_frontier(moment, NAME)
        before = len(sent)
        found = load_workload_trials(moment, NAME)
    assert len(sent) == before + 2  # with which studies can be read
    ids = [point.study.id for point in frontier.points]
    assert found == {study: load_trials(written, study) for study in ids}
    assert [trial.outcome for trial in found[ids[1]]] == ["reached", "failed", "capped"]


def test_curves_are_the_goal_metric_on_the_validation_split(written: Storage) -> None:
    with written.read() as moment, queries(written) as sent:
        frontier = load_frontier(moment, NAME)
        before = len(sent)
        found = load_goal_curves(moment, NAME, ERROR)
    assert len(sent) == before + 3  # with which studies can be read
    (looks,) = found.values()
    assert found.keys() == {frontier.points[1].study.id}
    assert looks.numbers.tolist() == [0, 0, 0, 2]
    assert looks.steps.tolist() == [1, 4, 8, 2]
    np.testing.assert_array_equal(looks.values, [0.9, np.nan, 0.02, 0.5])
    by_trial = looks.by_trial()
    assert by_trial.keys() == {0, 2}
    assert [column.tolist() for column in by_trial[2]] == [[2], [0.5]]


def test_of_trials_run_elsewhere_those_that_came_to_nothing_do_not_count(storage: Storage) -> None:
    looks = curve((4, 0.1), (8, 0.02))
    ends = [reached(8), ended("diverged", 9), ended("failed", 9), ended("exhausted", 9)]
    trials = [end | {"curve": looks} for end in ends]
    add_study(storage, NAME, 16, trials)
    add_study(storage, "x/y/z", 16, trials, sampler="imported")
    add_study(storage, "of/an/export", 16, trials, spec="")  # there is no code of it here
    (ours,) = load_goal_curves(storage, NAME, ERROR).values()
    (theirs,) = load_goal_curves(storage, "x/y/z", ERROR).values()
    assert [*ours.by_trial()] == [0, 1, 2, 3]
    assert [*theirs.by_trial()] == [0, 3]
    (restored,) = load_goal_curves(storage, "of/an/export", ERROR).values()
    assert [*restored.by_trial()] == [0, 1, 2, 3]


def test_without_measurements_there_are_no_curves(storage: Storage) -> None:
    add_study(storage, NAME, 16, [reached(8)])
    assert load_goal_curves(storage, NAME, ERROR) == {}


def test_reruns_are_told_apart_by_what_they_are_for(written: Storage) -> None:
    with written.read() as moment, queries(written) as sent:
        load_frontier(moment, NAME)
        before = len(sent)
        found = load_reruns(moment, NAME)
    assert len(sent) == before + 2
    assert found.keys() == {("linear", 4), ("confirm", 4)}
    assert [trial.steps_to_target for trial in found["linear", 4]] == [40]
