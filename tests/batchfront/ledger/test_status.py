"""Status: how far every study is, who works on it, and what went wrong."""

from typing import Any

import pytest
from sqlalchemy import update

from batchfront.ledger.status import RECENT_FAILURES, StudyStatus, load_status, pause_after
from batchfront.ledger.time_left import time_left
from batchfront.outcomes import GoalCrossing, TrialCost, TrialResult
from batchfront.plan.reruns import plan_confirmations
from batchfront.store.schema import workers
from batchfront.store.url import Storage
from batchfront.study.study import Filter, find_studies
from tests import searches
from tests.searches import ALL, planned, worker
from tests.toy import STEP_BUDGET

pytestmark = pytest.mark.every_storage


def started(ledger: Any, batch_size: int, limit: int = 9) -> Any:
    return searches.started(ledger, limit, Filter(batch_sizes=(batch_size,)))


def reached(steps: int, seconds: float = 0.0) -> TrialResult:
    return searches.reached(steps, cost=TrialCost(0.75 * seconds, 0.25 * seconds))


def test_a_database_without_studies_is_finished(storage: Storage) -> None:
    status = load_status(storage, ALL)
    assert (status.studies, status.workers, status.failures) == ((), (), ())
    assert status.finished


def test_slots_are_counted_as_done_running_and_free(storage: Storage) -> None:
    planned(storage)
    one = worker(storage)
    study, taken = started(one, 4, limit=3)
    one.record_checkpoints([(slot, 10 * slot.number) for slot in taken])
    one.finish(study, [(taken[0], reached(40, seconds=2.0))])
    one.heartbeat(
        study.id, {slot.id: (slot.fence, 15 + slot.number) for slot in taken[1:]}, rate=6.5
    )
    first, second = load_status(storage, ALL).studies
    assert first == StudyStatus(
        name="clouds/mlp/momentum/b4",
        workload="clouds/mlp/momentum",
        batch_size=4,
        total=4,
        done=1,
        running=2,
        outcomes={"reached": 1},
        best=40,
        lead=20,
        behind=12.0,
        steps=76,
        cost=0.05,
        workers=1,
        rate=6.5,
        cap=40,
        metric="error rate",
        goal=0.1,
        budget=STEP_BUDGET,
        passed=1,
    )
    assert (first.open, second.open) == (3, 4)
    assert (second.done, second.running, second.best, second.cost) == (0, 0, None, None)
    assert (second.steps, second.lead, second.outcomes) == (0, 0, {})


def test_with_several_finishers_it_knows_where_the_race_ends_once_they_have_passed(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,), finishers=2)
    one = worker(storage)
    study, taken = started(one, 4)
    for slot, steps, best, cap in zip(
        taken, (50, 40, 45), (50, 40, 40), (None, 50, 45), strict=False
    ):
        one.finish(study, [(slot, reached(steps))])
        (found,) = load_status(storage, ALL).studies
        assert (found.best, found.cap) == (best, cap)


def test_trials_that_go_on_past_the_goal_have_their_budget_left(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), after_goal="continue")
    one = worker(storage)
    study, taken = started(one, 4)
    one.record_checkpoints([(slot, 60 if slot.number == 1 else 20) for slot in taken])
    one.record_crossings([(taken[1], GoalCrossing(40, 39, 0.09))])
    one.finish(study, [(taken[0], reached(40, seconds=2.0))])
    status = load_status(storage, ALL)
    (found,) = status.studies
    assert (found.open, found.beyond, found.left) == (3, 1, STEP_BUDGET - 60)
    assert (found.lead, found.behind) == (20, 20.0)
    assert time_left(found, status).about == pytest.approx((2 * 20 + STEP_BUDGET - 60) * 0.05)


def test_what_is_left_undone_is_said_by_batch_size(storage: Storage) -> None:
    planned(storage)
    assert load_status(storage, ALL).undone == "0 of 8 trials ran; all batch sizes have fewer"
    one = worker(storage)
    study, taken = started(one, 4)
    one.finish(study, [(slot, reached(40)) for slot in taken])
    assert load_status(storage, ALL).undone == "4 of 8 trials ran; batch size 16 has fewer"
    study, taken = started(one, 16)
    one.finish(study, [(slot, reached(40)) for slot in taken])
    assert load_status(storage, ALL).undone == ""


def test_it_is_finished_when_the_last_slot_is_done(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    one = worker(storage)
    study, taken = started(one, 4)
    for slot in taken:
        assert not load_status(storage, ALL).finished
        one.finish(study, [(slot, reached(40))])
    assert load_status(storage, ALL).finished


def test_a_filter_leaves_the_other_studies_out(storage: Storage) -> None:
    planned(storage)
    found = load_status(storage, Filter(batch_sizes=(16,))).studies
    assert [study.batch_size for study in found] == [16]
    assert load_status(storage, Filter(("no/such/workload",))).studies == ()


def test_a_search_stands_before_what_runs_its_trials_again(storage: Storage) -> None:
    planned(storage)
    mine = worker(storage)
    study, (slot, *_) = started(mine, 4)
    mine.finish(study, [(slot, reached(40))])
    plan_confirmations(storage, study.workload)
    planned(storage, trials=6)  # now its row was written last
    b4, b16 = study.name, f"{study.workload}/b16"
    assert [one.name for one in load_status(storage, ALL).studies] == [b4, f"{b4}/confirm", b16]
    with storage.read() as conn:
        assert [one.name for one in find_studies(conn, ALL)] == [b4, f"{b4}/confirm", b16]


def test_workers_are_shown_with_their_study_until_they_stop(storage: Storage) -> None:
    planned(storage)
    busy, idle, gone = (worker(storage, name) for name in ("busy", "idle", "gone"))
    started(busy, 16)
    gone.leave(in_order=True)
    idle.wait(Filter(("no/such/workload",)))
    found = {w.id: w for w in load_status(storage, ALL).workers}
    assert found.keys() == {"busy", "idle"}
    assert (found["busy"].state, found["busy"].study) == ("busy", "clouds/mlp/momentum/b16")
    assert (found["idle"].state, found["idle"].study) == ("idle", None)
    assert (found["busy"].host, found["busy"].pid, found["busy"].device) == ("here", 1, "cpu")
    assert 0 <= found["busy"].silent < 60


def test_a_worker_is_silent_since_its_last_heartbeat(storage: Storage) -> None:
    worker(storage)
    with storage.write() as conn:
        conn.execute(update(workers).values(seen_at=storage.now - 100))
    assert 100 <= load_status(storage, ALL).workers[0].silent < 160


def test_the_latest_failures_are_shown_with_the_first_line_of_their_reason(
    storage: Storage,
) -> None:
    planned(storage, trials=RECENT_FAILURES + 3, batch_sizes=(4,))
    one = worker(storage)
    study, taken = started(one, 4)
    for slot in taken[:-1]:
        reason = f"ValueError: number {slot.number}\nTraceback\n  more"
        one.finish(study, [(slot, TrialResult("failed", reason, 1))])
    one.finish(study, [(taken[-1], reached(40))])
    failures = load_status(storage, ALL).failures
    assert len(failures) == RECENT_FAILURES
    assert {f.study for f in failures} == {study.name}
    assert all(f.reason == f"ValueError: number {f.trial}" for f in failures)


def test_those_who_only_look_take_a_twentieth_of_a_core_at_most() -> None:
    assert pause_after(0.001, 1.0) == 1.0
    took = 2.0
    assert took / (took + pause_after(took, 1.0)) == pytest.approx(0.05)
