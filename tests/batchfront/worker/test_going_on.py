"""Several finishers, and trials that go on past the goal, in the database and under workers."""

from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import select, update

from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.claims import DEATHS
from batchfront.ledger.ledger import ATTEMPTS
from batchfront.outcomes import Evaluation, GoalCrossing, TrialResult
from batchfront.store.schema import measurements, studies
from batchfront.store.url import Storage
from batchfront.training.model_run import ModelRun
from tests import searches
from tests.reading import load_curves
from tests.searches import (
    NAME,
    SHORT_STRETCHES,
    optuna_trials,
    reached,
    rows,
    started,
    work,
    worker,
)
from tests.toy import clouds

planned = partial(searches.planned, trials=12, batch_sizes=(4,))

LAST = clouds().grid.steps(150)[-1]
PASSAGE = GoalCrossing(40, 39, 0.09, 0.12)
GONE_ON = TrialResult(
    "reached",
    "goal at step 40, and then: step budget of 150 spent",
    150,
    (Evaluation(32, 0.7, 0.2), Evaluation(64, 0.5, 0.08), Evaluation(150, 0.4, 0.07)),
    steps_to_target=40,
    steps_lower=39,
    metric=0.09,
    metric_step=40,
    test_metric=0.12,
)


def to_target(storage: Storage) -> list[tuple[int, int]]:
    found = rows(storage)
    return sorted((r.steps_to_target, r.number) for r in found if r.steps_to_target is not None)


def ended(storage: Storage) -> list[tuple[Any, ...]]:
    names = ("number", "outcome", "reason", "steps", "steps_to_target", "steps_lower", "metric")
    return [tuple(getattr(row, name) for name in names) for row in rows(storage)]


# The ledger


@pytest.mark.every_storage
def test_the_cap_is_the_steps_of_the_last_finisher_whoever_they_are(storage: Storage) -> None:
    planned(storage, finishers=3)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, mine = started(one, 6)
    _, theirs = started(two, 6)
    for slot, by, steps, cap in (
        (mine[0], one, 50, None),
        (theirs[0], two, 40, None),
        (mine[1], one, 60, 60),
        (theirs[1], two, 45, 50),
        (theirs[2], two, 70, 50),
        (mine[2], one, 40, 45),
    ):
        by.finish(study, [(slot, reached(steps))])
        assert one.poll(study.id, {}).cap == two.poll(study.id, {}).cap == cap
    assert one.poll(study.id, {}).passed == 6


@pytest.mark.every_storage
def test_a_study_without_finishers_has_no_cap(storage: Storage) -> None:
    (study,) = planned(storage)
    one = worker(storage)
    _, taken = started(one)
    with storage.write() as conn:
        conn.execute(update(studies).values(finishers=0))
    one.finish(study, [(slot, reached(40 + slot.number)) for slot in taken])
    news = one.poll(study.id, {})
    assert (news.cap, news.passed) == (None, 12)


@pytest.mark.every_storage
def test_one_that_goes_on_caps_the_others_from_the_moment_that_it_passed(storage: Storage) -> None:
    planned(storage, finishers=1, after_goal="continue")
    one, two = worker(storage, "one"), worker(storage, "two")
    study, (slot, *_) = started(one, 6)
    one.record_crossings([(slot, PASSAGE)])
    one.record_crossings([(slot, PASSAGE)])  # as when the answer was lost
    news = two.poll(study.id, {})
    assert (news.cap, news.passed) == (40, 1)
    row = rows(storage)[0]
    assert (row.state, row.outcome, row.worker_id) == ("leased", None, "one")
    assert (row.steps_to_target, row.steps_lower, row.metric) == (40, 39, 0.09)
    (point,) = load_frontier(storage, NAME).points
    assert (point.steps, point.outcomes) == (40, {"open": 12})


@pytest.mark.every_storage
def test_what_it_passed_and_what_came_after_is_kept_at_its_end(storage: Storage) -> None:
    planned(storage, finishers=1, after_goal="continue")
    one = worker(storage)
    study, (slot, *_) = started(one, 1)
    one.record_crossings([(slot, PASSAGE)])
    assert one.finish(study, [(slot, GONE_ON)]) == []
    row = rows(storage)[0]
    assert (row.state, row.outcome, row.steps, row.steps_to_target) == ("done", "reached", 150, 40)
    assert (row.steps_lower, row.metric, row.reason) == (39, 0.09, GONE_ON.reason)
    (trial,) = optuna_trials(storage)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40)
    assert trial.user_attrs["steps"] == 150
    curve = load_curves(storage, study.id)[0]
    shown = [(p.step, p.split, p.value) for p in curve if p.metric != "loss"]
    assert sorted(shown) == [
        (32, "validation", 0.2),
        (40, "test", 0.12),
        (40, "validation", 0.09),
        (64, "validation", 0.08),
        (150, "validation", 0.07),
    ]


@pytest.mark.every_storage
def test_whoever_takes_it_over_knows_that_it_goes_on(storage: Storage) -> None:
    planned(storage, finishers=1, after_goal="continue", trials=2)
    one, two = worker(storage, "one"), worker(storage, "two")
    _, (first, second) = started(one)
    one.record_crossings([(first, PASSAGE)])
    one.reap()
    study, taken = started(two)
    assert [slot.steps_to_target for slot in taken] == [40, None]
    one.record_crossings([(second, PASSAGE)])  # too late: it is no longer its own
    assert to_target(storage) == [(40, 0)]
    two.record_crossings(
        [(taken[0], GoalCrossing(41, 40, 0.08))]
    )  # the first time is the one that counts
    two.finish(
        study, [(taken[0], TrialResult("reached", "", 150, steps_to_target=41, steps_lower=40))]
    )
    row = rows(storage)[0]
    assert (row.outcome, row.steps_to_target, row.steps_lower, row.metric) == (
        *("reached", 40, 39),
        0.09,
    )
    assert optuna_trials(storage)[0].value == 40


@pytest.mark.every_storage
def test_an_error_after_the_goal_does_not_undo_it(storage: Storage) -> None:
    planned(storage, finishers=1, after_goal="continue")
    one = worker(storage)
    study, (slot, *_) = started(one, 1)
    one.record_crossings([(slot, PASSAGE)])
    one.finish(study, [(slot, TrialResult("failed", "an error\nand more", 90))])
    row = rows(storage)[0]
    assert (row.outcome, row.steps, row.steps_to_target, row.metric) == ("reached", 90, 40, 0.09)
    assert row.reason == "goal passed at step 40, and then: an error\nand more"
    (trial,) = optuna_trials(storage)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40)


@pytest.mark.every_storage
def test_dead_workers_after_the_goal_do_not_undo_it(storage: Storage) -> None:
    planned(storage, finishers=1, after_goal="continue", trials=1)
    for death in range(DEATHS):
        one = worker(storage, f"worker {death}")
        _, (slot,) = started(one)
        if death == 2:
            one.record_crossings([(slot, PASSAGE)])
        one.reap()
    (row,) = rows(storage)
    assert (row.state, row.outcome, row.steps_to_target) == ("done", "reached", 40)
    assert row.reason == f"goal passed at step 40, and then: its worker died {DEATHS} times"
    (trial,) = optuna_trials(storage)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40)


# Workers


@pytest.mark.usefixtures("room_for_three")
@pytest.mark.parametrize("together", ["all", 5, 1])
def test_heats_of_a_part_find_the_trials_with_the_fewest_steps(
    storage: Storage, second_storage: Storage, tmp_path: Path, together: int | str
) -> None:
    planned(second_storage, finishers=12)
    work(second_storage, None)
    everyone = to_target(second_storage)
    assert len(everyone) > 4
    planned(storage, finishers=3, together=together)
    work(storage, tmp_path / "kept", pace=SHORT_STRETCHES)
    last = everyone[2][0]
    assert to_target(storage)[:3] == everyone[:3]
    found = {row.number: row for row in rows(storage)}
    assert "capped" in {row.outcome for row in found.values()}
    unfinished = {n for steps, n in everyone if steps > last}
    for number, row in found.items():
        if row.outcome == "capped":
            assert row.steps >= last
            assert number in unfinished or number not in {n for _, n in everyone}


@pytest.mark.parametrize("together", ["all", 5, 1])
def test_the_first_to_pass_goes_on_to_the_budget(
    storage: Storage, second_storage: Storage, together: int | str
) -> None:
    planned(second_storage, finishers=1, together=together)
    work(second_storage, None)
    before = to_target(second_storage)
    planned(storage, finishers=1, after_goal="continue", together=together)
    work(storage, None)
    assert to_target(storage) == before
    on = [row for row in rows(storage) if row.steps_to_target and row.steps > row.steps_to_target]
    assert [(row.outcome, row.steps) for row in on] == [("reached", LAST)]
    with storage.read() as conn:
        mine = select(measurements.c.step).where(measurements.c.slot_id == on[0].id)
        steps = set(conn.execute(mine).scalars())
    assert {LAST, on[0].steps_to_target, 128, 91} <= steps
    assert load_frontier(storage, NAME).points[0].steps == before[0][0]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("beyond", [0, 20])
def test_one_that_is_interrupted_after_the_goal_comes_out_the_same(
    storage: Storage,
    second_storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
    beyond: int,
) -> None:
    """From its checkpoint, or again from the first step."""
    race = {"finishers": 2, "after_goal": "continue", "continuing": 2}
    planned(second_storage, **race)
    work(second_storage, None)
    at = to_target(second_storage)[0][0] + beyond
    stop, advance = Event(), ModelRun.advance

    def stopping(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        done = advance(self, to_step, stopped)
        if self.goal_crossing is not None and to_step > at:
            stop.set()
        return done

    planned(storage, **race)
    folder = tmp_path / "kept" if kept else None
    with monkeypatch.context() as patched:
        patched.setattr(ModelRun, "advance", stopping)
        work(storage, folder, stop=stop)
    interrupted = [row for row in rows(storage) if row.state == "free" and row.steps_to_target]
    assert interrupted
    assert all((row.steps > 0) == kept for row in interrupted)
    work(storage, folder)
    assert ended(storage) == ended(second_storage)
    assert [t.value for t in optuna_trials(storage)] == [r.steps_to_target for r in rows(storage)]
    assert not (tmp_path / "kept").exists()


def test_one_that_raises_after_the_goal_is_tried_again_and_then_has_reached_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, finishers=1, after_goal="continue")
    advance = ModelRun.advance

    def breaking(self: ModelRun, to_step: int, stopped: Event | None = None) -> bool:
        if self.goal_crossing is not None and to_step > 100:
            raise ArithmeticError("too far")
        return advance(self, to_step, stopped)

    monkeypatch.setattr(ModelRun, "advance", breaking)
    work(storage, None)
    (row,) = [row for row in rows(storage) if row.steps_to_target]
    assert (row.state, row.outcome, row.steps, row.attempts) == ("done", "reached", 100, ATTEMPTS)
    assert "and then: ArithmeticError: too far" in row.reason
    assert {row.state for row in rows(storage)} == {"done"}
