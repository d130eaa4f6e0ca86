"""Optuna's rows are not ours alone, and a database may lose what it has acknowledged: a trial is
ended in the right row or in none, and nobody's work is written over but what was written into
ours."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import delete, text, update

from batchfront.errors import LeaseLost
from batchfront.ledger.claims import DEATHS
from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Evaluation, GoalCrossing, TrialResult
from batchfront.store.optuna_tables import other_numbers
from batchfront.store.schema import measurements, slots, workers
from batchfront.store.url import Storage
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.model_run import ModelRun
from tests import searches
from tests.backups import Backup, backup
from tests.searches import (
    NAME,
    VERSIONS,
    claim,
    optuna_trials,
    reached,
    rows,
    started,
    work,
    worker,
)

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=8, batch_sizes=(4,))

STUDY = f"{NAME}/b4"
CAPPED = TrialResult("capped", "another was first", 40, metric=0.4, metric_step=32)


@contextmanager
def in_optuna(storage: Storage, name: str = STUDY) -> Iterator[optuna.Study]:
    """A study as somebody else opens it."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    yield optuna.load_study(study_name=name, storage=rdb)
    rdb.engine.dispose()


def delete_in_optuna(storage: Storage, name: str = STUDY, put: str | None = None) -> None:
    """Somebody deletes a study through Optuna, and perhaps makes one of their own, with trials."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    optuna.delete_study(study_name=name, storage=rdb)
    if put is not None:
        theirs = optuna.create_study(study_name=put, storage=rdb)
        for _ in range(9):
            theirs.ask({"x": FloatDistribution(0, 1)})
    rdb.engine.dispose()


@pytest.fixture
def taken(request: pytest.FixtureRequest, storage: Storage, tmp_path: Path) -> Callable[[], Backup]:
    """Takes a backup of the database."""
    on_server = storage.engine.dialect.name == "postgresql"
    server = request.getfixturevalue("postgres") if on_server else None

    def take() -> Backup:
        block = backup(storage, server, tmp_path)
        made = block.__enter__()
        request.addfinalizer(lambda: block.__exit__(None, None, None))
        return made

    return take


def in_hand(taken: list[Slot]) -> dict[int, tuple[int, int]]:
    return {slot.id: (slot.fence, slot.steps) for slot in taken}


def ends(taken: list[Slot], steps: int = 100) -> list[tuple[Slot, TrialResult]]:
    """Each reaches the goal in its own number of steps."""
    return [(slot, reached(steps + slot.number)) for slot in taken]


def check_record(storage: Storage, name: str = STUDY) -> None:
    """Each slot of a study has a trial of its own in Optuna's tables, which says the same."""
    trials = {trial._trial_id: trial for trial in optuna_trials(storage, name)}
    numbers = [trial.number for trial in trials.values()]
    assert sorted(numbers) == [*range(len(numbers))]
    own = rows(storage, slots.c.trial_id.is_not(None))
    assert len({row.trial_id for row in own}) == len(own)
    for row in own:
        trial = trials[row.trial_id]
        assert trial.values == (None if row.steps_to_target is None else [row.steps_to_target])
        assert trial.user_attrs.get("outcome") == row.outcome
        assert trial.state.is_finished() == (row.state == "done")
        assert trial.user_attrs.get("slot", trial.number) == row.number


# Commits that were acknowledged, and then lost


@pytest.fixture
def lost_start(storage: Storage, taken: Callable[[], Backup]) -> tuple[Study, list[Slot]]:
    """A worker has begun four trials, which the database has forgotten; it knows the claim."""
    planned(storage)
    one = worker(storage, "one")
    study, four = claim(one, limit=4)
    before = taken()
    mine = one.start(study, four, study.space, {})
    before.put_back()
    return study, mine


def test_a_result_whose_start_was_lost_is_written_into_nobody_elses_trial(
    storage: Storage, lost_start: tuple[Study, list[Slot]]
) -> None:
    study, mine = lost_start
    two = worker(storage, "two")
    _, theirs = started(two)
    assert [slot.trial_id for slot in theirs] == [slot.trial_id for slot in mine]
    before = optuna_trials(storage)
    assert Ledger(storage, "one").finish(study, ends(mine)) == mine
    assert optuna_trials(storage) == before
    assert [row.state for row in rows(storage)] == ["free"] * 4 + ["leased"] * 4
    assert two.finish(study, ends(theirs)) == []
    three = worker(storage, "three")
    _, again = started(three)
    assert [slot.number for slot in again] == [slot.number for slot in mine]
    assert three.finish(study, ends(again)) == []
    check_record(storage)
    assert [row.steps_to_target for row in rows(storage)] == [100 + n for n in range(8)]


def test_a_result_whose_start_was_lost_is_given_up_where_nobody_has_its_trial(
    storage: Storage, lost_start: tuple[Study, list[Slot]]
) -> None:
    study, mine = lost_start
    one = Ledger(storage, "one")
    assert one.finish(study, ends(mine)) == mine
    assert {row.state for row in rows(storage)} == {"free"}
    assert {row.attempts for row in rows(storage)} == {0}
    _, again = started(one, limit=4)
    assert one.finish(study, ends(again)) == []
    check_record(storage)


def test_nothing_is_written_of_a_trial_whose_start_was_lost(
    storage: Storage, lost_start: tuple[Study, list[Slot]]
) -> None:
    """Its metaparameters may be sampled anew: what it has shown is another's."""
    study, mine = lost_start
    one, before = Ledger(storage, "one"), rows(storage)
    one.record_crossings([(slot, GoalCrossing(9, 8, 0.1)) for slot in mine])
    one.record_checkpoints([(slot, 5) for slot in mine])
    shown = (Evaluation(1, 1.5, 0.6),)
    assert one.record_evaluations(study, 1, [(slot, shown) for slot in mine]) == {}
    assert rows(storage) == before
    with storage.read() as conn:
        assert conn.execute(measurements.select()).all() == []


def test_a_worker_learns_soon_that_the_start_of_its_trials_was_lost(
    storage: Storage, taken: Callable[[], Backup]
) -> None:
    planned(storage)
    one = worker(storage, "one")
    study, four = claim(one, limit=4)
    before = taken()
    mine = one.start(study, four, study.space, {})
    assert not one.poll(study.id, in_hand(mine)).lost
    before.put_back()
    assert one.poll(study.id, in_hand(mine)).lost == {slot.id for slot in mine}
    assert one.heartbeat(study.id, in_hand(mine)).lost == {slot.id for slot in mine}


def test_a_worker_whose_claim_was_lost_takes_no_trial_twice(
    storage: Storage, taken: Callable[[], Backup]
) -> None:
    planned(storage)
    one = worker(storage, "one")
    before = taken()
    study, mine = started(one, limit=4)
    before.put_back()
    assert one.heartbeat(study.id, in_hand(mine)).lost == {slot.id for slot in mine}
    _, more = one.claim_more(study, in_hand(mine), 8)
    assert [slot.number for slot in more] == [4, 5, 6, 7]
    assert one.finish(study, ends(mine)) == mine
    assert one.finish(study, ends(one.start(study, more, study.space, {}))) == []
    _, again = started(one)
    assert [slot.number for slot in again] == [0, 1, 2, 3]
    assert one.finish(study, ends(again)) == []
    check_record(storage)


def test_a_worker_that_has_gone_on_to_other_trials_learns_that_they_are_not_its(
    storage: Storage, taken: Callable[[], Backup]
) -> None:
    """In a database that was put back to when it held as many others."""
    planned(storage)
    one = worker(storage, "one")
    study, first = started(one, limit=4)
    before = taken()
    assert one.finish(study, ends(first)) == []
    _, second = started(one, limit=4)
    assert not one.poll(study.id, in_hand(second)).lost
    before.put_back()
    assert one.poll(study.id, in_hand(second)).lost == {slot.id for slot in second}


# What others write into our trials


def _tell_value(study: optuna.Study, number: int) -> None:
    study.tell(number, 1.0)


def _tell_fail(study: optuna.Study, number: int) -> None:
    study.tell(number, state=TrialState.FAIL)


def _annotate(study: optuna.Study, number: int) -> None:
    trial_id = study.trials[number]._trial_id
    for key in ("reason", "steps", "note"):
        study._storage.set_trial_user_attr(trial_id, key, "mine")


def _report(study: optuna.Study, number: int) -> None:
    trial_id = study.trials[number]._trial_id
    for step in (32, 9999):
        study._storage.set_trial_intermediate_value(trial_id, step, 0.5)


@pytest.mark.parametrize("writes", [_tell_value, _tell_fail, _annotate, _report])
@pytest.mark.parametrize("result", [reached(470, metric=0.09, metric_step=470), CAPPED])
def test_what_others_write_into_a_running_trial_is_written_over_in_one_line(
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
    writes: Callable[[optuna.Study, int], None],
    result: TrialResult,
) -> None:
    planned(storage)
    one = worker(storage)
    study, mine = started(one, limit=3)
    with in_optuna(storage) as theirs:
        for number in (0, 1):
            writes(theirs, number)
    with caplog.at_level(logging.WARNING):
        assert one.finish(study, [(slot, result) for slot in mine]) == []
    (line,) = caplog.messages
    assert line == (
        f"{STUDY}: others have written to Optuna's record of it while it ran, which is written "
        "over with its result: trial 0, trial 1"
    )
    check_record(storage)
    for trial in optuna_trials(storage)[:3]:
        assert trial.state == optuna_trials(storage)[2].state
        assert trial.intermediate_values == {result.metric_step: result.metric}
        assert trial.user_attrs["reason"] == result.reason


def test_what_is_nobodys_result_stays_as_others_have_written_it(storage: Storage) -> None:
    planned(storage)
    one = worker(storage)
    study, mine = started(one, limit=1)
    with in_optuna(storage) as theirs:
        theirs._storage.set_trial_user_attr(theirs.trials[0]._trial_id, "note", "look at this")
    assert one.finish(study, ends(mine)) == []
    assert optuna_trials(storage)[0].user_attrs["note"] == "look at this"


def test_a_worker_survives_whoever_tells_its_trials_and_goes_on_to_other_studies(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, trials=3, batch_sizes=(4, 16))
    advance = ModelRun.advance
    told: set[str] = set()

    def telling(self: ModelRun, *arguments: Any) -> bool:
        for name in (STUDY, f"{NAME}/b16"):
            if name not in told and any(
                row.state == "leased" for row in searches.slots_of(storage, name)
            ):
                told.add(name)
                with in_optuna(storage, name) as theirs:
                    for trial in theirs.trials:
                        theirs.tell(trial.number, 1.0)
        return advance(self, *arguments)

    monkeypatch.setattr(ModelRun, "advance", telling)
    work(storage)
    assert len(told) == 2
    assert {row.state for row in rows(storage)} == {"done"}
    assert "failed" not in {row.outcome for row in rows(storage)}
    for name in (STUDY, f"{NAME}/b16"):
        steps = [row.steps_to_target for row in searches.slots_of(storage, name)]
        assert [t.value for t in optuna_trials(storage, name)] == steps
        assert min(filter(None, steps)) > 1


def test_a_trial_whose_workers_died_ends_as_the_slot_says_whatever_others_wrote(
    storage: Storage,
) -> None:
    planned(storage, trials=2)
    one = worker(storage, "one")
    _, mine = started(one)
    one.record_crossings([(mine[0], GoalCrossing(9, 8, 0.1))])
    with in_optuna(storage) as theirs:
        for number in (0, 1):
            theirs.tell(number, 1.0)
    with storage.write() as conn:
        conn.execute(update(slots).values(deaths=DEATHS - 1))
    one.reap()
    assert [row.outcome for row in rows(storage)] == ["reached", "failed"]
    check_record(storage)


def test_a_trial_whose_row_is_gone_keeps_its_result_and_gets_another(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage)
    one = worker(storage)
    study, mine = started(one, limit=3)
    with storage.write() as conn:
        for table in ("trial_params", "trial_user_attributes", "trials"):
            conn.execute(text(f"DELETE FROM {table} WHERE trial_id = {mine[1].trial_id}"))
    assert one.finish(study, ends(mine)) == []
    assert "trial 1" in caplog.messages[0]
    check_record(storage)
    params = {t.user_attrs.get("slot", t.number): t.params for t in optuna_trials(storage)}
    assert params[1]["learning_rate"] == mine[1].params["learning_rate"]


def test_a_trial_that_goes_on_gets_another_record_if_its_own_is_gone(storage: Storage) -> None:
    planned(storage)
    one = worker(storage)
    study, mine = started(one, limit=3)
    one.release([(slot, 5) for slot in mine])
    with storage.write() as conn:
        for table in ("trial_params", "trial_user_attributes", "trials"):
            conn.execute(text(f"DELETE FROM {table} WHERE trial_id = {mine[1].trial_id}"))
    _, again = started(one, limit=8)
    assert one.finish(study, ends(again)) == []
    check_record(storage)


# Numbers


def test_trials_of_others_before_ours_and_between_them_share_no_number(storage: Storage) -> None:
    planned(storage)
    axis = {"x": FloatDistribution(0, 1)}
    with in_optuna(storage) as theirs:
        theirs.enqueue_trial({"x": 0.5})
        theirs.add_trial(create_trial(params={"x": 0.5}, distributions=axis, value=7.0))
    one, two = worker(storage, "one"), worker(storage, "two")
    study, first = claim(one, limit=4)
    _, second = started(two)
    with in_optuna(storage) as theirs:
        asked = theirs.ask(axis)
    first = one.start(study, first, study.space, {})
    with in_optuna(storage) as theirs:
        theirs.tell(asked.number, 9.0)
        theirs.enqueue_trial({"x": 0.5})
    assert one.finish(study, ends(first)) == two.finish(study, ends(second)) == []
    check_record(storage)
    trials = {trial._trial_id: trial for trial in optuna_trials(storage)}
    with storage.read() as conn:
        others = other_numbers(conn, [study.id]).get(study.id, {})
    assert others == {0: 8, 1: 9}
    for slot in [*first, *second]:
        assert others.get(slot.number, slot.number) == trials[slot.trial_id].number
        rate = trials[slot.trial_id].params["learning_rate"]
        assert rate == slot.params["learning_rate"]
    with in_optuna(storage) as theirs:
        assert (theirs.best_value, len(theirs.trials)) == (7.0, 11)


def test_without_others_a_trial_has_the_number_of_its_slot_whichever_begins_first(
    storage: Storage,
) -> None:
    planned(storage)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, first = claim(one, limit=3)
    _, second = started(two, limit=3)
    with in_optuna(storage) as theirs:
        kept = [trial.user_attrs.get("kept") for trial in theirs.trials]
        assert kept == ["for slot 0", "for slot 1", "for slot 2", None, None, None]
        assert theirs.ask({}).number == 6
    first = one.start(study, first, study.space, VERSIONS)
    assert one.finish(study, ends(first)) == two.finish(study, ends(second)) == []
    _, last = started(one)
    assert one.finish(study, ends(last)) == []
    check_record(storage)
    trials = {trial._trial_id: trial for trial in optuna_trials(storage)}
    assert [trials[slot.trial_id].number for slot in [*first, *second]] == [*range(6)]
    assert [trials[slot.trial_id].number for slot in last] == [8, 7]
    for slot in [*first, *second, *last]:
        trial = trials[slot.trial_id]
        assert trial.params["learning_rate"] == slot.params["learning_rate"]
        assert trial.user_attrs["versions"] == VERSIONS
        assert "kept" not in trial.user_attrs


def test_gaps_that_an_earlier_batchfront_has_left_are_filled(storage: Storage) -> None:
    planned(storage)
    one, two = worker(storage, "one"), worker(storage, "two")
    study, first = claim(one, limit=4)
    started(two)
    _forget_kept(storage)
    assert [trial.number for trial in optuna_trials(storage)] == [4, 5, 6, 7]
    one.start(study, first, study.space, {})
    assert [trial.number for trial in optuna_trials(storage)] == [*range(8)]
    check_record(storage)


def _forget_kept(storage: Storage) -> None:
    """As if nothing had been kept for slots that others have begun after."""
    with storage.write() as conn:
        query = "SELECT trial_id FROM trial_user_attributes WHERE key = 'kept'"
        ids = ", ".join(str(id_) for id_ in conn.execute(text(query)).scalars())
        for table in ("trial_user_attributes", "trials"):
            conn.execute(text(f"DELETE FROM {table} WHERE trial_id IN ({ids})"))


# Studies that are deleted through Optuna


@pytest.mark.parametrize("put", [None, "somebody/else/s", STUDY])
def test_a_study_that_is_deleted_under_a_worker_is_given_up_and_no_other_touched(
    storage: Storage, caplog: pytest.LogCaptureFixture, put: str | None
) -> None:
    """On SQLite another then has its id, and its trials those of ours."""
    planned(storage, batch_sizes=(4, 16))
    one = worker(storage)
    study, mine = started(one, limit=4)
    delete_in_optuna(storage, put=put)
    theirs = optuna_trials(storage, put) if put else []
    assert one.heartbeat(study.id, in_hand(mine)).lost == {slot.id for slot in mine}
    assert one.poll(study.id, in_hand(mine)).lost == {slot.id for slot in mine}
    assert one.finish(study, ends(mine)) == mine
    assert "anew" not in caplog.text
    one.leave(in_order=False)
    _, others = claim(worker(storage, "two"), wanted=searches.Filter((NAME,), (16,)))
    assert len(others) == 8
    assert (optuna_trials(storage, put) if put else []) == theirs


def test_a_worker_goes_on_to_other_studies_when_one_is_deleted_under_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, trials=3, batch_sizes=(4, 16))
    advance = ModelRun.advance

    def deleting(self: ModelRun, *arguments: Any) -> bool:
        monkeypatch.setattr(ModelRun, "advance", advance)
        delete_in_optuna(storage, put="somebody/else/s")
        return advance(self, *arguments)

    monkeypatch.setattr(ModelRun, "advance", deleting)
    work(storage)
    other = searches.stored(storage, f"{NAME}/b16").id
    assert {row.state for row in rows(storage, slots.c.study_id == other)} == {"done"}
    assert {row.state for row in rows(storage, slots.c.study_id != other)} == {"free"}
    for trial in optuna_trials(storage, "somebody/else/s"):
        assert (trial.state, trial.user_attrs) == (TrialState.RUNNING, {})


def test_a_study_that_is_deleted_before_its_trials_start_is_given_up(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 16))
    one = worker(storage)
    study, mine = claim(one, limit=4)
    delete_in_optuna(storage, put="somebody/else/s")
    with pytest.raises(LeaseLost, match=f"study {STUDY} is given up"):
        one.start(study, mine, study.space, {})
    assert len(optuna_trials(storage, "somebody/else/s")) == 9


def test_trials_of_a_deleted_study_whose_workers_died_end_nowhere(storage: Storage) -> None:
    planned(storage, trials=2)
    one = worker(storage, "one")
    started(one)
    delete_in_optuna(storage, put="somebody/else/s")
    with storage.write() as conn:
        conn.execute(update(slots).values(deaths=DEATHS - 1))
    one.reap()
    assert {row.outcome for row in rows(storage)} == {"failed"}
    states = {trial.state for trial in optuna_trials(storage, "somebody/else/s")}
    assert states == {TrialState.RUNNING}


# Slots that nobody holds


def test_a_leased_slot_of_nobody_is_free(storage: Storage) -> None:
    """As an import may bring it."""
    planned(storage, trials=2)
    with storage.write() as conn:
        conn.execute(update(slots).values(state="leased"))
        conn.execute(delete(workers))
    _, mine = claim(worker(storage))
    assert [(slot.number, slot.attempts, slot.deaths) for slot in mine] == [(0, 1, 0), (1, 1, 0)]


@pytest.mark.parametrize("params", ["{", "[0.1]", '{"learning_rate": "fast"}'])
def test_a_study_that_is_damaged_while_a_worker_is_at_it_costs_no_other_study_its_trials(
    storage: Storage, params: str
) -> None:
    planned(storage, batch_sizes=(4, 16))
    ledger = worker(storage)
    study, taken = started(ledger, 4)
    assert ledger.finish(study, [(slot, CAPPED) for slot in taken]) == []
    with storage.write() as conn:
        free = slots.c.study_id == study.id, slots.c.state == "free"
        conn.execute(update(slots).where(*free).values(params=params))
    assert ledger.claim_more(study, {}, 4) is None
    other, taken = started(ledger, 4)
    assert other.id != study.id
    assert len(taken) == 4
    assert ledger.finish(other, [(slot, CAPPED) for slot in taken]) == []
