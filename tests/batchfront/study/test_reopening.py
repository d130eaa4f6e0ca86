"""More finishers for a search that has been run: it becomes what it would have been with them."""

from typing import Any

import optuna
import pytest
from sqlalchemy import select

from batchfront.errors import UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.store.optuna_dashboard import NOTE
from batchfront.store.schema import measurements
from batchfront.store.url import Storage
from batchfront.study.dashboard_note import study_note
from batchfront.study.study import Study
from tests.batchfront.halved import halve
from tests.searches import claim, end, optuna_trials, reached, slots_of, stored, work, worker
from tests.toy import PLAIN, plain

NAME = "plain/mlp/momentum"


def make(storage: Storage, *, halved: bool = False, **asked: Any) -> Planned:
    planned = plan(storage, PLAIN, plain(), SearchOptions(**{"batch_sizes": (4,), **asked}))
    if halved:
        halve(storage)
    return planned


def ended(storage: Storage) -> list[tuple[Any, ...]]:
    """How every trial ended, with its measurements and what Optuna keeps of it."""
    columns = ("number", "outcome", "reason", "steps", "steps_to_target", "steps_lower", "metric")
    shown = [
        [(m.step, m.split, m.metric, m.value) for m in _measured(storage, row.id)]
        for row in slots_of(storage, f"{NAME}/b4")
    ]
    trials = optuna_trials(storage, f"{NAME}/b4")
    kept = [(t.state, t.value, t.params, t.intermediate_values, t.user_attrs) for t in trials]
    own = [[getattr(row, c) for c in columns] for row in slots_of(storage, f"{NAME}/b4")]
    return list(zip(own, shown, kept, strict=True))


def _measured(storage: Storage, slot_id: int) -> list[Any]:
    query = select(measurements).where(measurements.c.slot_id == slot_id)
    with storage.read() as conn:
        return list(conn.execute(query.order_by(*measurements.primary_key)))


raised: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"finishers": 3}),
    ({}, {"after_goal": "continue"}),
    ({}, {"finishers": 3, "after_goal": "continue", "continuing": 2}),
    ({"finishers": 2}, {"finishers": 4}),
    ({"count": "feasible"}, {"finishers": 3}),
    ({"halved": True, "trials": 12}, {"finishers": 3}),
    ({"extrapolate": True, "trials": 12}, {"finishers": 3}),
    ({"extrapolate": True, "trials": 12}, {"after_goal": "continue"}),
    ({"sampler": "tpe", "together": 4}, {"after_goal": "continue"}),
]


@pytest.mark.parametrize(("asked", "more"), raised)
def test_a_raised_search_is_to_the_bit_what_one_with_the_larger_number_is(
    storage: Storage, second_storage: Storage, asked: dict[str, Any], more: dict[str, Any]
) -> None:
    make(storage, **{"trials": 8, **asked})
    work(storage)
    (won,) = load_frontier(storage, NAME).points
    assert make(storage, **more).reopened[0] > 0
    (meanwhile,) = load_frontier(storage, NAME).points
    assert (meanwhile.steps, meanwhile.params) == (won.steps, won.params)
    work(storage)
    make(second_storage, **{"trials": 8, **asked, **more})
    work(second_storage)
    assert ended(storage) == ended(second_storage)


@pytest.mark.every_storage
def test_what_goes_on_is_free_and_running_and_the_winner_stays(storage: Storage) -> None:
    make(storage, trials=6)
    work(storage)
    (winner,) = (row for row in slots_of(storage, f"{NAME}/b4") if row.outcome == "reached")
    planned = make(storage, finishers=2)
    assert (planned.added, planned.reopened) == ((0,), (5,))
    for row in slots_of(storage, f"{NAME}/b4"):
        if row.id == winner.id:
            assert row == winner
        else:
            assert (row.state, row.outcome, row.steps, row.attempts) == ("free", None, 0, 0)
            assert _measured(storage, row.id) == []
    work(storage)
    assert [entry[0][1] for entry in ended(storage)].count("reached") == 2
    assert make(storage, finishers=2).reopened == (0,)


def test_a_trial_that_already_ran_as_far_as_the_new_cap_stays_as_it_ended(storage: Storage) -> None:
    make(storage, trials=4)
    capped = [TrialResult("capped", "", 20), TrialResult("capped", "", 10)]
    end(storage, f"{NAME}/b4", dict(enumerate([reached(20), reached(10), *capped])))
    assert make(storage, finishers=2).reopened == (1,)
    rows = slots_of(storage, f"{NAME}/b4")
    assert [row.outcome for row in rows] == ["reached", "reached", "capped", None]


@pytest.mark.parametrize("together", [1, 4])
def test_some_at_a_time_the_finishers_are_those_of_a_search_with_the_larger_number(
    storage: Storage, second_storage: Storage, together: int
) -> None:
    make(storage, trials=12, together=together)
    work(storage)
    make(storage, finishers=3)
    work(storage)
    make(second_storage, trials=12, together=together, finishers=3)
    work(second_storage)
    ours, theirs = (load_frontier(s, NAME).points[0] for s in (storage, second_storage))
    assert ours.finishers[:3] == theirs.finishers[:3]


@pytest.mark.every_storage
def test_a_worker_that_learns_late_of_it_ends_no_trial_too_early(storage: Storage) -> None:
    make(storage, trials=3)
    ledger = worker(storage, "one")
    study, taken = claim(ledger, 3)
    started = ledger.start(study, taken, study.space, {})
    make(storage, finishers=2)
    endings = [TrialResult("reached", "", 7, (), 7, 6), *[TrialResult("capped", "", 7)] * 2]
    assert ledger.finish(study, list(zip(started, endings, strict=True))) == []
    found_now = [(row.outcome, row.state) for row in slots_of(storage, f"{NAME}/b4")]
    assert found_now == [("reached", "done"), (None, "free"), (None, "free")]


def test_only_the_batch_sizes_that_are_named_are_raised(storage: Storage) -> None:
    make(storage, batch_sizes=(4, 16), trials=2)
    make(storage, finishers=3)
    make(storage, batch_sizes=None, trials=3)
    assert [stored(storage, f"{NAME}/b{b}").finishers for b in (4, 16)] == [3, 1]


def test_the_definition_stays_and_the_note_tells_the_new_number(storage: Storage) -> None:
    before = make(storage, trials=2).studies[0]
    (study,) = make(storage, finishers=3).studies
    assert study == stored(storage, study.name)
    assert study.identity == before.identity  # which checkpoints are tagged with
    assert _note(storage, study) == study_note(study)
    assert "3 other trials" in study_note(study)


def _note(storage: Storage, study: Study) -> str:
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    kept = rdb.get_study_system_attrs(study.id)
    rdb.engine.dispose()
    pieces = [key for key in kept if key.startswith(f"{NOTE}str:")]
    return "".join(kept[f"{NOTE}str:{n}"] for n in range(len(pieces)))


lowered: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"finishers": 3}, {"finishers": 2}, "--finishers 2: study plain/mlp/momentum/b4 has 3, which"),
    (
        {"finishers": 3, "after_goal": "continue", "continuing": 2},
        {"continuing": 1},
        "--continuing 1: study plain/mlp/momentum/b4 has 2, which can be raised, not lowered",
    ),
    ({"after_goal": "continue"}, {"after_goal": "stop"}, "--after-goal stop: trials of study"),
    ({"sampler": "tpe"}, {"finishers": 2}, "its sampler, tpe, would have drawn other trials"),
]


@pytest.mark.parametrize(("asked", "less", "said"), lowered)
def test_what_cannot_be_taken_back_is_refused_with_how_to_begin_anew(
    storage: Storage, asked: dict[str, Any], less: dict[str, Any], said: str
) -> None:
    make(storage, trials=2, **asked)
    before = slots_of(storage, f"{NAME}/b4")
    with pytest.raises(UsageError) as refused:
        make(storage, **less)
    assert said in str(refused.value)
    anew = f"leave it out, or begin anew after `batchfront delete {NAME} --storage {storage.url}`"
    assert str(refused.value).endswith(anew)
    assert slots_of(storage, f"{NAME}/b4") == before
