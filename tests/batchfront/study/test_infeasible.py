"""A search of which no trial trains says so, and what to change in its space."""

from dataclasses import replace

import pytest

from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.status import load_status
from batchfront.outcomes import TrialResult
from batchfront.store.url import Storage
from batchfront.study.warm_start import sample_late
from batchfront.workload.workload import Workload
from tests import toy
from tests.searches import ALL, NAME, claim, end, planned, reached, worker

STEADY = {"learning_rate": 0.1}

DIVERGED, STALLED = TrialResult("diverged", "", 3), TrialResult("stalled", "", 90)


def said(storage: Storage) -> list[str]:
    """What the frontier and the status say, which is the same."""
    found = load_frontier(storage, NAME).nothing_trains
    assert tuple(found) == load_status(storage, ALL).nothing_trains
    return found


def test_a_race_that_is_over_says_it_once_for_batch_sizes_that_are_alike(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4, 16))
    end(storage, f"{NAME}/b4", {0: DIVERGED})
    assert said(storage) == []  # the other may do better
    end(storage, f"{NAME}/b4", {1: STALLED})
    end(storage, f"{NAME}/b16", {0: STALLED, 1: DIVERGED})
    assert said(storage) == [
        "At batch sizes 4 and 16 all 4 trials so far diverged or stalled: lower the range of "
        "learning_rate, Log(0.001, 0.1), or its upper end."
    ]


@pytest.mark.parametrize("sampler", ["tpe", "joint"])
def test_a_search_that_learns_says_it_after_the_first_few(storage: Storage, sampler: str) -> None:
    planned(storage, trials=4, batch_sizes=(4,), sampler=sampler, together=2)
    ledger = worker(storage)
    study, taken = claim(ledger)
    sampled = sample_late(storage, study, [slot.number for slot in taken])
    drawn = [replace(slot, params=one.params) for slot, one in zip(taken, sampled, strict=True)]
    first, second = ledger.start(study, drawn, study.space, {})
    ledger.finish(study, [(first, DIVERGED)])
    assert said(storage) == []
    ledger.finish(study, [(second, DIVERGED)])
    (line,) = said(storage)
    assert line.startswith("At batch size 4 all 2 trials so far diverged: ")


@pytest.mark.parametrize("other", [reached(5), TrialResult("capped", "", 5)])
def test_one_that_trains_is_enough(storage: Storage, other: TrialResult) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    end(storage, f"{NAME}/b4", {0: DIVERGED, 1: other})
    assert said(storage) == []


def test_without_a_learning_rate_to_search_the_space_is_named(storage: Storage) -> None:
    def steady() -> Workload:
        return replace(toy.clouds(), search_space={**toy.clouds().search_space, **STEADY})

    planned(storage, steady, trials=1, batch_sizes=(4,))
    end(storage, f"{NAME}/b4", {0: DIVERGED})
    (line,) = said(storage)
    assert "diverged: change the search space, momentum ReverseLog(0" in line
