"""A real standby takes over while workers are at it, and they go on with it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, update

from batchfront.errors import Unreachable
from batchfront.store.database import Storage
from batchfront.store.schema import meta, studies
from batchfront.store.url import open_storage
from tests.postgres import TEMPLATE, NoPostgres, Postgres
from tests.postgres_standby import Standby
from tests.searches import CODE, planned, rows
from tests.stalling_proxy import StallingProxy
from tests.waiting import LONG, eventually

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Standby]]:
    """A server of the test's own, and a standby of it."""
    with ExitStack() as made:
        try:
            server = Postgres()
            made.callback(server.remove)
            standby = Standby(server)
            made.callback(standby.remove)
        except NoPostgres as error:
            pytest.skip(str(error))
        yield server, standby


def at(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


def write(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(update(studies).values(seed=1))


def caught_up(server: Postgres, standby: Standby) -> bool:
    """Whether the standby has all that the server has."""
    (sent,) = server.execute("SELECT pg_current_wal_lsn()")[0]
    query = f"SELECT pg_last_wal_replay_lsn() >= '{sent}'"
    return bool(standby.execute(query)[0][0])


def test_a_standby_is_read_and_what_it_refuses_is_waited_for_until_it_is_promoted(
    pair: tuple[Postgres, Standby],
) -> None:
    server, standby = pair
    made = open_storage(server.url(TEMPLATE), create=True)
    made.close()
    eventually(lambda: caught_up(server, standby))
    storage = open_storage(standby.url(TEMPLATE))
    with storage.read() as conn:
        assert conn.execute(select(meta.c.value)).scalars().all()
    with pytest.raises(Unreachable, match=r"during recovery|read-only transaction"):
        write(storage)
    server.crash()
    standby.promote()
    write(storage)
    storage.close()


def test_a_url_that_names_both_servers_leads_to_the_one_that_writes(
    pair: tuple[Postgres, Standby],
) -> None:
    server, standby = pair
    open_storage(server.url(TEMPLATE), create=True).close()
    eventually(lambda: caught_up(server, standby))
    hosts = f"host=127.0.0.1:{standby.port}&host=127.0.0.1:{server.port}"
    url = make_url(server.url(TEMPLATE)).set(host=None, port=None)
    both = f"{url.render_as_string(hide_password=False)}?{hosts}&target_session_attrs=read-write"
    storage = open_storage(both)
    write(storage)
    server.crash()
    with pytest.raises(Unreachable):  # for now, there is only a standby
        write(storage)
    standby.promote()
    write(storage)
    storage.close()


def test_workers_go_on_with_the_standby_that_has_taken_over(
    pair: tuple[Postgres, Standby], tmp_path: Path
) -> None:
    server, standby = pair
    storage = open_storage(server.url(TEMPLATE), create=True)
    planned(storage, trials=6, batch_sizes=(4, 16))
    storage.close()
    with StallingProxy(server.port) as service:
        environment = {**os.environ, "TOY_PAUSE": "0.05"}
        command = [sys.executable, "-m", "batchfront.cli.main", "work", "--device", "cpu"]
        command += ["--code", CODE[0], "--checkpoint-dir", str(tmp_path), "--quiet"]
        command += ["--storage", at(server.url(TEMPLATE), service.port)]
        started = [
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        begun = "SELECT count(*) FROM bf_slots WHERE state = 'leased' AND trial_id IS NOT NULL"
        eventually(lambda: server.execute(begun, database=TEMPLATE)[0][0])
        service.target = standby.port
        service.cut()  # at first to a standby, as when an address moves before it is promoted
        time.sleep(2)
        server.crash()
        standby.promote()
        said = [worker.communicate(timeout=LONG)[1] for worker in started]
    assert [worker.returncode for worker in started] == [0, 0], said
    taken = open_storage(standby.url(TEMPLATE))
    assert {row.state for row in rows(taken)} == {"done"}
    assert {row.outcome for row in rows(taken)} <= {"reached", "capped"}
    taken.close()
