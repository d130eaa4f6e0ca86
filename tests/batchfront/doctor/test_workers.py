"""Workers that are silent, differ from each other or share nothing are named."""

from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update

from batchfront.doctor.finding import Finding, Level
from batchfront.doctor.workers import examine_workers, load_workers
from batchfront.errors import UntrustedCode
from batchfront.ledger.self_description import SelfDescription
from batchfront.store.schema import LEASE_SECONDS, workers
from batchfront.store.url import Storage
from batchfront.training.checkpoint_files import CheckpointFiles
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from tests.batchfront.doctor.findings import about, bad
from tests.searches import ALL, CODE, Ledger, claim, planned, worker

pytestmark = pytest.mark.every_storage


def look(storage: Storage) -> list[Finding]:
    return list(examine_workers(storage, load_workers(storage)))


def enter(storage: Storage, name: str, description: SelfDescription) -> None:
    Ledger(storage, name).register(f"host-{name}", 1, "cpu", description)


def test_workers_that_agree_are_counted(storage: Storage) -> None:
    for name in ("one", "two"):
        enter(storage, name, SelfDescription({"torch": "2"}, "/shared", "a"))
    findings = look(storage)
    assert not bad(findings)
    assert "2 workers on 2 machines" in about(findings, "workers")[0].says


def test_a_silent_worker_that_holds_nothing_is_no_fault(storage: Storage) -> None:
    enter(storage, "one", SelfDescription({}, None, None))
    with storage.write() as conn:
        conn.execute(update(workers).values(seen_at=storage.now - 900, lease_expires=0.0))
    (silent,) = look(storage)
    assert silent.level is Level.OK
    assert silent.says.endswith("and holds nothing")


def test_a_silent_worker_is_named_with_what_it_holds(storage: Storage) -> None:
    planned(storage)
    claim(worker(storage), 3)
    with storage.write() as conn:
        long_ago = storage.now - 10 * LEASE_SECONDS
        conn.execute(update(workers).values(seen_at=long_ago, lease_expires=long_ago))
    (silent,) = look(storage)
    assert (silent.level, "holds 3 trials" in silent.says) == (Level.WARNING, True)
    assert silent.command is not None
    assert "batchfront work" in silent.command


def test_a_worker_whose_clock_is_far_off_is_told_by_its_machine(storage: Storage) -> None:
    one = worker(storage)
    one.wait(ALL)
    assert not about(look(storage), "clock")
    with storage.write() as conn:
        conn.execute(update(workers).values(clock=workers.c.seen_at + 7200))
    (found,) = about(look(storage), "clock")
    assert "here is 7,200 s ahead" in found.says


def test_workers_of_several_versions_are_told(storage: Storage) -> None:
    enter(storage, "one", SelfDescription({"torch": "2.1"}))
    enter(storage, "two", SelfDescription({"torch": "2.2"}))
    (found,) = about(look(storage), "versions")
    assert "torch 2.1 and 2.2" in found.says


def test_checkpoints_in_different_places_are_a_failure(storage: Storage) -> None:
    enter(storage, "one", SelfDescription({}, "/checkpoints", "a"))
    enter(storage, "two", SelfDescription({}, "/checkpoints", "b"))
    (found,) = about(look(storage), "checkpoints")
    assert (found.level, "host-one" in found.says) == (Level.FAILURE, True)


def test_a_worker_without_checkpoints_is_told(storage: Storage) -> None:
    enter(storage, "one", SelfDescription({}))
    (found,) = about(look(storage), "checkpoints")
    assert found.level is Level.WARNING


def test_real_workers_say_where_they_keep_checkpoints(storage: Storage, tmp_path: Path) -> None:
    shared = storage.url.get_backend_name() != "sqlite"
    said = []
    for name, folder in (("one", "a"), ("two", "a"), ("three", "b")):
        kept = str(tmp_path / folder)
        options = WorkerOptions(engine=EngineName.SEQUENTIAL, checkpoint_dir=kept, code=CODE)
        settings = Settings(name, "cpu", options=options)
        Worker(storage, settings, Event()).run()
        with storage.read() as conn:
            row = conn.execute(workers.select().where(workers.c.id == name)).one()
        said.append(SelfDescription.from_json(row.about))
    one, two, three = said
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.checkpoints == str(tmp_path / "a")
    assert "batchfront" in one.versions
    assert one.mark == two.mark
    assert (one.mark != three.mark) == shared
    assert bool(one.mark) == shared


def test_a_workload_that_some_workers_leave_to_others_is_told_and_fails_where_none_is_left(
    storage: Storage,
) -> None:
    enter(storage, "one", SelfDescription(left={"my/own/sgd": "its code is gone"}))
    enter(storage, "two", SelfDescription())
    (some,) = about(look(storage), "workloads")
    assert (some.level, some.says) == (
        Level.WARNING,
        "one on host-one can't run my/own/sgd: its code is gone",
    )
    Ledger(storage, "two").describe(SelfDescription(left={"my/own/sgd": "no data"}))
    assert [one.level for one in about(look(storage), "workloads")] == 2 * [Level.FAILURE]


def test_a_worker_says_which_workload_it_leaves_and_why(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    settings = Settings("one", "cpu", options=WorkerOptions(engine=EngineName.SEQUENTIAL))
    with pytest.raises(UntrustedCode):
        Worker(storage, settings, Event()).run()
    with storage.read() as conn:
        said = SelfDescription.from_json(conn.execute(workers.select()).one().about)
    assert said is not None
    assert "nobody here has allowed that" in said.left["clouds/mlp/momentum"]


def test_a_place_that_cannot_be_written_has_no_mark() -> None:
    assert CheckpointFiles("/proc/nowhere").mark() == ""


def test_a_description_written_in_another_way_is_none() -> None:
    assert SelfDescription.from_json(None) is None
    assert SelfDescription.from_json('{"new": 1}') is None
    assert SelfDescription.from_json("[]") is None
