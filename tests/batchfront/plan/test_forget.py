"""Timings and probes of a workload go with the last of its studies, or alone if so asked."""

import pytest
from sqlalchemy import insert, select

from batchfront.advice.timings import Timing, keep_timings
from batchfront.errors import UsageError
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.plan.forget import FoundOut, delete_alone, find_alone
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import probes, timings
from batchfront.store.url import Storage
from batchfront.vocabulary import TimedPart
from tests.toy import PLAIN, plain

NAME = "plain/mlp/momentum"


def find_out(storage: Storage, workload: str) -> None:
    """Two timings, a probe of a trial at each of two batch sizes, and one of a run of its own."""
    parts = (TimedPart.PASS, TimedPart.STEP)
    keep_timings(storage, [Timing(workload, "float32", "cpu", 1, part, 8, 0.1) for part in parts])
    row = {"workload": workload, "params": "{}", "seed": 1, "steps": 9, "readings": "[]"}
    told = {**row, "versions": "{}", "measured_at": 1.0}
    with storage.write() as conn:
        for batch_size, trial in ((4, 0), (16, 2), (4, None)):
            conn.execute(insert(probes).values(batch_size=batch_size, trial=trial, **told))


@pytest.fixture
def found(storage: Storage) -> Storage:
    plan(storage, PLAIN, plain(), SearchOptions(trials=2))
    for workload in (NAME, "another"):
        find_out(storage, workload)
    return storage


def left(storage: Storage, workload: str = NAME) -> tuple[int, list[tuple[int, int | None]]]:
    """How many timings there are, and the batch size and trial of each probe."""
    mine = select(probes).where(probes.c.workload == workload).order_by(probes.c.id)
    with storage.read() as conn:
        timed = conn.execute(select(timings).where(timings.c.workload == workload)).all()
        return len(timed), [(row.batch_size, row.trial) for row in conn.execute(mine)]


ALL = (2, [(4, 0), (16, 2), (4, None)])


@pytest.mark.every_storage
def test_they_go_with_the_last_study(found: Storage) -> None:
    doomed = find_doomed(found, NAME)
    assert doomed.found == FoundOut(2, 3)
    delete_doomed(found, doomed)
    assert left(found) == (0, [])
    assert left(found, "another") == ALL


def test_while_there_is_a_study_only_probes_of_trials_that_are_gone_go(found: Storage) -> None:
    doomed = find_doomed(found, NAME, [4])
    assert doomed.found == FoundOut(0, 1)
    delete_doomed(found, doomed)
    assert left(found) == (2, [(16, 2), (4, None)])


def test_a_workload_that_was_never_planned_can_be_deleted(found: Storage) -> None:
    doomed = find_doomed(found, "another")
    assert (doomed.studies, doomed.found) == ((), FoundOut(2, 3))
    delete_doomed(found, doomed)
    assert left(found, "another") == (0, [])
    with pytest.raises(UsageError, match="no studies of 'another'"):
        find_doomed(found, "another")


def test_batch_sizes_of_a_workload_that_was_never_planned_are_refused(found: Storage) -> None:
    with pytest.raises(UsageError, match="no studies of 'another'"):
        find_doomed(found, "another", [4])


@pytest.mark.every_storage
@pytest.mark.parametrize(
    ("timed", "probed", "lost", "rest"),
    [
        (True, False, FoundOut(2, 0), (0, ALL[1])),
        (False, True, FoundOut(0, 3), (2, [])),
        (True, True, FoundOut(2, 3), (0, [])),
    ],
)
def test_they_can_go_alone(
    found: Storage,
    timed: bool,
    probed: bool,
    lost: FoundOut,
    rest: tuple[int, list[tuple[int, int | None]]],
) -> None:
    assert find_alone(found, NAME, timed=timed, probed=probed) == lost
    delete_alone(found, NAME, timed=timed, probed=probed)
    assert left(found) == rest
    assert left(found, "another") == ALL
    assert len(find_doomed(found, NAME).studies) == 2


def test_where_there_are_none_it_says_of_which_there_are(found: Storage) -> None:
    says = r"no timings or probes of 'mistyped' in this database; there are some of: another and "
    with pytest.raises(UsageError, match=says):
        find_alone(found, "mistyped", timed=True, probed=True)
