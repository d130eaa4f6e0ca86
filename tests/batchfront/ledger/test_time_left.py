"""The time left: about, and at most."""

from typing import Any

import pytest

from batchfront.ledger.status import Status, StudyStatus, WorkerStatus
from batchfront.ledger.time_left import TimeLeft, all_time_left, time_left


def of(batch_size: int, **changes: Any) -> StudyStatus:
    fields: dict[str, Any] = {
        "name": f"w/b{batch_size}",
        "workload": "w",
        "batch_size": batch_size,
        "total": 10,
        "done": 0,
        "running": 0,
        "outcomes": {},
        "best": None,
        "lead": 0,
        "behind": 0.0,
        "steps": 0,
        "cost": None,
    }
    return StudyStatus(**{**fields, **changes})


def left(of_study: StudyStatus, *others: StudyStatus) -> float | None:
    return time_left(of_study, Status(0.0, (of_study, *others), (), ())).about


def at_most(of_study: StudyStatus, *others: StudyStatus) -> float | None:
    return time_left(of_study, Status(0.0, (of_study, *others), (), ())).most


def test_the_time_left_is_that_of_bringing_the_open_slots_to_where_they_are_capped() -> None:
    assert left(of(8, done=4, best=90, cap=100, behind=40.0, cost=0.5)) == 6 * 60 * 0.5
    assert left(of(8, done=4, best=90, cap=100, behind=140.0, cost=0.5)) == 0.0
    assert left(of(8, done=10)) == 0.0


def test_before_enough_have_passed_the_race_goes_somewhat_further_than_it_has_come() -> None:
    assert left(of(8, done=4, best=100, behind=50.0, cost=0.5)) == 6 * 75 * 0.5
    assert left(of(8, done=4, best=100, lead=120, behind=50.0, cost=0.5)) == 6 * 100 * 0.5


def test_before_a_best_the_nearest_batch_size_tells_as_if_steps_halved() -> None:
    near, far = of(16, best=100, cost=0.5, done=10), of(256, best=3, cost=9.0, done=10)
    assert left(of(8), near, far) == pytest.approx(10 * 200 * 0.5)
    assert left(of(32), near, far) == pytest.approx(10 * 100 * 0.5)
    assert left(of(32, lead=160), near, far) == pytest.approx(10 * 200 * 0.5)


def test_without_anything_that_tells_the_time_left_is_unknown() -> None:
    assert left(of(8)) is None
    other = of(16, best=100, cost=0.5)
    assert left(of(8), StudyStatus(**{**vars(other), "workload": "another"})) is None


def test_before_any_trial_has_ended_the_time_at_most_is_known_from_how_fast_they_go() -> None:
    racing = of(8, lead=100, behind=100.0, workers=2, rate=400.0, budget=1000)
    assert left(racing) is None
    assert at_most(racing) == 10 * 900 * 2 / 400


def test_a_race_to_many_finishers_goes_on_at_the_pace_at_which_trials_pass() -> None:
    few = {"finishers": 100, "passed": 4, "best": 50, "lead": 80, "behind": 80.0, "cost": 0.5}
    assert left(of(8, done=4, budget=10_000, **few)) == 6 * (80 * 25 - 80) * 0.5
    assert left(of(8, done=4, budget=500, **few)) == 6 * 420 * 0.5  # and no further than it may
    assert at_most(of(8, done=4, budget=500, **few)) == 6 * 420 * 0.5


def test_where_no_trial_is_capped_all_go_on_to_their_budget() -> None:
    assert left(of(8, finishers=0, best=50, passed=1, done=2, cost=0.5, budget=300)) == 1200


def test_as_few_trials_go_now_counts_not_as_many_did() -> None:
    assert left(of(8, done=9, cap=100, cost=0.1, workers=1, rate=2.0)) == 50.0


def test_a_larger_batch_of_which_nothing_is_known_may_take_as_much_longer_for_a_step() -> None:
    near = of(16, best=100, cost=0.5, done=10, budget=200)
    assert at_most(of(64, budget=200), near) == 10 * 200 * 0.5 * 4
    assert at_most(of(8, budget=200), near) == 10 * 200 * 0.5


def test_a_search_that_may_get_more_trials_says_how_long_it_takes_with_all_of_them() -> None:
    more = {"cost": 0.5, "shared": True, "further": 3, "budget": 200}
    assert left(of(8, done=4, cap=100, **more)) is None
    assert at_most(of(8, done=4, cap=100, **more)) == 300.0 + 3 * 200 * 0.5
    assert at_most(of(8, done=10, **more)) == 3 * 200 * 0.5
    assert at_most(of(8, done=10, **{**more, "budget": None})) is None
    assert left(of(8, done=4, cap=100, cost=0.5, shared=True, settled="sure")) == 300.0


def test_all_workers_share_all_that_is_left() -> None:
    mine = (of(8, done=9, cap=100, cost=0.5), of(16, done=9, cap=100, cost=0.5, budget=100))
    workers = tuple(WorkerStatus(str(n), "", 1, "cpu", "busy", None, 0.0) for n in range(2))
    assert all_time_left(Status(0.0, mine, workers, ())) == TimeLeft(50.0, 50.0)
    assert all_time_left(Status(0.0, mine, (), ())) == TimeLeft(None, None)
    assert all_time_left(Status(0.0, (*mine, of(32)), workers, ())).about is not None
    assert all_time_left(Status(0.0, (of(32),), workers, ())) == TimeLeft(None, None)
