"""What every storage promises when several processes, with clocks of their own, share it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, tzinfo
from functools import partial
from threading import Event
from typing import Any

import optuna
import pytest
from sqlalchemy import func, select, update

from batchfront.frontier import frontier as frontier_module
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger import trials as trials_module
from batchfront.ledger.ledger import LEASE_SECONDS
from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies, workers
from batchfront.store.url import open_storage
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.preflight import checks
from tests import searches
from tests.searches import ALL, NAME, started, worker
from tests.toy import SPEC, clouds
from tests.waiting import LONG

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=8, batch_sizes=(4,))

REACHED = TrialResult(
    "reached", "", 40, steps_to_target=40, steps_lower=39, metric=0.09, metric_step=40
)


def trials(storage: Storage) -> list[Any]:
    """As Optuna reads them."""
    url = storage.url.render_as_string(hide_password=False)
    rdb = optuna.storages.RDBStorage(url)
    found = [t for s in rdb.get_all_studies() for t in rdb.get_all_trials(s._study_id)]
    rdb.engine.dispose()
    return found


# Planning


def _plan(url: str, n: int, barrier: Any) -> list[int]:
    check = checks.check

    def together(*arguments: Any) -> Any:
        checked = check(*arguments)
        barrier.wait()  # all have seen that there is no study yet
        return checked

    checks.check = together  # in this process, which ends with the function
    barrier.wait()
    storage = open_storage(url, create=True)
    done = plan(storage, SPEC, clouds(), SearchOptions(trials=6 + n, batch_sizes=(4, 16)))
    storage.close()
    return [study.id for study in done.studies]


@pytest.mark.slow
def test_eight_processes_that_plan_at_once_in_an_empty_database_make_one_plan(
    empty_database: str, eight_processes: Callable[..., list[Any]]
) -> None:
    """Each asks for another number of trials; the largest is what there is in the end."""
    found = eight_processes(_plan, empty_database)
    assert found == [found[0]] * 8
    storage = open_storage(empty_database)
    with storage.read() as conn:
        rows = conn.execute(select(studies.c.id, studies.c.trials).order_by(studies.c.id)).all()
        numbers = [
            conn.execute(
                select(slots.c.number).where(slots.c.study_id == row.id).order_by(slots.c.number)
            )
            .scalars()
            .all()
            for row in rows
        ]
    storage.close()
    assert [row.id for row in rows] == sorted(found[0])
    assert [row.trials for row in rows] == [13, 13]
    assert numbers == [[*range(13)], [*range(13)]]


# Claims


def _claim_until_none(url: str, n: int, barrier: Any) -> list[tuple[int, int]]:
    """Claims heats of three, each trial ended or handed back, until no slot is free."""
    storage = open_storage(url)
    ledger, found = worker(storage, f"worker-{n}"), []
    barrier.wait()
    while claimed := ledger.claim(ALL, lambda _: 3):
        study, taken = claimed
        ours = ledger.start(study, taken, clouds().space(study.batch_size), {})
        back = [slot for slot in ours if slot.steps == 0 and slot.number % 2]
        ledger.release([(slot, 10) for slot in back])
        ended = [slot for slot in ours if slot not in back]
        assert ledger.finish(study, [(slot, REACHED) for slot in ended]) == []
        found += [(slot.id, slot.fence) for slot in ended]
    ledger.leave(in_order=True)
    storage.close()
    return found


def test_eight_processes_end_each_slot_once_and_leave_none_free(
    database: str, storage: Storage, eight_processes: Callable[..., list[Any]]
) -> None:
    planned(storage, trials=30, batch_sizes=(4, 16))
    found = [claim for claims in eight_processes(_claim_until_none, database) for claim in claims]
    with storage.read() as conn:
        rows = conn.execute(select(slots).order_by(slots.c.id)).all()
    assert sorted(found) == [(row.id, row.fence) for row in rows]
    assert {(row.number % 2, row.fence) for row in rows} == {(0, 1), (1, 2)}
    assert {(row.state, row.outcome) for row in rows} == {("done", "reached")}
    assert [t.value for t in trials(storage)] == [40] * 60


def test_a_result_that_can_not_be_written_whole_is_not_written(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the slot nor Optuna's trial says that it ended, and it can be written again."""
    planned(storage, trials=1)
    one = worker(storage, "one")
    study, (slot,) = started(one)

    def breaks(*_: Any) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr("batchfront.ledger.ledger.write_measurements", breaks)
        with pytest.raises(InterruptedError):
            one.finish(study, [(slot, REACHED)])
    with storage.read() as conn:
        assert conn.execute(select(slots.c.state)).scalar_one() == "leased"
    assert [trial.state.name for trial in trials(storage)] == ["RUNNING"]
    assert one.finish(study, [(slot, REACHED)]) == []
    assert [trial.state.name for trial in trials(storage)] == ["COMPLETE"]


def test_a_start_that_outlasts_its_lease_makes_no_second_trial(
    database: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the worker is frozen in the midst of it, and another takes its slots over."""
    planned(storage, trials=3)
    inside, go, making = Event(), Event(), trials_module.create_trials

    def frozen(*arguments: Any) -> list[int]:
        if not inside.is_set():
            inside.set()
            assert go.wait(LONG)
        return making(*arguments)

    monkeypatch.setattr(trials_module, "create_trials", frozen)

    def take_over() -> tuple[Study, list[Slot]]:
        other = open_storage(database)
        two = worker(other, "two")
        with other.write() as conn:
            conn.execute(update(workers).values(lease_expires=other.now - 1))
        found = started(two)
        other.close()
        return found

    one = worker(storage, "one")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(started, one)
        assert inside.wait(LONG)
        second = threads.submit(take_over)
        wait([second], timeout=0.3)  # without harm if it gets that far, or waits for the first
        go.set()
        (study, mine), (_, theirs) = first.result(LONG), second.result(LONG)
    assert [slot.trial_id for slot in mine] == [slot.trial_id for slot in theirs]
    assert [trial.number for trial in trials(storage)] == [0, 1, 2]
    assert one.finish(study, [(slot, REACHED) for slot in mine]) == mine


# Clocks


@pytest.fixture(params=[-7 * 86400.0, 7 * 86400.0], ids=["a week behind", "a week ahead"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's own clock, as Python tells it, goes wrong; the database's doesn't."""
    right = time.time

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp(right() + request.param, tz)

    monkeypatch.setattr(time, "time", lambda: right() + request.param)
    monkeypatch.setattr("batchfront.store.optuna_tables.datetime", Wrong)


def test_leases_go_by_the_databases_clock_however_wrong_the_workers_is(
    storage: Storage, wrong_clock: None
) -> None:
    planned(storage, trials=2)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, taken = started(one)
    one.heartbeat(study.id, {slot.id: (slot.fence, 5) for slot in taken})
    with storage.read() as conn:
        mine = select(workers.c.lease_expires - storage.now).where(workers.c.id == "one")
        assert 0 < conn.execute(mine).scalar_one() <= LEASE_SECONDS
    assert two.claim(ALL, lambda _: 9) is None
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=storage.now - 1))
    _, again = started(two)
    assert one.finish(study, [(slot, REACHED) for slot in taken]) == taken
    assert two.finish(study, [(slot, REACHED) for slot in again]) == []
    with storage.read() as conn:
        ended = conn.execute(select(func.max(slots.c.finished_at) - storage.now)).scalar_one()
    assert ended == pytest.approx(0, abs=86400)


# Readers


def test_a_frontier_can_be_read_while_another_batch_size_is_planned(
    database: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of its queries."""
    planned(storage)
    find = frontier_module.find_studies

    def then_plan(*arguments: Any) -> Any:
        found = find(*arguments)
        monkeypatch.setattr(frontier_module, "find_studies", find)
        other = open_storage(database)
        planned(other, batch_sizes=(16,))
        other.close()
        return found

    monkeypatch.setattr(frontier_module, "find_studies", then_plan)
    assert [p.batch_size for p in load_frontier(storage, NAME).points] == [4]
    assert [p.batch_size for p in load_frontier(storage, NAME).points] == [4, 16]
