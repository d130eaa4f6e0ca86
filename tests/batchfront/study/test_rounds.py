"""Searches of a workload at all batch sizes go on in rounds, each of which is sampled as one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from time import sleep
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from batchfront.errors import UsageError
from batchfront.exchange.export import export
from batchfront.exchange.restore import restore
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.claims import DEATHS
from batchfront.ledger.ledger import Ledger
from batchfront.ledger.status import load_status
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.plan.extend import extend
from batchfront.store.optuna_tables import delete_study
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.study import joint_sampler
from batchfront.study.joint_sampler import load_search, read_evidence, sample_round
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.study.warm_start import sample_late
from batchfront.surrogate import proposal
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.workload.search_space import (
    Metaparameters,
    SearchSpace,
    quasi_random_points,
)
from tests import searches
from tests.searches import (
    ALL,
    expire,
    fewest_by_group,
    reached,
    rows,
    slots_of,
    work,
    work_beside,
    worker,
)
from tests.toy import plain

NAME = "plain/mlp/momentum"
joint = {"sampler": "joint", "together": 2}
planned = partial(searches.planned, workload=plain, trials=4, batch_sizes=(4, 16), **joint)
EXHAUSTED = TrialResult("exhausted", "", 9)

Ending = Callable[[Study, Slot], TrialResult]


def exhausted(study: Study, slot: Slot) -> TrialResult:
    return EXHAUSTED


def states(storage: Storage) -> str:
    """A letter for each slot's state, study by study: free, waiting, held, done."""
    letters = {"free": "f", "later": "w", "leased": "h", "done": "d"}
    by_study: dict[int, str] = {}
    for row in rows(storage):
        by_study[row.study_id] = by_study.get(row.study_id, "") + letters[row.state]
    return " ".join(by_study.values())


def rounds(storage: Storage) -> list[list[int]]:
    """The rounds of the slots of each study."""
    found: dict[int, list[int]] = {}
    for row in rows(storage):
        found.setdefault(row.study_id, []).append(row.round)
    return list(found.values())


def params(storage: Storage) -> list[Any]:
    return [row.params for row in rows(storage)]


def begin(
    storage: Storage, name: str = "one", limit: int = 100, wanted: Filter = ALL
) -> tuple[Ledger, Study, list[Slot]]:
    """Slots that a worker has claimed, sampled and started."""
    ledger = worker(storage, name)
    study, taken = searches.claim(ledger, limit, wanted)
    sampled = sample_late(storage, study, [slot.number for slot in taken])
    drawn = [replace(slot, params=one.params) for slot, one in zip(taken, sampled, strict=True)]
    return ledger, study, ledger.start(study, drawn, study.space, {})


def finish(
    storage: Storage, studies: int = 1, ending: Ending = exhausted, wanted: Filter = ALL
) -> None:
    """End what is free of so many studies, one after the other, as one worker would."""
    for _ in range(studies):
        ledger, study, taken = begin(storage, "finisher", wanted=wanted)
        assert ledger.finish(study, [(slot, ending(study, slot)) for slot in taken]) == []


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the sampler asks for, each time that it does."""
    asked: list[dict[str, Any]] = []
    working = proposal.propose

    def propose(
        spaces: Mapping[int, SearchSpace],
        shown: Sequence[Evidence],
        wanted: Mapping[int, int],
        seed: int,
    ) -> dict[int, list[Metaparameters]]:
        asked.append({"shown": shown, "wanted": dict(wanted), "seed": seed})
        return working(spaces, shown, wanted, seed)

    monkeypatch.setattr(proposal, "propose", propose)
    return asked


@pytest.mark.every_storage
def test_a_round_begins_when_the_one_before_is_over_at_all_batch_sizes(storage: Storage) -> None:
    planned(storage)
    assert rounds(storage) == [[0, 0, 1, 1]] * 2
    assert states(storage) == "ffww wwww"
    ledger, study, taken = begin(storage)
    assert states(storage) == "hhww ffww"
    ledger.finish(study, [(slot, EXHAUSTED) for slot in taken])
    assert states(storage) == "ddww ffww"
    finish(storage)
    assert states(storage) == "ddff ddww"
    finish(storage, 2)
    assert states(storage) == "dddd dddd"
    assert not ledger.is_open(ALL)


@pytest.mark.every_storage
def test_two_that_end_a_round_at_once_begin_the_next(storage: Storage) -> None:
    planned(storage)
    held = [begin(storage, f"worker {n}") for n in range(2)]
    assert states(storage) == "hhww hhww"
    ready = Barrier(2)

    def end(ledger: Ledger, study: Study, taken: list[Slot]) -> None:
        ready.wait()
        ledger.finish(study, [(slot, EXHAUSTED) for slot in taken])

    threads = [Thread(target=end, args=one) for one in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(storage) == "ddff ddww"


@pytest.mark.every_storage
def test_many_that_claim_sample_and_end_trials_at_once_never_lock_each_other_out(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def propose(spaces: Any, shown: Any, wanted: Mapping[int, int], seed: int) -> Any:
        return {b: quasi_random_points(spaces[b], n, seed + b) for b, n in wanted.items()}

    monkeypatch.setattr(proposal, "propose", propose)
    planned(storage, trials=6, batch_sizes=(4, 8, 16), count="feasible")
    wrong: list[BaseException] = []

    def be_at_it(name: str, limit: int) -> None:
        ledger = worker(storage, name)  # which tries each thing once: whatever is in its way counts
        try:
            while ledger.is_open(ALL, patient=True):
                if (claimed := ledger.claim(ALL, lambda _: limit)) is None:
                    sleep(0.02)
                    continue
                study, taken = claimed
                sampled = sample_late(storage, study, [slot.number for slot in taken])
                pairs = zip(taken, sampled, strict=True)
                drawn = [replace(slot, params=one.params) for slot, one in pairs]
                started = ledger.start(study, drawn, study.space, {})
                if limit == 2 and started[0].fence == 1:
                    ledger.reap()  # it has died
                    ledger.register("here", 1, "cpu")
                    continue
                for slot in started:
                    ended = TrialResult("diverged", "", 3) if slot.number == 1 else EXHAUSTED
                    ledger.finish(study, [(slot, ended)])
        except BaseException as error:
            wrong.append(error)

    threads = [Thread(target=be_at_it, args=(f"worker {n}", 1 + n % 3)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(states(storage)) == {"d", " "}
    assert [len(own) for own in rounds(storage)] == [7] * 3
    assert all(own.count(n) <= 2 for own in rounds(storage) for n in own)


@pytest.mark.every_storage
def test_a_round_is_sampled_once_for_all_batch_sizes(
    storage: Storage, proposed: list[dict[str, Any]]
) -> None:
    planned(storage, trials=5)
    finish(storage, 6)
    assert [one["wanted"] for one in proposed] == [{4: 2, 16: 2}, {4: 2, 16: 2}, {4: 1, 16: 1}]
    assert [len(one["shown"]) for one in proposed] == [0, 4, 8]
    assert len({one["seed"] for one in proposed}) == 3


def test_what_is_sampled_and_has_not_begun_is_no_result(storage: Storage) -> None:
    planned(storage)
    begin(storage)
    assert [row.params is None for row in rows(storage)] == [False, False, True, True] * 2
    frontier = load_frontier(storage, NAME)
    assert [dict(point.outcomes) for point in frontier.points] == [{"open": 4}] * 2
    _, second = load_status(storage, ALL).studies
    assert (second.open, second.running, second.done, second.steps) == (4, 0, 0, 0)
    with storage.read() as conn:
        search = load_search(conn, NAME)
    assert read_evidence(storage, search, 9) == []


@pytest.mark.every_storage
def test_one_worker_and_three_find_the_same(
    database: str,
    storage: Storage,
    second_storage: Storage,
    at_once: Callable[..., list[Any]],
) -> None:
    for one in (storage, second_storage):
        planned(one, trials=6)
    at_once(3, work_beside, database)
    work(second_storage, engine="vectorized")
    assert params(storage) == params(second_storage)
    many, alone = (fewest_by_group(one, lambda row: row.round) for one in (storage, second_storage))
    assert many == alone
    assert states(storage) == states(second_storage) == "dddddd dddddd"


def test_each_trial_stops_at_the_best_of_its_batch_size_so_far(storage: Storage) -> None:
    planned(storage, trials=6)
    work(storage)
    for study in ("b4", "b16"):
        mine = slots_of(storage, f"{NAME}/{study}")
        for start in (2, 4):
            before = [row.steps_to_target for row in mine[:start] if row.steps_to_target]
            assert all(row.steps <= min(before) for row in mine[start : start + 2] if before)


def test_a_worker_that_dies_as_it_samples_changes_nothing(
    storage: Storage, second_storage: Storage
) -> None:
    for database in (storage, second_storage):
        planned(database)
        finish(database, 2)
    dead = worker(storage, "dead")
    searches.claim(dead)
    assert states(storage) == "ddhh ddww"
    expire(storage)
    finish(storage, 2)
    finish(second_storage, 2)
    assert params(storage) == params(second_storage)
    assert states(storage) == "dddd dddd"


def test_a_slot_whose_workers_all_died_ends_its_round_too(storage: Storage) -> None:
    planned(storage)
    finish(storage)
    ledger, study, taken = begin(storage)
    ledger.finish(study, [(taken[0], EXHAUSTED)])
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.id == taken[1].id).values(deaths=DEATHS - 1))
    expire(storage)
    other = worker(storage, "two")
    study, taken = searches.claim(other)
    assert ([slot.number for slot in taken], study.batch_size) == ([2, 3], 4)


def test_who_learns_late_of_a_winner_changes_nothing_that_is_sampled(
    storage: Storage, second_storage: Storage
) -> None:
    """One goes on past the winner's steps, and another even to the goal, or until it diverges."""
    seen = (Evaluation(4, 0.5, 0.3), Evaluation(8, 0.5, 0.2))
    told = {"metric": 0.3, "metric_step": 4, "evaluations": seen[:1]}
    went_on = {"metric": 0.2, "metric_step": 8, "evaluations": seen}

    def in_time(study: Study, slot: Slot) -> TrialResult:
        return reached(5) if slot.number == 1 else TrialResult("capped", "", 5, **told)

    def late(study: Study, slot: Slot) -> TrialResult:
        if slot.number == 1:
            return reached(5)
        if study.batch_size == 4:
            return TrialResult("diverged", "", 8, **went_on)
        return replace(reached(9), evaluations=seen, metric=0.05, metric_step=9)

    for database, ending in ((storage, in_time), (second_storage, late)):
        planned(database)
        finish(database, 2, ending)
        begin(database)
    assert params(storage) == params(second_storage)
    with second_storage.read() as conn:
        search = load_search(conn, NAME)
    found = read_evidence(second_storage, search, 1)
    assert [(one.kind, one.steps) for one in found] == [(Kind.MORE_THAN, 5), (Kind.REACHED, 5)] * 2


@pytest.mark.parametrize(
    ("result", "kind", "steps"),
    [
        (reached(7), Kind.REACHED, 7),
        (TrialResult("capped", "", 8, metric=0.3), Kind.MORE_THAN, 8),
        (TrialResult("dropped", "", 8, metric=0.3), Kind.MORE_THAN, 8),
        (TrialResult("exhausted", "", 150), Kind.MORE_THAN, 150),
        (TrialResult("diverged", "", 3), Kind.INFEASIBLE, 3),
        (TrialResult("stalled", "", 90, metric=0.6), Kind.INFEASIBLE, 90),
        (TrialResult("failed", "", 3), None, 0),
    ],
)
def test_a_surrogate_is_told_how_each_trial_ended(
    storage: Storage, result: TrialResult, kind: Kind | None, steps: float
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    finish(storage, ending=lambda study, slot: result)
    with storage.read() as conn:
        found = read_evidence(storage, load_search(conn, NAME), 1)
    if kind is None:
        assert found == []
        return
    (one,) = found
    assert (one.batch_size, one.kind, one.steps) == (4, kind, steps)


def test_a_trial_that_goes_on_past_the_goal_has_reached_it(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4,), together=1, after_goal="continue")
    finish(storage, ending=lambda study, slot: TrialResult("exhausted", "", 150, steps_to_target=6))
    with storage.read() as conn:
        (one,) = read_evidence(storage, load_search(conn, NAME), 1)
    assert (one.kind, one.steps) == (Kind.REACHED, 6)


@pytest.mark.every_storage
def test_batch_sizes_that_come_later_join_the_rounds_that_have_not_begun(storage: Storage) -> None:
    planned(storage, trials=6, batch_sizes=(4,))
    planned(storage, trials=6, batch_sizes=(4, 16))
    assert rounds(storage) == [[0, 0, 1, 1, 2, 2]] * 2
    finish(storage, 2)
    begin(storage, "two")
    planned(storage, trials=6, batch_sizes=(4, 8, 16))
    assert rounds(storage)[2] == [2, 2, 3, 3, 4, 4]
    assert states(storage) == "ddhhww ddffww wwwwww"


def test_a_search_that_is_over_goes_on_at_another_batch_size(
    storage: Storage, proposed: list[dict[str, Any]]
) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    finish(storage)
    planned(storage, trials=2, batch_sizes=(16,))
    finish(storage)
    assert proposed[-1]["wanted"] == {16: 2}
    assert [one.batch_size for one in proposed[-1]["shown"]] == [4, 4]


def test_more_trials_fill_up_a_round_that_has_not_begun_and_go_on(storage: Storage) -> None:
    planned(storage, trials=3)
    planned(storage, trials=6)
    assert rounds(storage) == [[0, 0, 1, 1, 2, 2]] * 2
    finish(storage, 6)
    planned(storage, trials=7, batch_sizes=(4,))
    assert rounds(storage)[0] == [0, 0, 1, 1, 2, 2, 3]
    begin(storage)
    planned(storage, trials=9, batch_sizes=(4,))
    planned(storage, trials=8, batch_sizes=(16,))
    assert rounds(storage) == [[0, 0, 1, 1, 2, 2, 3, 4, 4], [0, 0, 1, 1, 2, 2, 4, 4]]


def test_slots_that_come_while_a_round_is_sampled_are_sampled_with_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, proposed: list[dict[str, Any]]
) -> None:
    planned(storage, batch_sizes=(4,))
    working = proposal.propose

    def propose(*told: Any) -> Any:
        if len(proposed) == 0:
            planned(storage, batch_sizes=(4, 16))
        return working(*told)

    monkeypatch.setattr(proposal, "propose", propose)
    begin(storage)
    assert [one["wanted"] for one in proposed] == [{4: 2}, {4: 2, 16: 2}]
    assert states(storage) == "hhww ffww"


def test_two_that_sample_a_round_at_once_have_the_same(storage: Storage) -> None:
    planned(storage)
    finish(storage, 2)
    first, second = worker(storage, "one"), worker(storage, "two")
    study, mine = searches.claim(first, 1)
    _, others = searches.claim(second, 1)
    numbers = [slot.number for slot in (*mine, *others)]
    assert numbers == [2, 3]
    with storage.read() as conn:
        search = load_search(conn, NAME)
    drawn = [one.params for one in sample_late(storage, study, numbers)]
    sample_round(storage, search, 1)
    assert [one.params for one in sample_late(storage, study, numbers)] == drawn


def test_diverged_trials_are_replaced_when_their_round_is_over(storage: Storage) -> None:
    planned(storage, trials=2, count="feasible")
    ledger, study, taken = begin(storage)
    ledger.finish(study, [(taken[0], TrialResult("diverged", "", 3))])
    assert rounds(storage) == [[0, 0], [0, 0]]
    ledger.finish(study, [(taken[1], TrialResult("diverged", "", 3))])
    assert rounds(storage) == [[0, 0, 1, 1], [0, 0]]
    finish(storage)
    assert states(storage) == "ddff dd"
    finish(storage, ending=lambda study, slot: TrialResult("diverged", "", 3))
    finish(storage, ending=lambda study, slot: TrialResult("diverged", "", 3))
    assert rounds(storage) == [[0, 0, 1, 1, 2, 2], [0, 0]]  # three times the budget, no more
    assert states(storage) == "dddddd dd"


def test_a_trial_that_diverged_after_others_had_won_is_not_replaced(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4,), count="feasible")
    finish(
        storage,
        ending=lambda study, slot: reached(5) if slot.number else TrialResult("diverged", "", 8),
    )
    assert states(storage) == "dd"


@pytest.mark.parametrize("how", ["deleted", "through Optuna", "damaged"])
def test_a_search_goes_on_without_a_study_that_is_gone(
    storage: Storage, how: str, proposed: list[dict[str, Any]]
) -> None:
    small, large = planned(storage)
    finish(storage)
    if how == "deleted":
        delete_doomed(storage, find_doomed(storage, NAME, [16]))
    with storage.write() as conn:
        if how == "through Optuna":
            delete_study(conn, large.id)
        if how == "damaged":
            broken = update(slots).where(slots.c.study_id == large.id, slots.c.number == 3)
            conn.execute(broken.values(params="not JSON"))
    finish(storage)
    assert [row.state for row in slots_of(storage, small.name)] == ["done"] * 4
    assert proposed[-1]["wanted"] == {4: 2}
    assert [one.batch_size for one in proposed[-1]["shown"]] == [4, 4]


def test_who_runs_some_batch_sizes_is_told_which_others_it_waits_for(storage: Storage) -> None:
    planned(storage)
    ours, theirs = Filter((NAME,), (16,)), Filter((NAME,), (4,))
    finish(storage, wanted=ours)
    assert states(storage) == "ffww ddww"
    one = worker(storage)
    assert one.claim(ours, lambda _: 9) is None
    assert one.waited_for(ours) == {NAME: [4]}
    assert one.waited_for(ALL) == one.waited_for(theirs) == {}
    assert not one.is_open(ours)
    assert one.is_open(ours, patient=True)
    other, study, taken = begin(storage, "other", wanted=theirs)
    assert one.is_open(ours)
    other.finish(study, [(slot, EXHAUSTED) for slot in taken])
    assert one.claim(ours, lambda _: 9) is not None


def test_a_wider_space_is_sampled_in_a_round_of_its_own(
    storage: Storage, proposed: list[dict[str, Any]]
) -> None:
    planned(storage, trials=2)
    high = {"learning_rate": 0.0999}

    def won(study: Study, slot: Slot) -> TrialResult:
        return reached(5) if study.batch_size == 4 and slot.number == 0 else EXHAUSTED

    finish(storage, 2, won)
    with storage.write() as conn:
        first = slots.c.number == 0
        for row in conn.execute(select(slots).where(first)).all():
            told = json.dumps({**json.loads(row.params), **high})
            conn.execute(update(slots).where(slots.c.id == row.id).values(params=told))
    (extension,) = extend(storage, NAME)
    assert extension.study.batch_size == 4
    assert rounds(storage)[0] == [0, 0, 1, 1, 2, 2]
    finish(storage)
    assert proposed[-1]["wanted"] == {4: 2}


def test_more_that_go_on_past_the_goal_put_off_the_next_round(storage: Storage) -> None:
    asked = {"batch_sizes": (4,), "finishers": 2, "after_goal": "continue"}
    planned(storage, **asked, continuing=1)
    finish(storage, ending=lambda study, slot: reached(5 + slot.number))
    assert states(storage) == "ddff"
    planned(storage, **asked, continuing=2)
    assert states(storage).count("f") == 4


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_rounds_outlive_an_export_and_its_import_where_they_are_never_run(
    storage: Storage, second_storage: Storage, tmp_path: Path, format_: str
) -> None:
    planned(storage)
    begin(storage)
    export(storage, (), tmp_path / "exported", format_, lambda _: None)
    assert len(list(restore(second_storage, tmp_path / "exported"))) == 2
    for name in (f"{NAME}/b4", f"{NAME}/b16"):
        there, here = slots_of(second_storage, name), slots_of(storage, name)
        assert [(row.round, row.params) for row in there] == [(r.round, r.params) for r in here]
    assert worker(second_storage).claim(ALL, lambda _: 9) is None
    assert states(second_storage) == "ffww ffww"


def test_a_variant_is_a_search_of_its_own(storage: Storage, proposed: list[dict[str, Any]]) -> None:
    planned(storage)
    finish(storage, 2)
    searches.planned(storage, plain, variant="wider")
    assert rounds(storage)[2:] == [[0, 0, 1, 1]] * 2
    finish(storage, wanted=Filter((f"{NAME}@wider",)))
    assert proposed[-1]["shown"] == []
    assert proposed[-1]["seed"] == proposed[0]["seed"]  # the two are compared


def test_what_was_imported_is_no_part_of_a_search(storage: Storage) -> None:
    _, large = planned(storage)
    with storage.write() as conn:
        conn.execute(update(studies).where(studies.c.id == large.id).values(spec=""))
    with storage.read() as conn:
        assert set(load_search(conn, NAME).studies) == {4}


def test_a_study_that_is_deleted_as_a_round_is_sampled_is_given_up(storage: Storage) -> None:
    small, _ = planned(storage)
    with storage.write() as conn:
        conn.execute(delete(slots).where(slots.c.study_id == small.id))
    with pytest.raises(joint_sampler.StudyDeleted, match="deleted or damaged"):
        sample_late(storage, small, [0])


def test_a_plan_is_refused_in_a_space_that_the_surrogate_cannot_model(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchfront.plan import plan

    monkeypatch.setattr(plan, "unmodelled", lambda space: "it holds one point")
    with pytest.raises(UsageError, match="4: it holds one point; or say --sampler sobol"):
        planned(storage)
    assert len(planned(storage, sampler="sobol")) == 2
