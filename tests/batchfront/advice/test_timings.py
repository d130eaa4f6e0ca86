"""Timings are kept by workload, device and part, the last of each."""

import math
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from batchfront.advice.timings import Timing, keep_timings, load_timings
from batchfront.errors import StorageError
from batchfront.store.schema import timings
from batchfront.store.url import Storage
from batchfront.vocabulary import TimedPart

PASS = Timing(
    "clouds", "float32", "cpu", 1, TimedPart.PASS, 16, 0.01, 0.009, 0.012, 20, {"torch": "2"}
)


@pytest.mark.every_storage
def test_what_is_timed_again_stands_in_the_place_of_what_was(storage: Storage) -> None:
    other = replace(PASS, devices=2, part=TimedPart.ALL_REDUCE, examples=0)
    keep_timings(storage, [PASS, other, replace(PASS, workload="others")])
    keep_timings(storage, [replace(PASS, seconds=0.02)])
    first, second = load_timings(storage, "clouds")
    assert replace(first, measured_at=0.0) == replace(PASS, seconds=0.02)
    assert replace(second, measured_at=0.0) == other
    assert first.measured_at > 1e9


@pytest.mark.every_storage
def test_numbers_from_elsewhere_are_known_as_such(storage: Storage) -> None:
    keep_timings(storage, [Timing("clouds", "float32", "TPU", 8, TimedPart.STEP, 512, 0.5)])
    (found,) = load_timings(storage, "clouds")
    assert found.imported
    assert not PASS.imported


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"part": "lunch"}, "part is 'lunch', not pass, update"),
        ({"seconds": 0.0}, "seconds is 0, not above 0"),
        ({"seconds": math.inf}, "seconds is inf, and no finite number"),
        ({"high": -1.0}, "high is -1, not above 0"),
        ({"devices": 0}, "devices is 0, below 1"),
        ({"examples": -1}, "examples is -1, below 0"),
        ({"versions": "{"}, "versions is no JSON"),
        ({"versions": '{"torch": 2}'}, "versions is no object of texts"),
        ({"versions": '{"accumulation": "0"}'}, "versions has accumulation '0', and no whole"),
    ],
)
def test_one_that_cannot_be_right_is_refused_with_what_removes_it(
    storage: Storage, wrong: dict[str, Any], says: str
) -> None:
    row = {**PASS.key, "seconds": 0.01, "versions": "{}", "measured_at": 1.0, **wrong}
    with storage.write() as conn:
        conn.execute(insert(timings).values(**row))
    with pytest.raises(StorageError) as refused:
        load_timings(storage, "clouds")
    assert f"the timings of clouds can't be read: of one, {says}" in str(refused.value)
    assert "; `batchfront delete clouds --timings" in str(refused.value)
    assert load_timings(storage, "others") == []
