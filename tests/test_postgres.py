"""The server that other tests rely on: whole after a crash, itself after a freeze, never left."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from sqlalchemy import make_url

from tests.postgres import Postgres
from tests.waiting import eventually

pytestmark = pytest.mark.postgresql


def rows(url: str) -> list[tuple[Any, ...]]:
    with psycopg2.connect(url.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT key FROM bf_meta ORDER BY key")
        found = cursor.fetchall()
    connection.close()
    return found


def test_what_was_committed_outlives_a_stop_and_a_crash(postgres: Postgres) -> None:
    name = postgres.create()
    for n, end in enumerate((postgres.stop, postgres.crash)):
        postgres.execute(f"INSERT INTO bf_meta VALUES ('note {n}', '')", database=name)
        end()
        with pytest.raises(psycopg2.OperationalError):
            rows(postgres.url(name))
        postgres.start()
        assert (f"note {n}",) in rows(postgres.url(name))
    assert rows(postgres.url(name, by_socket=True)) == rows(postgres.url(name))
    postgres.drop(name)


def test_a_frozen_server_is_silent_until_it_thaws(postgres: Postgres) -> None:
    postgres.freeze()
    with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
        rows(postgres.url("postgres", connect_timeout="2"))
    postgres.thaw()
    assert postgres.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("by_socket", [False, True])
def test_a_wrong_password_is_refused(
    postgres: Postgres, postgres_database: str, by_socket: bool
) -> None:
    name = postgres_database.rpartition("/")[2]
    url = postgres.url(name, by_socket=by_socket)
    assert ("schema",) in rows(url)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        rows(make_url(url).set(password="wrong").render_as_string(hide_password=False))


KILLED = """
import time
from tests.postgres import Postgres
server = Postgres()
print(server.folder, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_when_the_tests_are_killed() -> None:
    tests = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    folder = Path(tests.stdout.readline().strip())
    processes = psutil.Process(tests.pid).children(recursive=True)
    assert any("postgres" in process.name() for process in processes)
    os.kill(tests.pid, signal.SIGKILL)
    tests.communicate()
    eventually(lambda: not any(process.is_running() for process in processes))
    eventually(lambda: not folder.exists())
