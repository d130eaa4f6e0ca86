"""A study whose Optuna study was deleted is given up, and nobody else's takes its place."""

import optuna
import pytest

from batchfront.errors import StorageError, UsageError
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.store.url import Storage
from batchfront.study.study import Filter, Unreadable, load_studies
from tests.searches import NAME, optuna_trials, planned, rows, work

GONE = f"{NAME}/b16"


@pytest.fixture
def reused(storage: Storage) -> Storage:
    """The last study is deleted through Optuna, and SQLite gives its id to somebody's."""
    planned(storage, batch_sizes=(4, 16), trials=2)
    url = storage.url.render_as_string(hide_password=False)
    optuna.delete_study(study_name=GONE, storage=url)
    theirs = optuna.create_study(study_name="theirs", storage=url)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    return storage


def _orphans(storage: Storage) -> tuple[Unreadable, ...]:
    with storage.read() as conn:
        return load_studies(conn, Filter()).unreadable


def test_workers_do_what_there_is_beside_an_orphan_and_leave_others_studies_alone(
    reused: Storage,
) -> None:
    work(reused)
    assert {row.state for row in rows(reused)} == {"done", "free"}
    assert [trial.value for trial in optuna_trials(reused, "theirs")] == [1.0]
    assert len(optuna_trials(reused, f"{NAME}/b4")) == 2


def test_other_studies_are_planned_under_ids_that_nobody_has(reused: Storage) -> None:
    (orphan,) = _orphans(reused)
    made = planned(reused, batch_sizes=(8, 32), trials=2)
    assert orphan.id not in {study.id for study in made}
    assert [one.name for one in _orphans(reused)] == [GONE]


def test_planning_it_again_names_the_command_that_removes_it_and_works_after_it(
    reused: Storage,
) -> None:
    with pytest.raises(StorageError, match=f"`batchfront delete {GONE} .*` removes it"):
        planned(reused, batch_sizes=(16,), trials=2)
    delete_doomed(reused, find_doomed(reused, GONE))
    assert [trial.value for trial in optuna_trials(reused, "theirs")] == [1.0]
    planned(reused, batch_sizes=(16,), trials=2)
    assert not _orphans(reused)


def test_a_study_of_somebody_elses_with_the_same_id_and_name_is_not_taken_for_ours(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    url = storage.url.render_as_string(hide_password=False)
    name = f"{NAME}/b4"
    optuna.delete_study(study_name=name, storage=url)
    optuna.create_study(study_name=name, storage=url)
    (orphan,) = _orphans(storage)
    assert orphan.is_orphan
    work(storage)
    assert optuna_trials(storage, name) == []
    delete_doomed(storage, find_doomed(storage, name))
    assert optuna_trials(storage, name) == []
    with pytest.raises(UsageError, match="isn't batchfront's"):
        planned(storage, batch_sizes=(4,), trials=2)
