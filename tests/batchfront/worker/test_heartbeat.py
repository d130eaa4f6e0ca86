"""The lease heartbeat: leases live on while the main thread trains, and news comes in."""

from collections.abc import Mapping
from functools import partial
from threading import Event
from threading import enumerate as threads

import pytest
from sqlalchemy import select, update

from batchfront.errors import StorageError
from batchfront.ledger.ledger import Ledger, RaceState
from batchfront.outcomes import TrialResult
from batchfront.store.schema import workers
from batchfront.store.url import Storage
from batchfront.study.slots import Slot
from batchfront.worker.heartbeat import Heartbeat, _Speed
from tests import waiting
from tests.searches import claim, planned, worker
from tests.toy import clouds

pytestmark = pytest.mark.every_storage
eventually = partial(waiting.eventually, pause=0.01)


@pytest.fixture
def one(storage: Storage) -> Ledger:
    planned(storage, batch_sizes=(4,))
    return worker(storage, "one")


def held(*taken: Slot, steps: int = 0) -> dict[int, tuple[int, int]]:
    return {slot.id: (slot.fence, steps) for slot in taken}


def progress(storage: Storage) -> int:
    with storage.read() as conn:
        return conn.execute(select(workers.c.steps).where(workers.c.id == "one")).scalar_one()


def test_leases_are_renewed_and_progress_published_while_it_is_open(
    storage: Storage, one: Ledger
) -> None:
    study, taken = claim(one, 2)
    with Heartbeat(one, study.id, every=0.01) as heartbeat:
        heartbeat.hold(held(*taken, steps=7))
        eventually(lambda: progress(storage) == 7)
        with storage.write() as conn:
            conn.execute(update(workers).values(lease_expires=storage.now - 1))
        expired = select(workers.c.id).where(workers.c.lease_expires <= storage.now)

        def renewed() -> bool:
            with storage.read() as conn:
                return not conn.execute(expired).all()

        eventually(renewed)
        assert heartbeat.race_state.lost == frozenset()
    assert "lease-heartbeat" not in {thread.name for thread in threads()}


def test_news_of_a_winner_elsewhere_comes_in(storage: Storage, one: Ledger) -> None:
    study, _ = claim(one, 2)
    two = worker(storage, "two")
    _, theirs = claim(two, 1)
    with Heartbeat(one, study.id, every=0.01) as heartbeat:
        assert heartbeat.race_state == RaceState()
        started = two.start(study, theirs, clouds().space(4), {})
        ending = TrialResult("reached", "", 33, steps_to_target=33, steps_lower=32)
        two.finish(study, [(started[0], ending)])
        eventually(lambda: heartbeat.race_state.cap == 33)
        assert heartbeat.race_state.behind == 0


def test_a_lost_slot_is_named_for_as_long_as_it_is_held(storage: Storage, one: Ledger) -> None:
    study, taken = claim(one, 2)
    one.release([(taken[0], 0)])
    with Heartbeat(one, study.id, every=0.01) as heartbeat:
        heartbeat.hold(held(*taken))
        eventually(lambda: heartbeat.race_state.lost == {taken[0].id})
        heartbeat.hold(held(taken[1]))
        assert heartbeat.race_state.lost == frozenset()


def test_an_outage_of_the_database_is_a_warning_and_renewals_go_on(
    storage: Storage,
    one: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study, taken = claim(one, 1)
    renew, failed = one.heartbeat, Event()

    def fails_first(
        study_id: int, slots_held: Mapping[int, tuple[int, int]], *shown: float | None
    ) -> RaceState:
        if not failed.is_set():
            failed.set()
            raise StorageError("database is away")
        return renew(study_id, slots_held, *shown)

    monkeypatch.setattr(one, "heartbeat", fails_first)
    caplog.set_level("DEBUG", "batchfront.worker.heartbeat")
    with Heartbeat(one, study.id, every=0.01) as heartbeat:
        heartbeat.hold(held(*taken, steps=5))
        eventually(lambda: progress(storage) == 5)
    assert "lease not renewed: database is away" in caplog.text


def test_it_ends_when_the_work_raises(one: Ledger) -> None:
    with pytest.raises(InterruptedError), Heartbeat(one, 1, every=60):
        raise InterruptedError
    assert "lease-heartbeat" not in {thread.name for thread in threads()}


def test_setting_trials_up_does_not_count_as_time_that_steps_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("batchfront.worker.heartbeat.monotonic", lambda: clock[0])
    speed = _Speed()
    speed.begin({1: 0, 2: 500})  # the second goes on from a checkpoint
    assert speed.of({1: 0, 2: 500}) == 0
    clock[0] += 60  # of importing and setting up
    speed.begin({1: 1, 2: 501})
    assert speed.of({1: 1, 2: 501}) == 0  # nothing is known yet, rather than 2 steps a minute
    clock[0] += 5
    speed.begin({1: 51, 2: 551})
    assert speed.of({1: 51, 2: 551}) == 20
    clock[0] += 5
    assert speed.of({1: 61, 2: 561}) == 4
