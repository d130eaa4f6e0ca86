"""The commands on PostgreSQL: every way to write its URL, TLS, a role that may only read, and no
password anywhere."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import URL, make_url

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_commands import SLOW
from tests.postgres import NoPostgres, Postgres
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.postgresql

Run = Callable[..., Result]
Write = Callable[..., str]

NAME = "blobs/linear/momentum"


def text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture
def use(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the commands use the test's database, with some of its URL replaced."""

    def use_it(*, query: dict[str, str] | None = None, **replaced: Any) -> None:
        url = make_url(postgres_database).set(**replaced).update_query_dict(query or {})
        monkeypatch.setenv("BATCHFRONT_STORAGE", text(url))

    use_it()
    return use_it


@pytest.fixture
def ran(use: Callable[..., None], batchfront: Run, workload_file: Write) -> None:
    """A finished run of two batch sizes with three trials each."""
    planned = batchfront("plan", workload_file(), "--trials", "3")
    assert planned.code == 0, planned.err
    worked = batchfront("work", "--quiet")
    assert worked.code == 0, worked.err


def one_line(result: Result, code: int = 1) -> str:
    """What a command that failed said, in one line."""
    assert result.code == code, result.err
    assert result.out == ""
    said = [line for line in result.err.splitlines() if not line.startswith("Planning ")]
    assert len(said) == 1, said
    return said[0]


def contents(postgres: Postgres, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, by table."""
    named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    tables = [name for (name,) in postgres.execute(named, database=database)]
    return {
        name: postgres.execute(f"SELECT t::text FROM {name} t ORDER BY 1", database=database)
        for name in tables
    }


# URLs


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_way_to_write_the_scheme_reaches_the_database(
    use: Callable[..., None], batchfront: Run, scheme: str
) -> None:
    use(drivername=scheme)
    assert batchfront("status", "--format", "json").code == 0


def test_a_socket_is_named_as_the_host(
    postgres: Postgres,
    postgres_database: str,
    ran: None,
    batchfront: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_tcp = batchfront("frontier", NAME)
    url = postgres.url(str(make_url(postgres_database).database), by_socket=True)
    assert "@/test" in url
    monkeypatch.setenv("BATCHFRONT_STORAGE", url)
    by_socket = batchfront("frontier", NAME)
    assert (by_socket.code, by_socket.out) == (0, by_tcp.out)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"password": "wrong-one"}, "password authentication failed"),
        ({"username": "nobody-here"}, "password authentication failed"),
        ({"database": "no-such"}, 'database "no-such" does not exist'),
        ({"query": {"sslmode": "nonsense"}}, "invalid sslmode value"),
        ({"query": {"nonsense": "1"}}, 'invalid connection option "nonsense"'),
    ],
)
def test_a_url_that_is_wrong_is_refused_at_once_in_one_line(
    postgres: Postgres,
    use: Callable[..., None],
    batchfront: Run,
    replaced: dict[str, Any],
    said: str,
) -> None:
    use(**replaced)
    for command in (["status"], ["work", "--quiet"], ["init"]):
        line = one_line(batchfront(*command))
        assert said in line
        assert "wrong-one" not in line
        assert postgres.secret not in line


# TLS


def test_tls_options_reach_libpq(
    postgres: Postgres, use: Callable[..., None], batchfront: Run, folder: Path
) -> None:
    use(query={"sslmode": "require"})
    assert "server does not support SSL" in one_line(batchfront("status"))
    try:
        with postgres.tls() as certificate:
            assert batchfront("status").code == 0
            root = folder / "root.crt"
            root.write_bytes(certificate.read_bytes())
            use(query={"sslmode": "verify-full", "sslrootcert": str(root)})
            assert batchfront("status").code == 0
            assert batchfront("work", "--quiet").code == 0
            use(query={"sslmode": "verify-full", "sslrootcert": str(folder / "none.crt")})
            said = one_line(batchfront("work", "--quiet"))
            assert f'root certificate file "{folder}/none.crt" does not exist' in said
            use(query={"sslmode": "verify-full", "sslrootcert": str(root)}, host="localhost")
            assert "does not match host name" in one_line(batchfront("work", "--quiet"))
    except NoPostgres as error:
        pytest.skip(str(error))


# A role that may only read


@pytest.fixture
def reader(postgres: Postgres, postgres_database: str) -> Iterator[dict[str, str]]:
    """A role that may read all tables, to take the owner's place in the URL."""
    name = make_url(postgres_database).database
    postgres.execute(
        "CREATE ROLE reader LOGIN PASSWORD 'reads'",
        f"GRANT CONNECT ON DATABASE {name} TO reader",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        database=str(name),
    )
    yield {"username": "reader", "password": "reads"}
    postgres.execute("DROP OWNED BY reader", "DROP ROLE reader", database=str(name))


def test_reading_is_enough_for_frontier_status_and_report(
    ran: None, use: Callable[..., None], reader: dict[str, str], batchfront: Run, folder: Path
) -> None:
    shown = [["frontier", NAME, "--format", "json"], ["frontier", NAME], ["status"]]
    by_owner = [batchfront(*command) for command in shown]
    assert batchfront("report", "--output", "owner.html").code == 0
    use(**reader)
    assert [batchfront(*command) for command in shown] == by_owner
    assert len(json.loads(by_owner[0].out)["points"]) == 2
    assert batchfront("report", "--output", "reader.html").code == 0
    pages = [(folder / name).read_text() for name in ("owner.html", "reader.html")]
    written, read = (re.sub("<time.*?</time>", "", page) for page in pages)
    assert read == written


def test_a_reader_can_do_nothing_else(
    ran: None,
    postgres: Postgres,
    postgres_database: str,
    use: Callable[..., None],
    reader: dict[str, str],
    batchfront: Run,
) -> None:
    use(**reader)
    name = str(make_url(postgres_database).database)
    before = contents(postgres, name)
    spec = "./my_workload.py:my_workload"
    for command in (
        ["plan", spec, "--trials", "9"],
        ["run", spec, "--trials", "9", "--workers", "1"],
        ["work", "--quiet"],
    ):
        assert "permission denied for table" in one_line(batchfront(*command))
    assert contents(postgres, name) == before


# The password


def test_the_password_is_in_nothing_that_a_run_leaves_or_shows(
    postgres: Postgres, use: Callable[..., None], workload_file: Write, folder: Path
) -> None:
    """Not in the commands of the workers, in what is said, in the page, or in the database; nor
    in what a worker says that is killed, or can't reach the database."""
    spec = workload_file(*SLOW, ("step_budget=200", "step_budget=200_000"))
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "run", spec, "--workers", "2"]
    command += ["--trials", "4", "--debug"]
    said = folder / "said.txt"
    with said.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream, stdout=stream)
    try:
        workers = _workers(process.pid, 2)
        commands = [" ".join(worker.cmdline()) for worker in workers]
        assert postgres.secret not in " ".join([*commands, *process.args])
        _until_busy(postgres, 2)
        workers[0].send_signal(signal.SIGKILL)
        eventually(lambda: "a worker ended with signal 9" in said.read_text())
        postgres.crash()
    finally:
        process.send_signal(signal.SIGINT)  # what the other worker holds it can't hand back
        process.wait(LONG)
    postgres.start()
    assert "what this worker holds is free when its lease runs out" in said.read_text()
    left = [p.read_text(errors="ignore") for p in folder.iterdir() if p.is_file()]
    database = make_url(os.environ["BATCHFRONT_STORAGE"]).database
    rows = contents(postgres, str(database))
    assert rows["bf_workers"]
    assert postgres.secret not in "".join([*left, repr(rows)])


@pytest.mark.slow
def test_sigterm_ends_a_worker_though_the_database_is_silent(
    postgres: Postgres,
    use: Callable[..., None],
    batchfront: Run,
    workload_file: Write,
    started: Callable[..., "subprocess.Popen[str]"],
) -> None:
    spec = workload_file(*SLOW, ("step_budget=200", "step_budget=200_000"))
    assert batchfront("plan", spec, "--trials", "4").code == 0
    worker = started("work", "--quiet")
    try:
        _until_busy(postgres, 1)
        postgres.freeze()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LONG) == 0
    finally:
        worker.kill()
        worker.communicate()


def _workers(pid: int, number: int) -> list[psutil.Process]:
    """The worker processes of a command, once there are so many."""

    def workers() -> list[psutil.Process]:
        # A process that has been forked, and isn't running its own program yet, has its parent's
        # command line.
        return [c for c in psutil.Process(pid).children() if "work" in c.cmdline()]

    found = eventually(lambda: len(found := workers()) == number and found, "no workers")
    assert isinstance(found, list)
    return found


def _until_busy(postgres: Postgres, number: int) -> None:
    """Wait until so many workers are at work."""
    name = make_url(os.environ["BATCHFRONT_STORAGE"]).database
    count = "SELECT count(*) FROM bf_workers WHERE state = 'busy'"
    eventually(lambda: postgres.execute(count, database=str(name)) == [(number,)], "none is busy")
