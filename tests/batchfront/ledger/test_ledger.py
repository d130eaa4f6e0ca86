"""Slots pass from worker to worker without one being lost, run twice, or ended twice."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import delete, select, update

from batchfront.errors import LeaseLost
from batchfront.ledger import ledger as ledger_module
from batchfront.ledger.claims import COMPANY_DEATHS, DEATHS
from batchfront.ledger.ledger import ATTEMPTS, LEASE_SECONDS, Ledger, RaceState
from batchfront.ledger.status import load_status
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import measurements, slots, studies, workers
from batchfront.store.url import Storage, open_storage
from batchfront.study.points import FEASIBLE_LIMIT
from batchfront.study.slots import Slot
from batchfront.study.study import Filter
from batchfront.workload.search_space import quasi_random_points
from batchfront.workload.seeds import study_seed
from tests import searches
from tests.searches import ALL, VERSIONS, claim, expire, optuna_trials, rows, started, worker
from tests.toy import POISONED, clouds, poisoned

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=6, batch_sizes=(4,))


def in_hand(taken: list[Slot]) -> dict[int, tuple[int, int]]:
    return {slot.id: (slot.fence, slot.steps) for slot in taken}


REACHED = TrialResult(
    "reached",
    "validation error rate < 0.1 at step 40",
    40,
    (Evaluation(1, 1.5, 0.6), Evaluation(32, 0.7, 0.2)),
    steps_to_target=40,
    steps_lower=39,
    metric=0.09,
    metric_step=40,
    test_metric=0.12,
)
CAPPED = TrialResult("capped", "another was first", 40, metric=0.4, metric_step=32)
DIVERGED = TrialResult("diverged", "not finite", 3)


# Claims


def test_a_claim_leases_the_lowest_numbers_with_their_points(storage: Storage) -> None:
    (study,) = planned(storage)
    found, taken = claim(worker(storage), limit=4)
    assert found == study
    assert [slot.number for slot in taken] == [0, 1, 2, 3]
    seed = study_seed(0, study.workload, 4)
    assert [s.params for s in taken] == quasi_random_points(clouds().space(4), 4, seed)
    assert {(s.fence, s.attempts, s.steps, s.trial_id) for s in taken} == {(1, 1, 0, None)}
    leased = rows(storage, slots.c.state == "leased")
    assert [row.worker_id for row in leased] == ["one"] * 4


def test_what_is_leased_is_nobody_elses(storage: Storage) -> None:
    planned(storage)
    _, first = claim(worker(storage, "one"), limit=4)
    _, second = claim(worker(storage, "two"), limit=4)
    assert [slot.number for slot in second] == [4, 5]
    assert worker(storage, "three").claim(ALL, lambda _: 4) is None
    assert not {slot.id for slot in first} & {slot.id for slot in second}


def _claim_ten(url: str, n: int, barrier: Any) -> list[int]:
    """Ten times, at the same moment as seven others, claims a slot and finishes it; their ids."""
    storage = open_storage(url)
    ledger, finished = worker(storage, f"worker-{n}"), []
    for _ in range(10):
        barrier.wait()
        study, taken = claim(ledger, limit=1)
        ours = ledger.start(study, taken, clouds().space(study.batch_size), VERSIONS)
        assert ledger.finish(study, [(slot, CAPPED) for slot in ours]) == []
        finished += [slot.id for slot in ours]
    storage.close()
    return finished


def test_eight_processes_share_out_the_slots_exactly_once(
    database: str, storage: Storage, eight_processes: Callable[..., list[Any]]
) -> None:
    """And none of them fails because the database is locked."""
    planned(storage, trials=40, batch_sizes=(4, 16))
    found = eight_processes(_claim_ten, database)
    assert sorted(itertools.chain(*found)) == [row.id for row in rows(storage)]
    assert {row.fence for row in rows(storage)} == {1}
    for study in ("clouds/mlp/momentum/b4", "clouds/mlp/momentum/b16"):
        assert [t.number for t in optuna_trials(storage, study)] == list(range(40))


def test_a_study_that_fewer_workers_are_busy_with_comes_first_then_the_smaller_batch(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4, 16))
    sizes = [claim(worker(storage, name), limit=1)[0].batch_size for name in "abcd"]
    assert sizes == [4, 16, 4, 16]


def test_the_least_advanced_slots_come_first(storage: Storage) -> None:
    planned(storage, trials=3)
    one = worker(storage)
    _, taken = claim(one)
    one.release(zip(taken, (50, 10, 30), strict=True))
    _, again = claim(one, limit=2)
    assert [(slot.number, slot.steps) for slot in again] == [(1, 10), (2, 30)]


def test_one_by_one_gives_one_slot_at_a_time(storage: Storage) -> None:
    planned(storage, together=1)
    _, taken = claim(worker(storage, "one"))
    assert [slot.number for slot in taken] == [0]
    _, other = claim(worker(storage, "two"))
    assert [slot.number for slot in other] == [1]


def test_a_worker_takes_further_slots_of_its_study_beside_those_in_hand(storage: Storage) -> None:
    planned(storage)
    ledger = worker(storage)
    study, taken = started(ledger, limit=2)
    found, further = ledger.claim_more(study, in_hand(taken), 3)
    assert found == study
    assert [slot.number for slot in further] == [2, 3, 4]
    assert not ledger.heartbeat(study.id, in_hand([*taken, *further])).lost
    assert [slot.number for slot in claim(worker(storage, "two"))[1]] == [5]
    assert ledger.claim_more(study, in_hand([*taken, *further]), 3) == (study, [])


def test_none_is_taken_of_a_study_that_has_another_definition_by_now(storage: Storage) -> None:
    planned(storage)
    ledger = worker(storage)
    study, taken = started(ledger, limit=2)
    other = json.dumps({**study.identity, "code": [{"model.py:Net": "2"}]})
    with storage.write() as conn:
        conn.execute(update(studies).values(identity=other))
    assert ledger.claim_more(study, in_hand(taken), 3) is None
    assert [slot.number for slot in claim(worker(storage, "two"))[1]] == [2, 3, 4, 5]


def test_further_slots_whose_answer_was_lost_are_taken_again(storage: Storage) -> None:
    planned(storage)
    ledger = worker(storage)
    study, taken = started(ledger, limit=2)
    _, unheard = ledger.claim_more(study, in_hand(taken), 3)
    _, further = ledger.claim_more(study, in_hand(taken), 3)
    assert [(s.id, s.attempts) for s in further] == [(s.id, s.attempts) for s in unheard]
    assert {slot.fence for slot in further} == {2}


def test_no_slot_that_is_to_be_held_alone_is_taken_beside_others(storage: Storage) -> None:
    planned(storage, trials=2)
    ledger = worker(storage)
    study, taken = started(ledger, limit=1)
    worn = {"deaths": COMPANY_DEATHS}
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.number == 1).values(**worn))
    assert ledger.claim_more(study, in_hand(taken), 1) == (study, [])


def test_a_filter_keeps_a_worker_to_its_workloads_and_batch_sizes(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 16))
    plan(storage, POISONED, poisoned(), SearchOptions(trials=2, batch_sizes=(4,)))
    one = worker(storage)
    study, _ = claim(one, wanted=Filter(batch_sizes=(16,)))
    assert study.batch_size == 16
    poison = Filter(workloads=("clouds/poisoned/momentum",))
    study, _ = claim(one, wanted=poison)
    assert study.workload == "clouds/poisoned/momentum"
    assert worker(storage, "two").claim(poison, lambda _: 9) is None
    assert one.is_open(Filter(("clouds/poisoned/momentum",)))
    assert not one.is_open(Filter(("no/such/workload",)))
    assert one.claim(Filter(("no/such/workload",)), lambda _: 9) is None


# Leases


def test_an_expired_lease_is_taken_over_and_the_late_result_refused(storage: Storage) -> None:
    planned(storage, trials=1)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, first = started(one)
    assert two.claim(ALL, lambda _: 9) is None
    expire(storage)
    _, second = started(two)
    assert second[0].id == first[0].id
    assert second[0].trial_id == first[0].trial_id
    assert one.finish(study, [(first[0], CAPPED)]) == first
    assert rows(storage)[0].state == "leased"
    assert optuna_trials(storage)[0].state == TrialState.RUNNING
    assert two.finish(study, [(second[0], REACHED)]) == []
    assert one.finish(study, [(first[0], CAPPED)]) == first
    assert rows(storage)[0].outcome == "reached"
    (trial,) = optuna_trials(storage)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40)


def _forget_workers(storage: Storage) -> None:
    """As if the database had been put back to before they came."""
    with storage.write() as conn:
        conn.execute(delete(workers))


def test_a_worker_that_the_list_has_lost_is_in_it_again_before_it_is_given_trials(
    storage: Storage,
) -> None:
    planned(storage, trials=1)
    one, other = worker(storage, "one"), worker(storage, "other")
    _forget_workers(storage)
    _, first = started(one)
    assert _leases(storage).keys() == {"one"}
    assert other.claim(ALL, lambda _: 9) is None
    expire(storage)
    _, second = started(other)
    assert second[0].id == first[0].id


def test_a_worker_that_takes_further_trials_is_in_the_list_again(storage: Storage) -> None:
    planned(storage, trials=4)
    one = worker(storage, "one")
    study, mine = started(one, limit=2)
    _forget_workers(storage)
    _, more = one.claim_more(study, in_hand(mine), 2)
    assert len(more) == 2
    assert _leases(storage).keys() == {"one"}


def test_who_was_never_in_the_list_is_given_nothing(storage: Storage) -> None:
    planned(storage, trials=2)
    assert Ledger(storage, "nobody").claim(ALL, lambda _: 9) is None


def test_a_heartbeat_enters_the_worker_again_with_its_trials(storage: Storage) -> None:
    planned(storage, trials=2)
    one = worker(storage, "one")
    study, mine = started(one)
    _forget_workers(storage)
    assert not one.heartbeat(study.id, in_hand(mine)).lost
    with storage.read() as conn:
        (row,) = conn.execute(select(workers)).all()
    assert (row.id, row.state, row.study_id, row.trials) == ("one", "busy", study.id, 2)
    _forget_workers(storage)
    one.wait(ALL)
    assert _leases(storage).keys() == {"one"}


def test_trials_of_workers_that_are_in_no_list_are_free(storage: Storage) -> None:
    planned(storage, trials=1)
    _, first = started(worker(storage, "gone"))
    _forget_workers(storage)
    _, second = started(worker(storage, "other"))
    assert second[0].id == first[0].id
    assert second[0].deaths == 1


def _set_back_an_hour(storage: Storage) -> None:
    """As if the database's clock had been: all that it has written is an hour ahead of it."""
    with storage.write() as conn:
        ahead = {c: workers.c[c] + 3600 for c in ("lease_expires", "seen_at", "started_at")}
        conn.execute(update(workers).values(ahead))
        conn.execute(update(slots).values(failed_at=slots.c.failed_at + 3600))


def _leases(storage: Storage) -> dict[str, float]:
    left = (workers.c.lease_expires - storage.now).label("left")
    with storage.read() as conn:
        return {row.id: row.left for row in conn.execute(select(workers.c.id, left))}


def test_a_clock_that_is_set_back_keeps_nobody_s_trials_for_longer_than_a_lease(
    storage: Storage,
) -> None:
    planned(storage, trials=1)
    dead, other = worker(storage, "dead"), worker(storage, "other")
    _, first = started(dead)
    _set_back_an_hour(storage)
    assert _leases(storage)["dead"] > 3000
    assert other.claim(ALL, lambda _: 9) is None  # it may be alive, and has a lease to say so in
    assert 0 < _leases(storage)["dead"] <= LEASE_SECONDS
    expire(storage)
    _, second = started(other)
    assert second[0].id == first[0].id


def test_a_worker_that_is_alive_when_the_clock_is_set_back_keeps_its_trials(
    storage: Storage,
) -> None:
    planned(storage, trials=1)
    one, other = worker(storage, "one"), worker(storage, "other")
    study, mine = started(one)
    _set_back_an_hour(storage)
    assert other.claim(ALL, lambda _: 9) is None
    assert not one.heartbeat(study.id, in_hand(mine)).lost
    assert one.finish(study, [(mine[0], REACHED)]) == []


def test_a_slot_that_failed_before_the_clock_was_set_back_is_not_left_for_others(
    storage: Storage,
) -> None:
    planned(storage, trials=1)
    one = worker(storage, "one")
    worker(storage, "two")
    _, mine = claim(one)
    one.release([(mine[0], 0)], failed=True)
    assert one.claim(ALL, lambda _: 9) is None
    _set_back_an_hour(storage)
    assert one.claim(ALL, lambda _: 9) is not None


def test_after_the_clock_is_set_back_nobody_counts_as_busy_or_idle_but_whoever_says_so(
    storage: Storage,
) -> None:
    planned(storage, trials=4)
    one, idle = worker(storage, "one"), worker(storage, "idle")
    study, mine = started(one)
    idle.wait(ALL)
    assert one.heartbeat(study.id, in_hand(mine)).share
    _set_back_an_hour(storage)
    assert not one.poll(study.id, in_hand(mine)).share
    assert [s.workers for s in load_status(storage, ALL).studies] == [0]
    one.heartbeat(study.id, in_hand(mine))
    idle.wait(ALL)
    assert one.poll(study.id, in_hand(mine)).share
    assert [s.workers for s in load_status(storage, ALL).studies] == [1]


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_after_a_silence_of_all_each_worker_has_a_lease_to_come_back_in(
    storage: Storage, ahead: float
) -> None:
    """Whenever others, who have stopped, were last seen by a clock that has been set since."""
    if storage.engine.dialect.name == "sqlite":
        pytest.skip("no network comes between: silence means that they died")
    planned(storage, trials=4)
    one, two = worker(storage, "one"), worker(storage, "two")
    worker(storage, "stopped").leave(in_order=True)
    study, mine = started(one)
    silent = {"seen_at": storage.now - LEASE_SECONDS, "lease_expires": storage.now - 1}
    with storage.write() as conn:
        conn.execute(update(workers).values(silent))
        stopped = update(workers).where(workers.c.id == "stopped")
        conn.execute(stopped.values(seen_at=storage.now + ahead))
    assert two.claim(ALL, lambda _: 9) is None
    assert not one.heartbeat(study.id, in_hand(mine)).lost


def test_a_worker_that_lost_its_lease_can_neither_start_release_nor_renew(
    storage: Storage,
) -> None:
    planned(storage, trials=2)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, first = claim(one)
    expire(storage)
    claim(two)
    before = rows(storage)
    with pytest.raises(LeaseLost, match="worker one lost its lease"):
        one.start(study, first, clouds().space(4), VERSIONS)
    one.release([(slot, 7) for slot in first])
    news = one.heartbeat(study.id, {slot.id: (slot.fence, 9) for slot in first})
    assert news.lost == {slot.id for slot in first}
    assert rows(storage) == before
    assert optuna_trials(storage) == []


def test_only_the_slots_still_held_are_started(storage: Storage) -> None:
    planned(storage, trials=3)
    one = worker(storage)
    study, taken = claim(one)
    one.release([(taken[1], 0)])
    held = one.start(study, taken, clouds().space(4), VERSIONS)
    assert [slot.number for slot in held] == [0, 2]
    assert [row.trial_id is not None for row in rows(storage)] == [True, False, True]


def test_renewing_keeps_the_lease_and_publishes_progress(storage: Storage) -> None:
    planned(storage, trials=2)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, taken = claim(one)
    expire(storage)
    news = one.heartbeat(study.id, {slot.id: (slot.fence, 11 + slot.number) for slot in taken}, 3.5)
    assert news.lost == frozenset()
    assert two.claim(ALL, lambda _: 9) is None
    with storage.read() as conn:
        me = select(workers, (workers.c.lease_expires - storage.now).label("left"))
        row = conn.execute(me.where(workers.c.id == "one")).one()
    assert (row.steps, row.rate, row.state) == (11, 3.5, "busy")
    assert 0 < row.left <= LEASE_SECONDS


def test_a_finished_slot_can_not_be_renewed_back_to_life(storage: Storage) -> None:
    planned(storage, trials=1)
    one = worker(storage)
    study, taken = started(one)
    one.finish(study, [(taken[0], CAPPED)])
    assert one.heartbeat(study.id, {taken[0].id: (taken[0].fence, 99)}).lost == {taken[0].id}
    assert (rows(storage)[0].state, rows(storage)[0].steps) == ("done", 40)


def test_polling_between_heartbeats_leaves_the_lease_as_it_is(storage: Storage) -> None:
    planned(storage, trials=4)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, mine = started(one, limit=2)
    two.finish(study, [(slot, REACHED) for slot in started(two, limit=1)[1]])
    renewed = one.heartbeat(study.id, in_hand(mine))
    with storage.read() as conn:
        before = conn.execute(select(workers).order_by(workers.c.id)).all()
    assert one.poll(study.id, in_hand(mine)) == renewed == RaceState(cap=40, behind=0, passed=1)
    with storage.read() as conn:
        assert conn.execute(select(workers).order_by(workers.c.id)).all() == before
    one.release([(mine[0], 0)])
    assert one.poll(study.id, in_hand(mine)).lost == {mine[0].id}


def test_the_race_state_knows_of_winners_elsewhere_and_of_trials_that_are_behind(
    storage: Storage,
) -> None:
    planned(storage, trials=5)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, mine = started(one, limit=2)
    assert one.heartbeat(study.id, {}) == RaceState(cap=None, behind=0)
    _, theirs = started(two, limit=2)
    two.finish(study, [(theirs[0], REACHED)])
    assert one.heartbeat(study.id, {}) == RaceState(cap=40, behind=0, passed=1)
    three = worker(storage, "three")
    _, (last,) = started(three)
    three.release([(last, 17)])
    assert one.heartbeat(study.id, {}) == RaceState(cap=40, behind=17, passed=1)
    three.claim(ALL, lambda _: 1)
    assert one.heartbeat(study.id, {}) == RaceState(cap=40, passed=1)
    assert mine


def test_who_waits_is_given_a_part_by_those_who_hold_the_most_of_the_study(
    storage: Storage,
) -> None:
    planned(storage, trials=6)
    one, two, idle = (worker(storage, name) for name in ("one", "two", "idle"))
    study, few = started(one, limit=2)
    _, many = started(two, limit=4)
    idle.wait(ALL)
    assert two.heartbeat(study.id, in_hand(many)).share
    assert not one.heartbeat(study.id, in_hand(few)).share
    worker(storage, "another").wait(ALL)
    assert one.heartbeat(study.id, in_hand(few)).share
    with storage.write() as conn:
        long_ago = storage.now - LEASE_SECONDS - 1
        waiting = update(workers).where(workers.c.state == "idle")
        conn.execute(waiting.values(seen_at=long_ago))
    assert not two.heartbeat(study.id, in_hand(many)).share


def test_who_waits_for_other_studies_is_given_nothing(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4, 16))
    holders = [worker(storage, name) for name in ("one", "two")]
    (four, first), (sixteen, second) = (started(holder) for holder in holders)
    idle = worker(storage, "idle")
    idle.wait(Filter(("no/such/workload",)))
    assert not holders[0].heartbeat(four.id, in_hand(first)).share
    assert not holders[1].heartbeat(sixteen.id, in_hand(second)).share
    idle.wait(Filter(batch_sizes=(16,)))
    assert holders[1].heartbeat(sixteen.id, in_hand(second)).share
    assert not holders[0].heartbeat(four.id, in_hand(first)).share


def test_a_released_slot_keeps_its_trial_its_progress_and_its_attempts(
    storage: Storage,
) -> None:
    planned(storage, trials=2)
    one, two = worker(storage, "one"), worker(storage, "two")
    _, taken = started(one)
    one.release([(taken[0], 25), (taken[1], 0)])
    assert {row.state for row in rows(storage)} == {"free"}
    _, again = started(two)
    assert [(s.steps, s.attempts, s.fence) for s in again] == [(0, 1, 2), (25, 1, 2)]
    assert [s.trial_id for s in again] == [taken[1].trial_id, taken[0].trial_id]
    assert len(optuna_trials(storage)) == 2


def test_a_released_workers_slots_are_free_at_once_and_nobody_elses(storage: Storage) -> None:
    planned(storage)
    one, two, three = (worker(storage, name) for name in ("one", "two", "three"))
    _, dead = claim(one, limit=2)
    claim(two, limit=2)
    Ledger(storage, "one").reap()
    _, taken = claim(three)
    assert [slot.number for slot in taken] == [0, 1, 4, 5]
    assert [(slot.attempts, slot.deaths) for slot in taken] == [(1, 1), (1, 1), (1, 0), (1, 0)]
    assert dead[0].fence < taken[0].fence


# Attempts


def test_a_slot_whose_workers_die_is_failed_after_so_many(storage: Storage) -> None:
    planned(storage, trials=1)
    for death in range(DEATHS):
        one = worker(storage, f"victim-{death}")
        study, taken = started(one)
        assert (taken[0].attempts, taken[0].deaths) == (1, death)
        expire(storage)
    assert worker(storage, "survivor").claim(ALL, lambda _: 9) is None
    (row,) = rows(storage)
    assert (row.state, row.outcome, row.reason) == (
        "done",
        "failed",
        f"its worker died {DEATHS} times",
    )
    assert optuna_trials(storage)[0].state == TrialState.FAIL
    assert one.finish(study, [(taken[0], REACHED)]) == taken
    assert not worker(storage, "another").is_open(ALL)


def test_a_slot_that_failed_keeps_count_and_one_released_in_order_does_not(
    storage: Storage,
) -> None:
    planned(storage, trials=1)
    one = worker(storage)
    for failed, counted in ((False, 1), (True, 1), (False, 2), (True, 2), (False, 3)):
        _, (slot,) = started(one)
        assert slot.attempts == counted
        one.release([(slot, 0)], failed=failed)


def test_of_a_heat_that_loses_its_worker_again_and_again_only_the_culprit_fails(
    storage: Storage,
) -> None:
    planned(storage, trials=9)
    heats = []
    while claimed := worker(storage, f"worker-{len(heats)}").claim(ALL, lambda _: 100):
        study, taken = claimed
        heats.append([slot.number for slot in taken])
        if 5 in heats[-1]:  # the trial that kills
            expire(storage)
        else:
            Ledger(storage, f"worker-{len(heats) - 1}").finish(study, [(s, REACHED) for s in taken])
    together = [[*range(9)]] * COMPANY_DEATHS
    culprit = [[5]] * (DEATHS - COMPANY_DEATHS)
    assert heats == [*together, *([n] for n in range(5)), *culprit, *([n] for n in range(6, 9))]
    assert {row.number: row.outcome for row in rows(storage)} == {
        number: "failed" if number == 5 else "reached" for number in range(9)
    }


def test_a_slot_that_never_started_fails_without_an_optuna_trial(storage: Storage) -> None:
    planned(storage, trials=1)
    for death in range(DEATHS):
        claim(worker(storage, f"victim-{death}"))
        expire(storage)
    assert worker(storage, "survivor").claim(ALL, lambda _: 9) is None
    assert rows(storage)[0].outcome == "failed"
    assert optuna_trials(storage) == []


def test_a_slot_that_gets_on_between_outages_never_exhausts_its_retries(storage: Storage) -> None:
    planned(storage, trials=2)
    for outage in range(3 * DEATHS):
        one = worker(storage, f"worker-{outage}")
        _, taken = started(one)
        one.record_checkpoints([(slot, 5) for slot in taken])
        assert len(taken) == 2  # still racing each other
        expire(storage)


def test_a_slot_that_failed_is_left_for_another_worker_while_there_is_one(
    storage: Storage,
) -> None:
    planned(storage, trials=3)
    one = worker(storage, "one")
    _, taken = started(one)
    one.release([(slot, 0) for slot in taken[:2]], failed=True)
    one.release([(taken[2], 0)])
    two = worker(storage, "two")
    assert [slot.number for slot in claim(one)[1]] == [2]
    assert [slot.number for slot in claim(two)[1]] == [0, 1]
    two.leave(in_order=True)
    assert [slot.number for slot in claim(one)[1]] == [0, 1, 2]


def test_a_slot_that_failed_is_taken_again_when_no_other_has_in_a_while(storage: Storage) -> None:
    planned(storage, trials=1)
    one = worker(storage, "one")
    worker(storage, "of another kind")
    _, taken = started(one)
    one.release([(taken[0], 0)], failed=True)
    assert one.claim(ALL, lambda _: 9) is None
    with storage.write() as conn:
        conn.execute(update(slots).values(failed_at=storage.now - LEASE_SECONDS - 1))
    assert claim(one)[1][0].number == 0


def test_a_worker_that_ends_by_an_error_counts_as_one_that_died(storage: Storage) -> None:
    planned(storage, trials=1)
    one = worker(storage, "one")
    started(one)
    one.leave(in_order=False)
    assert [(row.state, row.attempts, row.deaths) for row in rows(storage)] == [("free", 0, 1)]
    started(one)
    one.leave(in_order=True)
    assert [(row.state, row.attempts, row.deaths) for row in rows(storage)] == [("free", 0, 1)]


def test_what_has_to_be_held_alone_is_behind_nobody(storage: Storage) -> None:
    planned(storage, trials=2)
    one = worker(storage, "one")
    study, _ = started(one, limit=1)
    for values in ({"attempts": ATTEMPTS - 1}, {"attempts": 0, "deaths": COMPANY_DEATHS}):
        assert one.heartbeat(study.id, {}).behind == 0
        with storage.write() as conn:
            conn.execute(update(slots).where(slots.c.number == 1).values(**values))
        assert one.heartbeat(study.id, {}).behind is None
        with storage.write() as conn:
            conn.execute(update(slots).values(attempts=0, deaths=0))


def test_a_renewal_frees_what_dead_workers_hold(storage: Storage) -> None:
    planned(storage, trials=3)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, _ = started(one, limit=1)
    started(two)
    assert one.heartbeat(study.id, {}).behind is None
    expire(storage)
    assert one.heartbeat(study.id, {}).behind == 0


def _leave_or_sweep(url: str, n: int, barrier: Any) -> None:
    storage = open_storage(url)
    me = worker(storage, f"worker-{n}")
    for _ in range(10):
        me.claim(ALL, lambda _: 5)
        barrier.wait()
        if n % 2:
            me.leave(in_order=bool(n % 4 == 1))
        else:
            with storage.write() as conn:
                next_one = update(workers).where(workers.c.id == f"worker-{n + 1}")
                conn.execute(next_one.values(lease_expires=storage.now - 1))
            me.heartbeat(1, {})
        barrier.wait()
    storage.close()


def test_workers_that_leave_and_workers_that_reap_do_not_wait_for_each_other(
    database: str, storage: Storage, eight_processes: Callable[..., list[Any]]
) -> None:
    planned(storage, trials=40)
    assert eight_processes(_leave_or_sweep, database) == [None] * 8
    assert {row.state for row in rows(storage)} <= {"free", "leased", "done"}


# Endings


def test_a_result_is_written_to_the_slot_optuna_and_the_measurements(storage: Storage) -> None:
    planned(storage, trials=3)
    one = worker(storage)
    study, taken = started(one)
    one.finish(study, list(zip(taken, (REACHED, CAPPED, DIVERGED), strict=True)))
    reached, capped, diverged = rows(storage)
    assert {row.state for row in (reached, capped, diverged)} == {"done"}
    assert (reached.outcome, reached.steps_to_target, reached.steps_lower) == ("reached", 40, 39)
    assert (reached.metric, json.loads(reached.versions)) == (0.09, VERSIONS)
    assert (capped.outcome, capped.steps_to_target, capped.steps) == ("capped", None, 40)
    assert (diverged.outcome, diverged.metric) == ("diverged", None)
    trials = optuna_trials(storage)
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [t.value for t in trials] == [40, None, None]
    assert [t.user_attrs["outcome"] for t in trials] == ["reached", "capped", "diverged"]
    assert [t.user_attrs["reason"] for t in trials][1:] == ["another was first", "not finite"]
    curve = {1: 0.6, 32: 0.2, 40: 0.09}
    assert [t.intermediate_values for t in trials] == [curve, {32: 0.4}, {}]
    with storage.read() as conn:
        kept = conn.execute(select(measurements).order_by(measurements.c.step)).all()
    assert {(m.step, m.split, m.metric): m.value for m in kept} == {
        (1, "train", "loss"): 1.5,
        (1, "validation", "error rate"): 0.6,
        (32, "train", "loss"): 0.7,
        (32, "validation", "error rate"): 0.2,
        (40, "validation", "error rate"): 0.09,
        (40, "test", "error rate"): 0.12,
    }
    assert {m.slot_id for m in kept} == {reached.id}


def test_numbers_that_are_not_finite_are_kept_as_missing(storage: Storage) -> None:
    planned(storage, trials=1)
    one = worker(storage)
    study, taken = started(one)
    looks = (Evaluation(1, float("inf"), float("nan")),)
    ending = TrialResult("diverged", "gone", 1, looks, metric=float("nan"), metric_step=1)
    one.finish(study, [(taken[0], ending)])
    assert rows(storage)[0].metric is None
    with storage.read() as conn:
        assert conn.execute(select(measurements.c.value)).scalars().all() == [None, None]


def test_a_training_loss_that_is_not_told_leaves_no_measurement(storage: Storage) -> None:
    planned(storage, trials=1)
    one = worker(storage)
    study, taken = started(one)
    looks = (Evaluation(1, None, 0.6), Evaluation(32, 0.7, 0.2))
    one.finish(study, [(taken[0], replace(REACHED, evaluations=looks))])
    with storage.read() as conn:
        told = select(measurements.c.step).where(measurements.c.metric == "loss")
        assert conn.execute(told).scalars().all() == [32]


@pytest.mark.parametrize("broken", ["end_trials", "write_measurements", "go_on"])
def test_a_result_is_written_as_a_whole_or_not_at_all(
    storage: Storage, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, trials=2, count="feasible")
    one = worker(storage)
    study, taken = started(one)
    before = rows(storage)
    working: Callable[..., Any] = getattr(ledger_module, broken)

    def breaks(*arguments: Any) -> None:
        working(*arguments)
        raise InterruptedError

    endings = list(zip(taken, (REACHED, DIVERGED), strict=True))
    with monkeypatch.context() as patched:
        patched.setattr(ledger_module, broken, breaks)
        with pytest.raises(InterruptedError):
            one.finish(study, endings)
    assert rows(storage) == before
    assert {t.state for t in optuna_trials(storage)} == {TrialState.RUNNING}
    with storage.read() as conn:
        assert conn.execute(select(measurements)).all() == []
    assert one.finish(study, endings) == []
    assert len(rows(storage, slots.c.state == "done")) == 2


def test_a_diverged_trial_is_replaced_by_the_next_point_when_feasible_ones_count(
    storage: Storage,
) -> None:
    planned(storage, trials=2, count="feasible")
    one = worker(storage)
    study, taken = started(one)
    one.finish(study, list(zip(taken, (DIVERGED, CAPPED), strict=True)))
    seed = study_seed(0, study.workload, 4)
    third = quasi_random_points(clouds().space(4), 1, seed, first=2)
    _, again = started(one)
    assert [(slot.number, slot.params) for slot in again] == [(2, third[0])]
    one.finish(study, [(again[0], CAPPED)])
    assert not one.is_open(ALL)


def test_replacements_end_at_three_times_the_budget(storage: Storage) -> None:
    planned(storage, trials=2, count="feasible")
    one = worker(storage)
    while (claimed := one.claim(ALL, lambda _: 9)) is not None:
        study, taken = claimed
        ours = one.start(study, taken, clouds().space(4), VERSIONS)
        one.finish(study, [(slot, DIVERGED) for slot in ours])
    assert len(rows(storage)) == 2 * FEASIBLE_LIMIT
    assert [t.number for t in optuna_trials(storage)] == list(range(2 * FEASIBLE_LIMIT))


def test_diverged_trials_are_not_replaced_when_all_count(storage: Storage) -> None:
    planned(storage, trials=2)
    one = worker(storage)
    study, taken = started(one)
    one.finish(study, [(slot, DIVERGED) for slot in taken])
    assert len(rows(storage)) == 2


def test_slots_added_to_a_feasible_study_continue_after_the_replacements(
    storage: Storage,
) -> None:
    planned(storage, trials=2, count="feasible")
    one = worker(storage)
    study, taken = started(one)
    one.finish(study, list(zip(taken, (DIVERGED, CAPPED), strict=True)))
    planned(storage, trials=4)
    assert [row.number for row in rows(storage)] == [0, 1, 2, 3, 4]
