"""What monitoring follows: slots, workers and leases, counted."""

import pytest
from sqlalchemy import update

from batchfront.ledger.counts import load_counts
from batchfront.store.schema import LEASE_SECONDS, workers
from batchfront.store.url import Storage
from batchfront.study.study import Filter
from tests.searches import ALL, NAME, claim, expire, planned, reached, started, worker
from tests.toy import plain

pytestmark = pytest.mark.every_storage


def test_a_database_without_studies_has_nothing_to_count(storage: Storage) -> None:
    counts = load_counts(storage, ALL)
    assert (counts.workloads, counts.workers, counts.lease_age) == ({}, {}, None)


def test_slots_are_counted_by_workload_state_and_outcome(storage: Storage) -> None:
    planned(storage)
    other = planned(storage, plain)[0].workload
    one = worker(storage)
    study, taken = started(one, 3)
    one.finish(study, [(taken[0], reached(40))])
    counts = load_counts(storage, ALL)
    assert set(counts.workloads) == {NAME, other}
    both = [counts.workloads[name] for name in (NAME, other)]
    mine = counts.workloads[study.workload]
    assert mine.by_state["leased"] == 2
    assert mine.by_outcome == {"reached": 1}
    assert mine.last_result is not None
    (theirs,) = (one for one in both if one is not mine)
    assert set(load_counts(storage, Filter((other,))).workloads) == {other}
    assert set(theirs.by_state) == {"free"}
    assert (theirs.by_outcome, theirs.last_result) == ({}, None)


def test_workers_are_alive_silent_or_lost_and_none_once_they_have_stopped(
    storage: Storage,
) -> None:
    planned(storage)
    busy, idle, ended = (worker(storage, name) for name in ("busy", "idle", "ended"))
    claim(busy, 2)
    assert load_counts(storage, ALL).workers == {"idle": 2, "busy": 1}
    ended.leave(in_order=True)
    assert load_counts(storage, ALL).workers == {"idle": 1, "busy": 1}
    expire(storage)
    assert load_counts(storage, ALL).workers == {"silent": 2}
    idle.register("here", 1, "cpu")
    claim(idle, 1)
    assert load_counts(storage, ALL).workers["lost"] == 1


def test_a_lease_from_before_the_clock_was_set_back_is_silent(storage: Storage) -> None:
    planned(storage)
    claim(worker(storage), 1)
    ahead = storage.now + LEASE_SECONDS + 3600
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=ahead, seen_at=storage.now + 3600))
    counts = load_counts(storage, ALL)
    assert counts.workers == {"silent": 1}
    assert counts.lease_age == pytest.approx(3600, abs=100)


def test_the_age_of_a_lease_is_of_whoever_holds_slots_and_is_silent_for_longest(
    storage: Storage,
) -> None:
    planned(storage)
    one, _ = worker(storage), worker(storage, "idle")
    assert load_counts(storage, ALL).lease_age is None
    claim(one, 1)
    with storage.write() as conn:
        conn.execute(update(workers).values(seen_at=storage.now - 1000))
        mine = update(workers).where(workers.c.id == "one")
        conn.execute(mine.values(seen_at=storage.now - 500))
    assert load_counts(storage, ALL).lease_age == pytest.approx(500, abs=100)
