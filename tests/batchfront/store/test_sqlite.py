"""A SQLite file stays the same one while it is in use, and whoever only reads changes nothing."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread, Timer

import optuna
import pytest
from sqlalchemy import insert, select

from batchfront.cli import completion
from batchfront.errors import BatchfrontError, StorageError, StorageLost, Unreachable
from batchfront.launch.local import LocalWorkers
from batchfront.launch.worker_options import Order
from batchfront.ledger.status import load_status
from batchfront.store.database import Storage
from batchfront.store.schema import meta
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions
from tests.searches import CODE, NAME, planned, work
from tests.waiting import LONG, eventually


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What is in a folder, and when it was last changed."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def read(storage: Storage) -> str:
    with storage.read() as conn:
        return str(conn.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar_one())


def note(storage: Storage, key: str) -> None:
    with storage.write() as conn:
        conn.execute(insert(meta).values(key=key, value=""))


def _nothing(path: Path) -> None:
    path.touch()


def _birds(path: Path) -> None:
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE birds (name TEXT)")
    conn.close()


def _optunas(path: Path) -> None:
    rdb = optuna.storages.RDBStorage(f"sqlite:///{path}")
    optuna.create_study(study_name="theirs", storage=rdb)
    rdb.engine.dispose()


# Reading


@pytest.mark.parametrize("make", [_nothing, _birds, _optunas])
def test_a_file_without_studies_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "theirs.db")
    before = files(tmp_path)
    with pytest.raises(StorageError, match="holds no batchfront studies"):
        open_storage(f"sqlite:///{tmp_path}/theirs.db")
    assert files(tmp_path) == before


def test_who_only_reads_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    planned(storage)
    storage.close()
    before = files(tmp_path)
    opened = open_storage(f"sqlite:///{tmp_path}/trials.db")
    assert len(load_status(opened, Filter()).studies) == 2
    opened.close()
    assert files(tmp_path) == before


def test_who_completes_a_workloads_name_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    planned(storage)
    storage.close()
    before = files(tmp_path)
    assert completion._names_in(storage.url) == [NAME]
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["a?b#c%41.db", "ü ö.db"])
def test_a_name_may_hold_any_character(tmp_path: Path, made_database: Path, name: str) -> None:
    shutil.copy(made_database, tmp_path / name)
    opened = Storage(
        open_storage(f"sqlite:///{made_database}").url.set(database=f"{tmp_path}/{name}")
    )
    note(opened, "x")
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_who_writes_has_the_file_read_meanwhile(tmp_path: Path, made_database: Path) -> None:
    """As after `sqlite3 .dump`, which forgets that."""
    path = tmp_path / "dumped.db"
    with sqlite3.connect(made_database) as old, sqlite3.connect(path) as new:
        new.executescript("\n".join(old.iterdump()))
        assert new.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    old.close()
    new.close()
    writer, reader = open_storage(f"sqlite:///{path}"), open_storage(f"sqlite:///{path}")
    note(writer, "first")
    with writer.write() as conn:
        conn.execute(insert(meta).values(key="second", value=""))
        assert read(reader)
    writer.close()
    reader.close()


def test_who_makes_a_file_waits_for_another_that_does(tmp_path: Path) -> None:
    """SQLite itself refuses to turn a file into a write-ahead one while another writes to it."""
    path = tmp_path / "empty.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(path, timeout=LONG).execute("PRAGMA journal_mode=WAL")
    ends = Timer(0.3, other.execute, ["ROLLBACK"])
    ends.start()
    open_storage(f"sqlite:///{path}", create=True).close()
    ends.join()
    other.close()


# Where nothing can be written

READ = """
import sys
from batchfront.cli import completion
from batchfront.errors import BatchfrontError
from batchfront.ledger.status import load_status
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
try:
    opened = open_storage(f"sqlite:///{sys.argv[1]}")
    print(len(load_status(opened, Filter()).studies), "studies")
    with opened.write() as conn:
        conn.exec_driver_sql("DELETE FROM bf_meta")
except BatchfrontError as error:
    print(error)
"""


def _on_a_read_only_mount(path: Path) -> list[str]:
    """What reading and then writing a database says where its folder is mounted read-only."""
    command = [sys.executable, "-c", READ, str(path)]
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    unshared = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    folder = str(path.parent)
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*unshared, "sh", "-c", mounted, folder, "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("nothing can be mounted here")
    ran = subprocess.run(
        [*unshared, "sh", "-c", mounted, folder, *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


def test_a_database_on_a_read_only_mount_is_read_and_not_written(
    storage: Storage, tmp_path: Path
) -> None:
    planned(storage)
    storage.close()
    read_, refused = _on_a_read_only_mount(tmp_path / "trials.db")
    assert read_ == "2 studies"
    assert refused.endswith("attempt to write a readonly database")


def test_what_a_writer_elsewhere_has_committed_is_seen_on_a_read_only_mount(
    storage: Storage, tmp_path: Path
) -> None:
    planned(storage, batch_sizes=(4,))
    assert _on_a_read_only_mount(tmp_path / "trials.db")[0] == "1 studies"
    planned(storage, batch_sizes=(16,))
    assert _on_a_read_only_mount(tmp_path / "trials.db")[0] == "2 studies"


def test_changes_that_can_not_be_read_there_are_not_passed_over(
    storage: Storage, tmp_path: Path
) -> None:
    """A copy of a database in use, without the index of its log."""
    planned(storage)
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("trials.db", "trials.db-wal"):
        shutil.copy(tmp_path / name, copies / name)
    (said,) = _on_a_read_only_mount(copies / "trials.db")
    assert "trials.db-wal holds changes that can't be read where nothing can be written" in said


def test_what_changes_while_it_is_read_as_unchanging_is_refused_and_then_read_anew(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.close()
    url = f"sqlite:///{tmp_path}/trials.db"
    reader, writer = open_storage(url), Storage(storage.url)
    file = reader._file
    assert file is not None
    reader.close()
    connect, can_not = type(file)._connect, sqlite3.OperationalError("unable to open database file")
    can_not.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

    class Unreadable(sqlite3.Connection):
        def execute(self, *arguments: object) -> sqlite3.Cursor:
            raise can_not

    def nowhere_to_write(self: object, how: str) -> sqlite3.Connection:
        if "immutable" in how:
            return connect(file, how)
        return sqlite3.connect(":memory:", factory=Unreadable)

    def read_while_it_changes() -> None:
        with reader.read() as conn:
            conn.execute(select(meta)).all()
            note(writer, "later")

    with monkeypatch.context() as patched:
        patched.setattr(file, "_connect", nowhere_to_write.__get__(file))
        with pytest.raises(Unreachable, match="was changed while it was read"):
            read_while_it_changes()
    with reader.read() as conn:  # where the writer has made what others read it by
        assert "later" in conn.execute(select(meta.c.key)).scalars().all()
    writer.close()
    reader.close()


# Removed and replaced


def _removed(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def _replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").replace(path)


def _moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


HAPPENED = [
    (_removed, "was removed"),
    (_replaced, "was replaced by another file"),
    (_moved, "was removed"),
]


@pytest.mark.parametrize(("happens", "said"), HAPPENED)
def test_a_file_that_is_not_the_same_any_more_is_neither_read_nor_written_nor_made(
    storage: Storage, tmp_path: Path, happens: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "trials.db"
    read(storage)
    happens(path)
    there = sorted(path.parent.iterdir())
    for does in (read, lambda s: note(s, "x")):
        with pytest.raises(StorageLost, match=f"{said}.* while it was in use"):
            does(storage)
    storage.close()
    with pytest.raises(StorageLost, match=said):
        read(storage)
    assert path.exists() == (path in there)


def test_a_write_into_a_file_that_was_removed_meanwhile_is_not_acknowledged(
    storage: Storage, tmp_path: Path
) -> None:
    def write() -> None:
        with storage.write() as conn:
            conn.execute(insert(meta).values(key="x", value=""))
            _removed(tmp_path / "trials.db")

    with pytest.raises(StorageLost):
        write()


@pytest.mark.parametrize(("happens", "said"), HAPPENED)
def test_a_worker_in_the_middle_of_a_trial_ends_when_its_database_is_gone(
    storage: Storage,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Path], None],
    said: str,
) -> None:
    monkeypatch.setenv("TOY_PAUSE", "0.2")
    planned(storage, trials=8, batch_sizes=(4,))
    raised: list[BatchfrontError] = []

    def be_a_worker() -> None:
        with pytest.raises(StorageLost) as error:
            work(open_storage(database))
        raised.append(error.value)

    thread = Thread(target=be_a_worker, daemon=True)
    thread.start()
    eventually(lambda: any(s.running for s in load_status(storage, Filter()).studies))
    happens(tmp_path / "trials.db")
    thread.join(LONG)
    assert said in str(raised[0])
    if happens is not _replaced:
        assert not (tmp_path / "trials.db").exists()


def test_a_launcher_ends_its_workers_and_says_it_once(
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TOY_PAUSE", "0.2")
    planned(storage, trials=8, batch_sizes=(4, 16))
    told: list[str] = []
    order = Order(storage.url, Filter(), WorkerOptions(code=CODE))
    local = LocalWorkers(storage, order, ["cpu", "cpu"], told.append)

    def running() -> bool:
        return local.watch() > 0 and any(s.running for s in load_status(storage, Filter()).studies)

    def launch() -> None:
        with local:
            eventually(running)
            _removed(tmp_path / "trials.db")
            local.hold(Event())

    with pytest.raises(StorageLost, match="was removed while it was in use"):
        launch()
    assert local.running == 0
    assert [line for line in told if "was removed" in line] == []
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert not (tmp_path / "trials.db").exists()
