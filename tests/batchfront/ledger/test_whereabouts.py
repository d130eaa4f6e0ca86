"""One trial is found, with the worker that has it."""

import pytest

from batchfront.errors import UsageError
from batchfront.ledger.whereabouts import find_trial, is_done
from batchfront.store.url import Storage
from tests.searches import NAME, planned, reached, started, worker

pytestmark = pytest.mark.every_storage


def test_a_trial_is_free_then_held_then_done(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    free = find_trial(storage, NAME, 4, 1)
    assert (free.study.name, free.has_begun, free.host) == (f"{NAME}/b4", False, None)
    ledger = worker(storage)
    study, taken = started(ledger)
    held = find_trial(storage, NAME, 4, 1)
    assert (held.has_begun, held.host) == (True, "here")
    assert not is_done(storage, held)
    ledger.finish(study, [(slot, reached(9)) for slot in taken])
    assert is_done(storage, held)
    assert find_trial(storage, NAME, 4, 1).host == "here"


def test_what_is_not_there_is_refused_with_what_is(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 16), trials=2)
    with pytest.raises(UsageError, match=r"--batch-size 8: .*; there are: 4, 16"):
        find_trial(storage, NAME, 8, 0)
    for number in (2, -1):
        with pytest.raises(UsageError, match=f"--trial {number}: .* has trials 0 to 1"):
            find_trial(storage, NAME, 4, number)
