"""A deleted study leaves nothing behind, and nobody else's is touched."""

import logging
from pathlib import Path
from threading import Event
from typing import Any

import optuna
import pytest
import torch
from sqlalchemy import func, inspect, select, table, update

from batchfront.errors import BatchfrontError, UsageError
from batchfront.ledger.ledger import LEASE_SECONDS, Ledger
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.plan.reruns import plan_confirmations, plan_rule
from batchfront.store.migrations import database_name
from batchfront.store.schema import engines, measurements, pass_sizes, slots, workers
from batchfront.store.url import Storage
from batchfront.study.study import Filter, find_studies
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.model_run import ModelRun
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.race import Race
from batchfront.worker.setup import set_up
from tests.searches import claim, end, reached, work, worker
from tests.toy import PLAIN, SPEC, clouds, plain

NAME = "plain/mlp/momentum"
OTHER = "clouds/mlp/momentum"


def counts(storage: Storage) -> dict[str, int]:
    """The rows of every table, but for the list of workers, which are nobody's."""
    names = set(inspect(storage.engine).get_table_names()) - {"bf_workers"}
    count = select(func.count())
    with storage.read() as conn:
        return {n: conn.execute(count.select_from(table(n))).scalar_one() for n in sorted(names)}


def names(storage: Storage) -> list[str]:
    with storage.read() as conn:
        return [study.name for study in find_studies(conn, Filter())]


def own_study(storage: Storage) -> optuna.Study:
    """A study of Optuna's own, by whoever shares the database."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    study = optuna.create_study(storage=rdb, study_name="theirs", load_if_exists=True)
    if not study.trials:
        study.set_user_attr("whose", "theirs")
        study.optimize(_objective, n_trials=2)
    rdb.engine.dispose()
    return study


def _objective(trial: optuna.Trial) -> float:
    trial.report(1.0, 1)
    trial.set_user_attr("kept", True)
    return trial.suggest_float("x", 0, 1)


def search(storage: Storage) -> None:
    """Two batch sizes searched, their winners run again, and a rule followed."""
    plan(storage, PLAIN, plain(), SearchOptions(trials=3, finishers=2))
    for name in ("b4", "b16"):
        end(storage, f"{NAME}/{name}", {n: reached(9 + n) for n in range(3)})
    plan_confirmations(storage, NAME, candidates=1, seeds=1)
    plan_rule(storage, NAME, "linear", seeds=1)
    work(storage, wanted=Filter((NAME,)))
    with storage.write() as conn:
        about = {"workload": NAME, "device": "cpu"}
        engine = {"batch_size": 4, "engine": "sequential", "ratio": 1.0, "trials": 3}
        conn.execute(engines.insert().values(**about, **engine))
        conn.execute(pass_sizes.insert().values(**about, precision="float32"))


@pytest.mark.every_storage
def test_the_database_is_as_it_was_before_anything_was_planned(storage: Storage) -> None:
    theirs = own_study(storage)
    plan(storage, SPEC, clouds(), SearchOptions(trials=2))
    before = counts(storage)
    search(storage)
    doomed = find_doomed(storage, NAME)
    assert len(doomed.studies) == 6
    assert doomed.trials == 2 * 3 + 2 + 2
    assert doomed.seconds > 0
    delete_doomed(storage, doomed)
    assert counts(storage) == before
    assert names(storage) == [f"{OTHER}/b4", f"{OTHER}/b16"]
    assert own_study(storage).trials == theirs.trials


@pytest.mark.every_storage
def test_a_batch_size_takes_with_it_what_was_run_again_of_it(storage: Storage) -> None:
    search(storage)
    delete_doomed(storage, find_doomed(storage, NAME, [16]))
    assert names(storage) == [f"{NAME}/b4", f"{NAME}/b4/confirm", f"{NAME}/b4/linear"]
    with storage.read() as conn:
        assert conn.execute(select(func.count()).select_from(engines)).scalar_one() == 1


def test_the_batch_size_that_a_rule_starts_from_takes_all_that_followed_it(
    storage: Storage,
) -> None:
    search(storage)
    delete_doomed(storage, find_doomed(storage, NAME, [4]))
    assert names(storage) == [f"{NAME}/b16", f"{NAME}/b16/confirm"]


@pytest.mark.parametrize("batch_sizes", [None, (4,)])
def test_what_is_planned_to_run_again_while_the_user_is_asked_goes_too(
    storage: Storage, batch_sizes: tuple[int, ...] | None
) -> None:
    plan(storage, PLAIN, plain(), SearchOptions(trials=3, finishers=2))
    for name in ("b4", "b16"):
        end(storage, f"{NAME}/{name}", {n: reached(9 + n) for n in range(3)})
    doomed = find_doomed(storage, NAME, batch_sizes)
    plan_confirmations(storage, NAME, candidates=1, seeds=1)
    plan_rule(storage, NAME, "linear", seeds=1)
    plan(storage, PLAIN, plain(), SearchOptions(trials=3, batch_sizes=(64,)))
    delete_doomed(storage, doomed)
    kept = [] if batch_sizes is None else [f"{NAME}/b16", f"{NAME}/b16/confirm"]
    assert names(storage) == [*kept, f"{NAME}/b64"]


def test_a_study_that_somebody_else_has_deleted_meanwhile_is_no_obstacle(storage: Storage) -> None:
    search(storage)
    doomed = find_doomed(storage, NAME)
    delete_doomed(storage, find_doomed(storage, NAME))
    plan(storage, SPEC, clouds(), SearchOptions(trials=2))  # which may get the same ids
    before = names(storage)
    delete_doomed(storage, doomed)
    assert names(storage) == before


def test_what_is_not_there_is_refused(storage: Storage) -> None:
    plan(storage, PLAIN, plain(), SearchOptions(trials=1))
    with pytest.raises(UsageError, match="no studies of 'nothing'"):
        find_doomed(storage, "nothing")
    with pytest.raises(UsageError, match="there are: 4, 16"):
        find_doomed(storage, NAME, [4, 5])


def test_planned_again_it_is_searched_as_for_the_first_time(storage: Storage) -> None:
    def found() -> list[Any]:
        plan(storage, PLAIN, plain(), SearchOptions(trials=3, batch_sizes=(4,)))
        work(storage)
        columns = (slots.c.number, slots.c.params, slots.c.outcome, slots.c.steps)
        with storage.read() as conn:
            return list(conn.execute(select(*columns).order_by(slots.c.number)))

    first = found()
    delete_doomed(storage, find_doomed(storage, NAME))
    assert found() == first


@pytest.mark.every_storage
def test_live_workers_keep_it_and_dead_ones_do_not(claimed: Any, storage: Storage) -> None:
    study, _, taken = claimed
    doomed = find_doomed(storage, study.workload)
    with pytest.raises(BatchfrontError) as refused:
        delete_doomed(storage, doomed)
    said = f"{study.name} can't be deleted while workers are at it: one (process 1 on here); stop"
    assert said in str(refused.value)
    assert names(storage) == [study.name]
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=0))
    delete_doomed(storage, doomed)
    assert names(storage) == []
    ledger, held = Ledger(storage, "one"), {slot.id: (slot.fence, 1) for slot in taken}
    assert ledger.heartbeat(study.id, held).lost == held.keys()
    assert ledger.claim_more(study, held, 1) is None
    assert ledger.ended(taken) == taken


@pytest.mark.every_storage
def test_after_the_clock_is_set_back_a_dead_worker_keeps_it_for_no_longer_than_a_lease(
    claimed: Any, storage: Storage
) -> None:
    study, _, _ = claimed
    doomed = find_doomed(storage, study.workload)
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=storage.now + 3600))
    with pytest.raises(BatchfrontError, match="while workers are at it"):
        delete_doomed(storage, doomed)  # it may be alive, and has a lease to say so in
    with storage.write() as conn:
        conn.execute(update(workers).values(lease_expires=workers.c.lease_expires - LEASE_SECONDS))
    delete_doomed(storage, doomed)
    assert names(storage) == []


@pytest.mark.every_storage
@pytest.mark.parametrize("extrapolate", [False, True])
def test_a_worker_that_comes_back_to_deleted_trials_ends_them_in_one_line(
    storage: Storage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    extrapolate: bool,
) -> None:
    asked = SearchOptions(trials=10, batch_sizes=(4,), extrapolate=extrapolate)
    plan(storage, PLAIN, plain(), asked)
    before = counts(storage)
    ledger = worker(storage, "one")
    study, taken = claim(ledger, 10)
    loaded = set_up(study, torch.device("cpu"), None)
    started = ledger.start(study, taken, study.space, {})
    kept = Checkpoints(str(tmp_path), database_name(storage))
    steps, advance = [0], ModelRun.advance

    def deleting(run: ModelRun, target: int, stop: Event) -> bool:
        steps[0] += 1
        if steps[0] == 15:
            Ledger(storage, "one").reap()  # it was taken for dead
            delete_doomed(storage, find_doomed(storage, NAME), str(tmp_path))
        return advance(run, target, stop)

    monkeypatch.setattr(ModelRun, "advance", deleting)
    with caplog.at_level(logging.WARNING), Heartbeat(ledger, study.id, every=0.01) as heartbeat:
        race = Race(ledger, study, loaded, heartbeat=heartbeat, stop=Event(), kept=kept)
        race.run(started)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) <= 1, warned
    assert all("deleted" in line for line in warned)
    ledger.leave(in_order=True)
    assert names(storage) == []
    with storage.read() as conn:
        assert conn.execute(select(measurements)).all() == []
    assert {name: n for name, n in counts(storage).items() if n} == {
        name: n
        for name, n in before.items()
        if n and name in ("alembic_version", "bf_meta", "version_info")
    }


def test_checkpoints_go_too(storage: Storage, tmp_path: Path) -> None:
    plan(storage, PLAIN, plain(), SearchOptions(trials=2, batch_sizes=(4, 16)))
    with storage.read() as conn:
        ids = [study.id for study in find_studies(conn, Filter())]
    for id_ in ids:
        kept = tmp_path / database_name(storage) / f"study-{id_}" / "trial-0.pt"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"")
    delete_doomed(storage, find_doomed(storage, NAME, [4]), str(tmp_path))
    left = [path.name for path in (tmp_path / database_name(storage)).iterdir()]
    assert left == [f"study-{ids[1]}"]
    delete_doomed(storage, find_doomed(storage, NAME), str(tmp_path))
