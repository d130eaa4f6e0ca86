"""A database is found, made, or refused in one line; and shared without getting in the way."""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy import insert, select, update

from batchfront.errors import BatchfrontError, StorageError, Unreachable, UsageError
from batchfront.ledger.status import load_status
from batchfront.store import schema
from batchfront.store.database import DEFAULT_URL, Storage, parse_url, shown
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
from tests.postgres import ROLE, TEMPLATE, Postgres

SECRET = "open-sesame"


def refusal(kind: type[BatchfrontError], url: str, **options: bool) -> str:
    """The one line with which a database can't be opened."""
    with pytest.raises(kind) as refused:
        open_storage(url, **options)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
    return str(refused.value)


# URLs


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_bare_postgresql_url_means_psycopg2(scheme: str) -> None:
    url = parse_url(f"{scheme}://me:{SECRET}@host:5433/trials?sslmode=require")
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.host, url.port) == ("me", SECRET, "host", 5433)
    assert (url.database, url.query["sslmode"]) == ("trials", "require")


def test_a_url_is_shown_without_its_password() -> None:
    assert SECRET not in shown(parse_url(f"postgresql://me:{SECRET}@host/trials"))
    assert shown(parse_url(DEFAULT_URL)) == DEFAULT_URL


MISWRITTEN = [
    "me:{}@host/trials",
    "postgresql:/me:{}@host/trials",
    "postgresql//me:{}@host/trials",
    "postgres:me:{}@host/trials",
    "jdbc:postgresql://me:{}@host/trials",
    "jdbc:postgresql://host/trials?user=me&password={}",
    "host=localhost user=me password={} dbname=trials",
    "host=localhost password='{} x' dbname=trials",
    "Driver=PostgreSQL;UID=me;PWD={};",
    "postgresql://me:{}@host:port/trials",
    "postgresql://me:x@{}@host/trials",
    "mysql://host/trials?user=me&passwd={}",
]


@pytest.mark.parametrize("text", MISWRITTEN)
def test_the_password_in_a_url_that_is_miswritten_is_hidden(text: str) -> None:
    assert "storage" in refusal(UsageError, text.format(SECRET))


@pytest.mark.parametrize("name", ["password", "passwd", "sslpassword", "PWD"])
def test_a_password_that_is_a_parameter_is_hidden(name: str) -> None:
    url = f"postgresql://me@host/trials?{name}={SECRET}&sslmode=require"
    assert SECRET not in shown(parse_url(url))
    assert "sslmode=require" in shown(parse_url(url))


@pytest.mark.parametrize("text", ["trials.db", "", "sqlite", "/tmp/trials.db"])
def test_what_is_no_url_is_refused_with_what_to_write(text: str) -> None:
    assert "is not a URL; write sqlite:///FILE.db" in refusal(UsageError, text)


@pytest.mark.parametrize("scheme", ["mysql", "http", "oracle+cx_oracle", "sqllite"])
def test_an_unknown_scheme_is_refused_with_those_there_are(scheme: str) -> None:
    said = refusal(UsageError, f"{scheme}://me:{SECRET}@host/trials")
    assert f"unknown scheme {scheme!r}; use sqlite:/// or postgresql+psycopg2://" in said


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "driver can't be loaded" in refusal(UsageError, f"postgresql+nosuch://me:{SECRET}@h/t")
    assert "driver can't be loaded" in refusal(
        UsageError, "sqlite+nosuch:///trials.db", create=True
    )
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    said = refusal(UsageError, f"postgresql://me:{SECRET}@h/t")
    assert "driver can't be loaded" in said
    assert "psycopg2" in said


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
@pytest.mark.parametrize("create", [True, False])
def test_a_database_in_memory_is_refused(url: str, create: bool) -> None:
    assert "in memory can't be shared with workers" in refusal(UsageError, url, create=create)


def test_a_server_that_does_not_answer_is_one_line_without_the_password() -> None:
    said = refusal(StorageError, f"postgresql://me:{SECRET}@127.0.0.1:1/trials?connect_timeout=3")
    assert said.startswith("database postgresql+psycopg2://me:***@127.0.0.1:1/trials")
    assert "refused" in said


# Files


def test_without_a_database_it_is_said_and_no_file_is_made(tmp_path: Path) -> None:
    said = refusal(StorageError, f"sqlite:///{tmp_path}/trials.db")
    assert said.startswith(f"no database {tmp_path}/trials.db: `batchfront run digits/mlp/")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    said = refusal(StorageError, f"sqlite:///{tmp_path}/no/trials.db", create=True)
    assert f"the folder {tmp_path}/no does not exist" in said


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refusal(StorageError, f"sqlite:///{tmp_path}/file/trials.db", create=True)
    assert f"{tmp_path}/file" in said


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    for create in (True, False):
        assert "is a folder; name a file in it" in refusal(
            StorageError, f"sqlite:///{tmp_path}", create=create
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refusal(StorageError, f"sqlite:///{tmp_path}/trials.db", create=True)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but somebody's notes " * 100)
    before = path.read_bytes()
    said = refusal(StorageError, f"sqlite:///{path}", create=create)
    assert "file is not a database" in said
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused(made_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    content = bytearray(made_database.read_bytes())
    content[200:] = b"\xff" * (len(content) - 200)
    path.write_bytes(content)
    assert "malformed" in refusal(StorageError, f"sqlite:///{path}", create=True)


def test_somebody_elses_database_holds_no_studies_and_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE birds (name TEXT)")
    conn.close()
    assert "holds no batchfront studies" in refusal(StorageError, f"sqlite:///{path}")
    with sqlite3.connect(path) as conn:
        tables = conn.execute("SELECT name FROM sqlite_master").fetchall()
    conn.close()
    assert tables == [("birds",)]


@pytest.mark.every_storage
def test_studies_that_optuna_already_keeps_there_stay(empty_database: str) -> None:
    rdb = optuna.storages.RDBStorage(empty_database)
    optuna.create_study(study_name="theirs", storage=rdb)
    rdb.engine.dispose()
    open_storage(empty_database, create=True).close()
    rdb = optuna.storages.RDBStorage(empty_database)
    assert [s.study_name for s in rdb.get_all_studies()] == ["theirs"]
    rdb.engine.dispose()


@pytest.mark.every_storage
def test_a_database_made_is_found_again_and_made_only_once(empty_database: str) -> None:
    made = open_storage(empty_database, create=True)
    with made.write() as conn:
        conn.execute(insert(schema.meta).values(key="note", value="kept"))
    made.close()
    for create in (True, False):
        found = open_storage(empty_database, create=create)
        with found.read() as conn:
            rows = conn.execute(select(schema.meta.c.key, schema.meta.c.value)).all()
        found.close()
        assert {("schema", str(schema.VERSION)), ("note", "kept")} <= {tuple(row) for row in rows}


def test_a_moved_database_is_whole_once_it_is_closed(database: str, tmp_path: Path) -> None:
    storage = open_storage(database)
    with storage.write() as conn:
        conn.execute(insert(schema.meta).values(key="note", value="kept"))
    storage.close()
    shutil.copy(tmp_path / "trials.db", tmp_path / "moved.db")
    moved = open_storage(f"sqlite:///{tmp_path}/moved.db")
    with moved.read() as conn:
        assert "kept" in conn.execute(select(schema.meta.c.value)).scalars().all()
    moved.close()


# Transactions


@pytest.mark.every_storage
def test_a_write_that_raises_leaves_nothing_behind(storage: Storage) -> None:
    def interrupted() -> None:
        with storage.write() as conn:
            conn.execute(insert(schema.meta).values(key="note", value="lost"))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    with storage.read() as conn:
        assert "note" not in conn.execute(select(schema.meta.c.key)).scalars().all()


@pytest.mark.every_storage
def test_a_read_sees_one_state_while_another_connection_writes(storage: Storage) -> None:
    keys = select(schema.meta.c.key).order_by(schema.meta.c.key)
    with storage.read() as reading:
        assert "note" not in reading.execute(keys).scalars().all()
        with storage.write() as writing:
            writing.execute(insert(schema.meta).values(key="note", value="new"))
        assert "note" not in reading.execute(keys).scalars().all()
    with storage.read() as reading:
        assert "note" in reading.execute(keys).scalars().all()


@pytest.mark.every_storage
def test_the_clock_is_the_databases_and_counts_seconds_since_1970(storage: Storage) -> None:
    before = time.time()
    with storage.read() as conn:
        seconds = conn.execute(select(storage.now)).scalar_one()
    assert before - 0.1 < seconds < time.time() + 0.1  # a server on this very machine


@pytest.mark.every_storage
def test_a_database_error_is_one_line_that_names_the_database(storage: Storage) -> None:
    with pytest.raises(StorageError) as refused, storage.read() as conn:
        conn.execute(sqlalchemy.text("SELECT * FROM birds"))
    said = {"sqlite": "no such table: birds", "postgresql": 'relation "birds" does not exist'}
    assert str(refused.value) == f"{storage}: {said[storage.engine.dialect.name]}"


# Several processes


def _create(url: str, n: int, barrier: Any) -> list[str]:
    barrier.wait()
    storage = open_storage(url, create=True)
    with storage.read() as conn:
        ordered = select(schema.meta.c.value).order_by(schema.meta.c.key.desc())
        found = list(conn.execute(ordered).scalars())
    storage.close()
    return found


@pytest.mark.slow
@pytest.mark.every_storage
def test_eight_processes_that_meet_no_database_make_one_and_all_open_it(
    empty_database: str, eight_processes: Callable[..., list[Any]]
) -> None:
    found = eight_processes(_create, empty_database)
    assert found[0][0] == str(schema.VERSION)
    assert found == [found[0]] * 8
    made = open_storage(empty_database)
    with made.read() as conn:
        count = conn.execute(sqlalchemy.text("SELECT count(*) FROM alembic_version")).scalar_one()
        assert count == 1
        if made.engine.dialect.name == "sqlite":
            whole = conn.execute(sqlalchemy.text("PRAGMA integrity_check")).scalar_one()
            assert whole == "ok"
    made.close()


def _add(url: str, n: int, barrier: Any) -> int:
    storage = open_storage(url)
    barrier.wait()
    for _ in range(40):
        with storage.write() as conn:
            # Read, then write: what SQLite refuses unless the write lock is taken at the start.
            query = select(schema.meta.c.value).where(schema.meta.c.key == "sum")
            total = int(conn.execute(query.with_for_update()).scalar_one())
            row = update(schema.meta).where(schema.meta.c.key == "sum")
            conn.execute(row.values(value=str(total + 1)))
    storage.close()
    return n


@pytest.mark.every_storage
def test_eight_processes_write_at_once_and_no_write_is_lost(
    database: str, storage: Storage, eight_processes: Callable[..., list[Any]]
) -> None:
    with storage.write() as conn:
        conn.execute(insert(schema.meta).values(key="sum", value="0"))
    assert sorted(eight_processes(_add, database)) == list(range(8))
    with storage.read() as conn:
        query = select(schema.meta.c.value).where(schema.meta.c.key == "sum")
        assert conn.execute(query).scalar_one() == "320"


# What passes


@pytest.fixture
def postgres_storage(postgres_database: str) -> Iterator[Storage]:
    opened = open_storage(postgres_database)
    yield opened
    opened.close()


PASSING = {
    "08006": "connection failure",
    "25006": "cannot execute SELECT FOR UPDATE in a read-only transaction",
    "25P03": "terminating connection due to idle-in-transaction timeout",
    "40001": "canceling statement due to conflict with recovery",
    "40P01": "deadlock detected",
    "53100": "could not extend file: No space left on device",
    "53300": "sorry, too many clients already",
    "55P03": "canceling statement due to lock timeout",
    "57014": "canceling statement due to statement timeout",
    "57P01": "terminating connection due to administrator command",
    "57P03": "the database system is starting up",
    "58030": "could not read block 0: Input/output error",
    "0A000": "cannot set transaction read-write mode during recovery",
    "XX000": "cannot assign TransactionIds during recovery",
    "55000": "recovery is in progress",
}

LASTING = {
    "0A000": "cross-database references are not implemented",
    "23505": "duplicate key value violates unique constraint",
    "42501": "permission denied for table studies",
    "XX001": "invalid page in block 3",
}


def _raised(storage: Storage, code: str, words: str) -> BatchfrontError:
    statement = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{words}'; END $$"
    with pytest.raises(BatchfrontError) as raised, storage.write() as conn:
        conn.exec_driver_sql(statement)
    return raised.value


@pytest.mark.postgresql
@pytest.mark.parametrize(("code", "words"), PASSING.items(), ids=PASSING)
def test_what_a_server_says_while_it_is_away_or_changes_hands_is_waited_for(
    code: str, words: str, postgres_storage: Storage
) -> None:
    assert isinstance(_raised(postgres_storage, code, words), Unreachable)


@pytest.mark.postgresql
@pytest.mark.parametrize(("code", "words"), LASTING.items(), ids=LASTING)
def test_what_no_waiting_mends_is_not_waited_for(
    code: str, words: str, postgres_storage: Storage
) -> None:
    assert isinstance(_raised(postgres_storage, code, words), StorageError)
    assert not isinstance(_raised(postgres_storage, code, words), Unreachable)


@pytest.mark.postgresql
def test_connections_to_a_server_that_has_become_read_only_are_given_up(
    postgres: Postgres, postgres_storage: Storage
) -> None:
    name = postgres_storage.url.database

    def process() -> int:
        with postgres_storage.write() as conn:
            conn.execute(update(schema.studies).values(seed=1))
            return int(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    before = process()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert process() == before  # a session keeps what it began with
    postgres_storage.close()
    with pytest.raises(Unreachable, match="read-only transaction"):
        process()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    process()  # by a new connection: the old one would go on refusing


@pytest.mark.postgresql
def test_a_database_that_was_there_is_waited_for_while_it_is_put_back(
    postgres: Postgres, postgres_database: str
) -> None:
    name = postgres_database.rpartition("/")[2]
    storage = open_storage(postgres_database)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    with pytest.raises(StorageError) as never:
        open_storage(postgres_database)
    assert not isinstance(never.value, Unreachable)
    for step in ("dropped", f"CREATE DATABASE {name} OWNER {ROLE}"):
        if step != "dropped":
            postgres.execute(step)  # without a table yet
        for _ in range(2):  # the first finds a connection that was ended
            with pytest.raises(Unreachable):
                load_status(storage, Filter())
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {ROLE}")
    assert load_status(storage, Filter()).finished
    storage.close()
