"""How long a search will take is said before it starts, with what that rests on."""

import pytest

from batchfront.advice.search_time import search_time
from batchfront.advice.timings import Timing, keep_timings
from batchfront.ledger.time_left import TimeLeft
from batchfront.outcomes import TrialCost
from batchfront.store.database import Storage
from batchfront.vocabulary import TimedPart
from tests.searches import ALL, NAME, end, planned, reached
from tests.toy import STEP_BUDGET


def step(examples: int, seconds: float, device: str = "cpu") -> Timing:
    versions = {"source": "imported"}
    return Timing(NAME, "float32", device, 1, TimedPart.STEP, examples, seconds, versions=versions)


def test_without_anything_that_tells_it_isnt_known(storage: Storage) -> None:
    studies = planned(storage)
    assert search_time(storage, studies, ALL, 1).left == TimeLeft(None, None)


def test_timed_steps_tell_how_long_it_takes_at_most(storage: Storage) -> None:
    studies = planned(storage, batch_sizes=(4, 16))
    keep_timings(storage, [step(4, 0.01), step(16, 0.03)])
    found = search_time(storage, studies, ALL, workers=2)
    assert found.left.about is None
    assert found.left.most == pytest.approx(4 * STEP_BUDGET * (0.01 + 0.03) / 2)
    assert found.by == "as `batchfront time` found on cpu"


def test_timings_of_another_device_are_named(storage: Storage) -> None:
    studies = planned(storage, batch_sizes=(4,))
    keep_timings(storage, [step(4, 0.01, "NVIDIA H200")])
    assert search_time(storage, studies, ALL, 1).by == "as `batchfront time` found on NVIDIA H200"


def test_trials_that_have_ended_tell_more_than_timings(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    keep_timings(storage, [step(4, 9.0)])
    end(storage, f"{NAME}/b4", {n: reached(40, cost=TrialCost(1.5, 0.5)) for n in range(2)})
    studies = planned(storage, batch_sizes=(4,), trials=4)
    found = search_time(storage, studies, ALL, 1)
    assert found.left == TimeLeft(pytest.approx(2 * 40 * 0.05), pytest.approx(2 * 40 * 0.05))
    assert found.by == "as the trials went that have ended"
