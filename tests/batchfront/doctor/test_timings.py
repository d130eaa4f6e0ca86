"""What was timed is counted, and what of it can't be right is named with what removes it."""

import pytest
from sqlalchemy import insert, update

from batchfront.advice.timings import Timing, keep_timings
from batchfront.doctor.finding import Level
from batchfront.doctor.timings import examine_timings
from batchfront.store.schema import probes, timings
from batchfront.store.url import Storage
from batchfront.vocabulary import TimedPart

pytestmark = pytest.mark.every_storage


def test_nothing_is_said_of_nothing(storage: Storage) -> None:
    assert list(examine_timings(storage)) == []


def test_they_are_counted_by_workload_and_device(storage: Storage) -> None:
    keep_timings(
        storage,
        [
            Timing(workload, "float32", device, 1, TimedPart.STEP, 8, 0.1)
            for workload, device in (("a", "cpu"), ("a", "NVIDIA H200"), ("b", "cpu"))
        ],
    )
    with storage.write() as conn:
        row = {"workload": "a", "batch_size": 4, "params": "{}", "seed": 1, "steps": 9}
        told = {"readings": "[]", "versions": "{}", "measured_at": 1.0}
        conn.execute(insert(probes).values(**row, **told))
    found = [(one.about, one.level, one.says) for one in examine_timings(storage)]
    assert found == [
        ("timings", Level.OK, "3 timings of 2 workloads, on NVIDIA H200, cpu"),
        ("probes", Level.OK, "1 probe"),
    ]


def test_one_that_cannot_be_right_is_named_with_what_removes_it(storage: Storage) -> None:
    of = [Timing(name, "float32", "cpu", 1, TimedPart.STEP, 8, 0.1) for name in ("a", "b")]
    keep_timings(storage, of)
    with storage.write() as conn:
        conn.execute(update(timings).where(timings.c.workload == "a").values(seconds=-1.0))
    wrong, rest = examine_timings(storage)
    assert wrong.level is Level.WARNING
    assert (
        wrong.says
        == "those of a can't be read: of one, seconds is -1, not above 0 and at most 1e+07"
    )
    assert (wrong.command or "").startswith("`batchfront delete a --timings")
    assert rest.says == "1 timing of 1 workload, on cpu"
