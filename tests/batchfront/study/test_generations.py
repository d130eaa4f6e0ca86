"""Trials race a generation at a time where they are told to, the same whoever runs them."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import update

from batchfront.errors import IdentityError
from batchfront.exchange.export import export
from batchfront.exchange.restore import restore
from batchfront.ledger.claims import DEATHS
from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import TrialResult
from batchfront.plan.extend import extend
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study import adaptive_sampler as sampling
from batchfront.study.generations import end_of, start_of
from batchfront.study.points import quasi_random
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.vocabulary import EngineName
from tests import searches
from tests.searches import expire, fewest_by_group, rows, work, work_beside, worker
from tests.toy import plain
from tests.waiting import eventually

tpe = {"sampler": "tpe", "together": 4}
planned = partial(searches.planned, workload=plain, trials=10, batch_sizes=(4,), **tpe)
samplers = pytest.mark.parametrize("sampler", ["tpe", "gp"])


def states(storage: Storage) -> str:
    """A letter for each slot's state: free, waiting, held, done."""
    letters = {"free": "f", "later": "w", "leased": "h", "done": "d"}
    return "".join(letters[row.state] for row in rows(storage))


def claim(
    storage: Storage, name: str, limit: int, **params: float
) -> tuple[Ledger, Study, list[Slot]]:
    """Slots that a worker has claimed and started, with these of their metaparameters."""
    ledger = worker(storage, name)
    study, taken = searches.claim(ledger, limit)
    draws = sampling.sample(storage, study, [slot.number for slot in taken])
    pairs = zip(taken, draws, strict=True)
    drawn = [replace(slot, params={**draw, **params}) for slot, draw in pairs]
    return ledger, study, ledger.start(study, drawn, study.space, {})


def exhausted(slot: Slot) -> tuple[Slot, TrialResult]:
    return slot, TrialResult("exhausted", "", 9)


def finish(
    storage: Storage, ending: Callable[[Slot], tuple[Slot, TrialResult]] = exhausted
) -> None:
    """End all slots that are free, as one worker would."""
    ledger, study, taken = claim(storage, "finisher", 1000)
    assert ledger.finish(study, [ending(slot) for slot in taken]) == []


@pytest.mark.every_storage
def test_slots_are_free_when_the_generation_before_has_ended(storage: Storage) -> None:
    planned(storage)
    assert states(storage) == "ffffwwwwww"
    ledger, study, taken = claim(storage, "one", 3)
    assert states(storage) == "hhhfwwwwww"
    assert ledger.finish(study, [exhausted(slot) for slot in taken]) == []
    assert states(storage) == "dddfwwwwww"
    finish(storage)
    assert states(storage) == "ddddffffww"
    finish(storage)
    assert states(storage) == "ddddddddff"
    finish(storage)
    assert states(storage) == "d" * 10
    assert not ledger.is_open(Filter())


@pytest.mark.every_storage
def test_two_that_end_a_generation_at_once_open_the_next(storage: Storage) -> None:
    planned(storage, trials=8)
    held = [claim(storage, f"worker {n}", 2) for n in range(2)]
    ready = Barrier(2)

    def end(ledger: Ledger, study: Study, taken: list[Slot]) -> None:
        ready.wait()
        ledger.finish(study, [exhausted(slot) for slot in taken])

    threads = [Thread(target=end, args=one) for one in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(storage) == "ddddffff"


@pytest.mark.every_storage
def test_a_slot_whose_workers_all_died_opens_the_next_generation_too(storage: Storage) -> None:
    planned(storage, trials=6)
    ledger, study, taken = claim(storage, "one", 4)
    ledger.finish(study, [exhausted(slot) for slot in taken[:3]])
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.number == 3).values(deaths=DEATHS - 1))
    expire(storage)
    other = worker(storage, "two")
    found = other.claim(Filter(), lambda _: 8)
    assert found is not None
    assert [slot.number for slot in found[1]] == [4, 5]
    assert rows(storage)[3].outcome == "failed"


def test_more_trials_fill_up_a_generation_and_go_on(storage: Storage) -> None:
    planned(storage, trials=6)
    assert states(storage) == "ffffww"
    planned(storage, trials=9)
    assert states(storage) == "ffffwwwww"
    finish(storage)
    finish(storage)
    finish(storage)
    assert states(storage) == "d" * 9
    planned(storage, trials=14)
    assert states(storage) == "d" * 9 + "fffww"  # of the generation that begins at 8, three more


def test_a_diverged_trial_is_replaced_in_a_later_generation(storage: Storage) -> None:
    planned(storage, trials=4, count="feasible")
    finish(storage, lambda slot: (slot, TrialResult("diverged", "", 3)))
    assert states(storage) == "ddddffff"
    finish(storage)
    assert states(storage) == "d" * 8


@samplers
def test_what_is_sampled_depends_on_the_generations_before_alone(
    storage: Storage, sampler: str
) -> None:
    (study,) = planned(storage, sampler=sampler, trials=12)
    draw = partial(sampling.sample, storage, study)
    assert draw(range(4)) == quasi_random(study, 0, 4)
    finish(storage)
    second = draw(range(4, 8))
    assert len({str(point) for point in second}) == 4
    assert draw([6]) == second[2:3]
    assert draw([7, 5]) == [second[3], second[1]]
    ledger, _, taken = claim(storage, "one", 2)
    ledger.finish(
        study, [(slot, TrialResult("reached", "", 5, steps_to_target=5)) for slot in taken]
    )
    assert draw(range(4, 8)) == second


@samplers
def test_who_learns_late_of_a_winner_changes_nothing_that_is_sampled(
    storage: Storage, second_storage: Storage, sampler: str
) -> None:
    """The winner's worker is slow: all others of its generation have gone on past it by then."""
    for database in (storage, second_storage):
        planned(database, sampler=sampler, trials=8)
    work(storage)
    first = rows(storage)[:4]
    winner = min((row.steps_to_target, row.number) for row in first if row.steps_to_target)[1]
    slow, _, taken = claim(second_storage, "slow", 4)
    slow.release([(slot, 0) for slot in taken if slot.number != winner])
    fast = Thread(target=partial(work, second_storage, name="fast"))
    fast.start()
    eventually(lambda: states(second_storage).count("d") == 3)
    late = [row.steps for row in rows(second_storage)[:4]]
    assert sum(late) > sum(row.steps for row in first)
    slow.leave(in_order=True)
    fast.join()
    assert [r.params for r in rows(second_storage)] == [r.params for r in rows(storage)]


def test_a_sampler_knows_of_points_beside_that_are_not_its_own(storage: Storage) -> None:
    """As with warm start, where some of a generation are a neighbour's winner's."""
    (study,) = planned(storage, sampler="gp", trials=8)
    finish(
        storage,
        lambda slot: (slot, TrialResult("exhausted", "", 9, metric=0.9 - 0.1 * slot.number)),
    )
    own = sampling.sample(storage, study, range(4, 8))
    assert sampling.sample(storage, study, [5]) == own[1:2]
    with storage.write() as conn:
        told = {"params": json.dumps(own[1])}  # just what it would have drawn itself
        conn.execute(update(slots).where(slots.c.number == 4).values(told))
    assert sampling.sample(storage, study, [5]) != own[1:2]


def test_what_comes_with_a_wider_space_begins_a_generation(storage: Storage) -> None:
    (study,) = planned(storage)
    bounds = [(start_of(study, n), end_of(study, n)) for n in (0, 3, 4, 9)]
    assert bounds == [(0, 4), (0, 4), (4, 8), (8, 12)]
    wider = replace(study, extensions=({"first": 10, "outside": 6, "space": {}},))
    bounds = [(start_of(wider, n), end_of(wider, n)) for n in (7, 8, 10, 13, 14)]
    assert bounds == [(4, 8), (8, 10), (10, 14), (10, 14), (14, 18)]


def test_an_extension_is_sampled_knowing_of_the_winner_that_asked_for_it(storage: Storage) -> None:
    (study,) = planned(storage, trials=6)
    finish(storage)
    ledger, study, taken = claim(storage, "one", 2, learning_rate=0.0999)
    ends = [
        (slot, TrialResult("reached", "", 5, steps_to_target=5, steps_lower=4)) for slot in taken
    ]
    assert ledger.finish(study, ends) == []
    (extension,) = extend(storage, study.workload)
    assert states(storage)[:10] == "dddddd" + "ffff"
    draws = sampling.sample(storage, extension.study, range(6, 10))
    assert max(float(draw["learning_rate"]) for draw in draws) > 0.1


def test_planning_again_frees_what_was_left_waiting(storage: Storage) -> None:
    planned(storage, trials=6)
    with storage.write() as conn:
        ended = {"state": "done", "outcome": "exhausted"}
        conn.execute(update(slots).where(slots.c.number < 4).values(ended))
    assert states(storage) == "ddddww"
    planned(storage, trials=6)
    assert states(storage) == "ddddff"


@pytest.mark.every_storage
@samplers
def test_one_worker_and_three_find_the_same(
    database: str,
    storage: Storage,
    second_storage: Storage,
    at_once: Callable[..., list[Any]],
    sampler: str,
) -> None:
    for one in (storage, second_storage):
        planned(one, sampler=sampler)
    at_once(3, work_beside, database)
    work(second_storage, engine="vectorized")
    assert [row.params for row in rows(storage)] == [row.params for row in rows(second_storage)]
    many, alone = (
        fewest_by_group(one, lambda row: row.number // 4) for one in (storage, second_storage)
    )
    assert many == alone
    assert {row.state for row in rows(storage)} == {"done"}


def test_a_later_generation_stops_at_the_best_of_those_before(storage: Storage) -> None:
    planned(storage, trials=12)
    work(storage)
    for start in (4, 8):
        before = [row.steps_to_target for row in rows(storage)[:start] if row.steps_to_target]
        assert before
        assert all(row.steps <= min(before) for row in rows(storage)[start : start + 4])


def test_the_size_of_a_generation_belongs_to_the_study(storage: Storage) -> None:
    assert planned(storage)[0].generation == 4
    assert planned(storage, together=None)[0].generation == 4
    with pytest.raises(IdentityError, match=r"search\.together was 4, is 3"):
        planned(storage, together=3)


def test_a_generation_is_eight_unless_told_otherwise(storage: Storage) -> None:
    assert planned(storage, together=None, sampler="gp")[0].generation == 8


def test_without_an_adaptive_sampler_all_race_together_unless_told_otherwise(
    storage: Storage, second_storage: Storage
) -> None:
    (study,) = planned(storage, together=None, sampler="sobol")
    assert study.generation == 0
    assert "generation" not in study.identity["search"]
    assert set(states(storage)) == {"f"}
    planned(second_storage, together=4, sampler="sobol")
    assert states(second_storage) == "ffffwwwwww"
    assert [r.params for r in rows(second_storage)] == [r.params for r in rows(storage)]


@pytest.mark.parametrize("engine", ["sequential", "vectorized"])
def test_the_winner_is_the_same_however_many_race_together(
    storage: Storage, second_storage: Storage, engine: EngineName
) -> None:
    planned(storage, together="all", sampler="sobol")
    work(storage, engine=engine)
    planned(second_storage, together=3, sampler="sobol")
    work(second_storage, engine=engine)
    all_at_once, some = rows(storage), rows(second_storage)
    won = min((row.steps_to_target, row.number) for row in all_at_once if row.steps_to_target)
    assert won == min((row.steps_to_target, row.number) for row in some if row.steps_to_target)
    for start in (3, 6, 9):
        before = [row.steps_to_target for row in some[:start] if row.steps_to_target]
        assert before
        assert all(row.steps <= min(before) for row in some[start : start + 3])


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_what_waits_still_does_after_an_export_and_its_import_and_is_never_run_there(
    storage: Storage, second_storage: Storage, tmp_path: Path, format_: str
) -> None:
    planned(storage)
    finish(storage)
    ledger, _, _ = claim(storage, "one", 2)
    folder = tmp_path / "exported"
    export(storage, (), folder, format_, lambda _: None)
    assert len(list(restore(second_storage, folder))) == 1
    assert states(second_storage) == "ddddffffww"
    ledger.leave(in_order=True)
    work(second_storage)
    assert states(second_storage) == "ddddffffww"
