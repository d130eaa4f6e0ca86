"""Trials of an adaptive sampler race a generation at a time, the same whoever runs them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from service import sampling
from service.claims import DEATHS
from service.engine_choice import Asked
from service.errors import IdentityError
from service.exchange.export import export
from service.exchange.restore import restore
from service.generations import start_of
from service.ledger import Ledger
from service.plan import Request, plan
from service.points import quasi_random
from service.schema import slots, workers
from service.slots import Filter, Slot, Study
from service.storage import Storage
from service.training.heat import Ending
from service.worker import Settings, Worker
from tests.toy import PLAIN, plain

samplers = pytest.mark.parametrize("sampler", ["tpe", "gp"])


def planned(storage: Storage, **asked: Any) -> Study:
    request = {"trials": 10, "batch_sizes": (4,), "finishers": 1, "sampler": "tpe", "generation": 4}
    (study,) = plan(storage, PLAIN, plain(), Request(**{**request, **asked})).studies
    return study


def work(storage: Storage, name: str = "one", engine: Asked = "sequential") -> None:
    Worker(storage, Settings(name, torch.device("cpu"), engine=engine), Event()).run()


def rows(storage: Storage) -> list[Any]:
    with storage.read() as conn:
        return list(conn.execute(select(slots).order_by(slots.c.number)))


def states(storage: Storage) -> str:
    """A letter for each slot's state: free, waiting, held, done."""
    letters = {"free": "f", "later": "w", "leased": "h", "done": "d"}
    return "".join(letters[row.state] for row in rows(storage))


def claim(storage: Storage, name: str, limit: int) -> tuple[Ledger, Study, list[Slot]]:
    """Slots that a worker has claimed and started."""
    ledger = Ledger(storage, name)
    ledger.register("here", 1, "cpu")
    found = ledger.claim(Filter(), lambda _: limit)
    assert found is not None
    study, taken = found
    draws = sampling.draw(storage, study, [slot.number for slot in taken])
    drawn = [replace(slot, params=params) for slot, params in zip(taken, draws, strict=True)]
    return ledger, study, ledger.start(study, drawn, study.space, {})


def exhausted(slot: Slot) -> tuple[Slot, Ending]:
    return slot, Ending("exhausted", "", 9)


def finish(storage: Storage, ending: Callable[[Slot], tuple[Slot, Ending]] = exhausted) -> None:
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
        conn.execute(update(workers).values(lease_expires=storage.now))
    other = Ledger(storage, "two")
    other.register("here", 2, "cpu")
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
    finish(storage, lambda slot: (slot, Ending("diverged", "", 3)))
    assert states(storage) == "ddddffff"
    finish(storage)
    assert states(storage) == "d" * 8


@samplers
def test_a_draw_depends_on_the_generations_before_alone(storage: Storage, sampler: str) -> None:
    study = planned(storage, sampler=sampler, trials=12)
    draw = partial(sampling.draw, storage, study)
    assert draw(range(4)) == quasi_random(study, 0, 4)
    finish(storage)
    second = draw(range(4, 8))
    assert len({str(point) for point in second}) == 4
    assert draw([6]) == second[2:3]
    assert draw([7, 5]) == [second[3], second[1]]
    ledger, _, taken = claim(storage, "one", 2)
    ledger.finish(study, [(slot, Ending("reached", "", 5, steps_to_target=5)) for slot in taken])
    assert draw(range(4, 8)) == second


def test_a_generation_starts_where_its_first_slot_is(storage: Storage) -> None:
    study = planned(storage)
    assert [start_of(study, n) for n in (0, 3, 4, 7, 9)] == [0, 0, 4, 4, 8]


@pytest.mark.every_storage
@samplers
def test_one_worker_and_three_find_the_same(
    storage: Storage, second_storage: Storage, sampler: str
) -> None:
    for database in (storage, second_storage):
        planned(database, sampler=sampler)
    threads = [Thread(target=work, args=(storage, f"worker {n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work(second_storage, engine="vectorized")
    many, one = rows(storage), rows(second_storage)
    assert [row.params for row in many] == [row.params for row in one]
    assert [row.steps_to_target for row in many] == [row.steps_to_target for row in one]
    assert {row.state for row in many} == {"done"}


def test_a_later_generation_stops_at_the_best_of_those_before(storage: Storage) -> None:
    planned(storage, trials=12)
    work(storage)
    for start in (4, 8):
        before = [row.steps_to_target for row in rows(storage)[:start] if row.steps_to_target]
        assert before
        assert all(row.steps <= min(before) for row in rows(storage)[start : start + 4])


def test_the_size_of_a_generation_belongs_to_the_study(storage: Storage) -> None:
    assert planned(storage).generation == 4
    assert planned(storage, generation=None).generation == 4
    with pytest.raises(IdentityError, match=r"search\.generation was 4, is 3"):
        planned(storage, generation=3)


def test_a_generation_is_eight_unless_told_otherwise(storage: Storage) -> None:
    assert planned(storage, generation=None, sampler="gp").generation == 8


def test_without_an_adaptive_sampler_there_are_none(storage: Storage) -> None:
    study = planned(storage, generation=None, sampler="sobol")
    assert study.generation == 0
    assert "generation" not in study.identity["search"]
    assert set(states(storage)) == {"f"}


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_what_waits_still_does_after_an_export_and_its_import(
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
    work(storage)
    work(second_storage)
    assert [r.params for r in rows(storage)] == [r.params for r in rows(second_storage)]
