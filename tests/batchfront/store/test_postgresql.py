"""Nothing is waited for without end: connections that go silent, and poolers between."""

import logging
import os
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import make_url, select

from batchfront.errors import StorageError, Unreachable
from batchfront.store import postgresql
from batchfront.store.database import Storage
from batchfront.store.schema import meta
from batchfront.store.url import init_storage, open_storage
from tests.pgbouncer import NoPgbouncer, Pgbouncer
from tests.postgres import Postgres
from tests.searches import planned, rows, work
from tests.stalling_proxy import StallingProxy
from tests.waiting import eventually

pytestmark = pytest.mark.postgresql


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[StallingProxy]:
    with StallingProxy(postgres.port) as between:
        yield between


@pytest.fixture
def stalling(postgres_database: str, proxy: StallingProxy) -> Iterator[Storage]:
    """A database that is reached through the proxy."""
    url = make_url(postgres_database).set(port=proxy.port)
    opened = open_storage(url.render_as_string(hide_password=False))
    yield opened
    proxy.close()
    opened.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up sooner."""
    shorter = {"_TICK": 0.1, "SILENT_SECONDS": 1, "PING_SECONDS": 1, "ANSWER_SECONDS": 2}
    for name, seconds in shorter.items():
        monkeypatch.setattr(postgresql, name, seconds)


def ask(storage: Storage) -> str:
    with storage.read() as conn:
        return str(conn.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar_one())


# Silence


def test_a_connection_that_fell_silent_while_idle_is_replaced_before_it_is_used(
    hurried: None, stalling: Storage, proxy: StallingProxy, caplog: pytest.LogCaptureFixture
) -> None:
    before = ask(stalling)
    assert proxy.stall() == 1
    assert ask(stalling) == before
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said.startswith("database postgresql+psycopg2://batchfront:***@127.0.0.1")
    assert "has not answered for" in said


@pytest.mark.parametrize("how", ["statement", "commit", "rows"])
def test_a_connection_that_falls_silent_in_a_transaction_is_given_up(
    how: str, hurried: None, stalling: Storage, proxy: StallingProxy
) -> None:
    def ask_on() -> None:
        with stalling.write() as conn:
            streamed = conn.execution_options(stream_results=True, max_row_buffer=1)
            found = streamed.exec_driver_sql("SELECT generate_series(1, 100000)")
            assert next(found) == (1,)
            proxy.stall()
            if how == "statement":
                conn.exec_driver_sql("SELECT 1")
            if how == "rows":
                found.all()

    with pytest.raises(Unreachable, match=r"no answer for \d+ s; the connection is given up"):
        ask_on()
    assert ask(stalling)


def test_a_statement_that_takes_as_long_as_it_may_is_not_given_up(
    hurried: None, stalling: Storage
) -> None:
    stalling.close()
    with stalling.write() as conn:
        postgresql.without_limits(conn)
        conn.exec_driver_sql(f"SELECT pg_sleep({postgresql.ANSWER_SECONDS + 1})")
    assert ask(stalling)


def test_who_was_frozen_itself_gives_nothing_up(
    hurried: None, stalling: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that looks at the time counts the seconds in which it runs, however late."""
    with stalling.read() as conn:
        connection = conn.connection.dbapi_connection
        assert isinstance(connection, postgresql.Connection)
        with connection.answered():
            connection.tick(postgresql.SILENT_SECONDS - 1)
    connection.tick(10_000)  # nothing is asked
    assert ask(stalling)


def test_a_fork_leaves_its_parents_connections_alone(stalling: Storage) -> None:
    with stalling.read() as conn:
        connection = conn.connection.dbapi_connection
        assert isinstance(connection, postgresql.Connection)
        with connection.answered():
            child = os.fork()
            if child == 0:
                watched = postgresql._watched
                left = len(watched._connections) + (watched._thread is not None)
                os._exit(left)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert conn.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_the_thread_that_looks_at_the_time_ends_with_the_last_connection(
    hurried: None, stalling: Storage
) -> None:
    assert ask(stalling)
    thread = postgresql._watched._thread
    assert thread is not None
    stalling.close()
    eventually(lambda: postgresql._watched._thread is not thread)
    assert ask(stalling)


def test_each_transaction_has_its_limits_and_a_url_may_set_others(postgres_database: str) -> None:
    own = f"{postgres_database}?options=-c%20statement_timeout%3D5s"
    for url, limit in ((postgres_database, "1min"), (own, "5s")):
        storage = open_storage(url)
        for opened in (storage.read, storage.write):
            for _ in range(2):
                with opened() as conn:
                    assert conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == limit
                    assert conn.exec_driver_sql("SHOW lock_timeout").scalar_one() == "20s"
        storage.close()


# A pooler between


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[Pgbouncer]:
    try:
        with Pgbouncer(postgres) as started:
            yield started
    except NoPgbouncer as error:
        pytest.skip(str(error))


def test_a_search_is_made_and_run_through_a_pooler_that_hands_out_transactions(
    postgres: Postgres, pooler: Pgbouncer
) -> None:
    name = postgres.create(template="template0")
    assert init_storage(pooler.url(name)).endswith("tables made")
    storage = open_storage(pooler.url(name))
    planned(storage, trials=2, batch_sizes=(4,))
    work(storage)
    assert {row.state for row in rows(storage)} == {"done"}
    with storage.read() as conn:
        assert conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == "1min"
    storage.close()
    with psycopg2.connect(pooler.url(name).replace("+psycopg2", "")) as other:
        cursor = other.cursor()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchall() == [("0",)]  # nothing is left behind for others
    other.close()
    pooler.close()
    postgres.drop(name)


def test_a_parameter_that_a_pooler_refuses_is_no_outage(
    postgres_database: str, pooler: Pgbouncer
) -> None:
    name = postgres_database.rpartition("/")[2]
    with pytest.raises(StorageError) as refused:
        open_storage(pooler.url(name, options="-c search_path=public"))
    assert not isinstance(refused.value, Unreachable)
    assert "unsupported startup parameter: options; leave that parameter" in str(refused.value)
    with Pgbouncer(pooler._server, ignore_startup_parameters="options") as lenient:
        open_storage(lenient.url(name, options="-c search_path=public")).close()


def test_a_server_that_is_away_behind_its_pooler_is_waited_for(
    hurried: None, postgres: Postgres, postgres_database: str, pooler: Pgbouncer
) -> None:
    storage = open_storage(pooler.url(postgres_database.rpartition("/")[2]))
    assert ask(storage)
    postgres.stop()
    with pytest.raises(Unreachable):
        ask(storage)
    postgres.start()

    def again() -> str | None:
        try:
            return ask(storage)
        except Unreachable:
            return None

    assert eventually(again)
    storage.close()
