"""What deploy/roles.sql grants is enough: the worker's role does everything but make tables."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2.errors
import pytest
from sqlalchemy import make_url

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_exchange import RESNET, archive
from tests.docs.pages import blocks
from tests.postgres import NoPostgres, Postgres

pytestmark = pytest.mark.postgresql

ROOT = Path(__file__).parents[3]
PASSWORDS = {"batchfront": "owner's", "worker": "worker's", "reader": "reader's"}
NAME = "blobs/linear/momentum"

Run = Callable[..., Result]
Write = Callable[..., str]
Roles = Callable[[], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of its own: roles belong to all of one."""
    try:
        started = Postgres()
    except NoPostgres as error:
        pytest.skip(str(error))
    yield started
    started.remove()


@pytest.fixture(scope="module")
def roles(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Roles:
    """Runs deploy/roles.sql as the container does, but for where its secrets are."""
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("no psql")
    secrets = tmp_path_factory.mktemp("secrets")
    for role, password in PASSWORDS.items():
        (secrets / role).write_text(f"{password}\n")
    script = (ROOT / "deploy" / "roles.sql").read_text().replace("/run/secrets", str(secrets))
    (secrets / "roles.sql").write_text(script)

    def run() -> None:
        url = make_url(server.url("batchfront", by_socket=True)).set(
            drivername="postgresql", username="postgres"
        )
        told = [psql, url.render_as_string(hide_password=False), "-qf", secrets / "roles.sql"]
        done = subprocess.run(told, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    server.execute("CREATE DATABASE batchfront")
    run()
    return run


@pytest.fixture
def act(
    server: Postgres, roles: Roles, batchfront: Run, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Has the commands that follow run in a role; the tables are made, by their owner."""

    def become(role: str) -> None:
        url = make_url(server.url("batchfront")).set(username=role, password=PASSWORDS[role])
        monkeypatch.setenv("BATCHFRONT_STORAGE", url.render_as_string(hide_password=False))

    become("batchfront")
    made = batchfront("init")
    assert made.code == 0, made.err
    become("worker")
    return become


def test_a_worker_s_role_does_everything_that_a_search_takes(
    act: Callable[[str], None], batchfront: Run, workload_file: Write, folder: Path
) -> None:
    spec = workload_file()
    for command in (
        ("init",),
        ("init", "--upgrade"),  # of what is of this version
        ("plan", spec, "--trials", "3"),
        ("work", "--quiet", "--code", "."),
        ("plan", spec, "--trials", "4", "--extend"),
        ("run", spec, "--trials", "4", "--workers", "1"),
        ("status",),
        ("frontier", NAME),
        ("curve", NAME),
        ("report",),
        ("export", "--output", "exported"),
        ("import", "batch-science", archive(folder)),
        ("plan", spec, "--trials", "2", "--variant", "tpe", "--sampler", "tpe"),
        ("launch", "debug", "--code", "."),
        ("delete", f"{NAME}@tpe", "--yes"),
        ("delete", RESNET, "--yes"),
        ("delete", NAME, "--yes"),
        ("import", "export", "exported"),
        ("delete", NAME, "--yes"),
    ):
        done = batchfront(*command)
        assert done.code == 0, (command, done.err)


def test_the_guide_s_role_for_workers_is_enough_too(
    server: Postgres,
    roles: Roles,
    batchfront: Run,
    workload_file: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, sql = blocks("docs/guides/security.md", "sql")
    server.execute("CREATE DATABASE guided OWNER batchfront")
    owner = make_url(server.url("guided")).set(password=PASSWORDS["batchfront"])
    monkeypatch.setenv("BATCHFRONT_STORAGE", owner.render_as_string(hide_password=False))
    assert batchfront("init").code == 0
    server.execute(
        sql.replace("DATABASE batchfront", "DATABASE guided").replace("worker", "guided"),
        database="guided",
    )
    url = owner.set(username="guided", password="...")
    monkeypatch.setenv("BATCHFRONT_STORAGE", url.render_as_string(hide_password=False))
    spec = workload_file()
    for command in (("plan", spec, "--trials", "1"), ("status",), ("delete", NAME, "--yes")):
        done = batchfront(*command)
        assert done.code == 0, (command, done.err)


def test_it_may_neither_make_nor_change_nor_empty_tables(
    server: Postgres, act: Callable[[str], None]
) -> None:
    url = make_url(server.url("batchfront")).set(drivername="postgresql", username="worker")
    url = url.set(password=PASSWORDS["worker"])
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        for statement in (
            "CREATE TABLE mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "ALTER TABLE bf_slots ADD COLUMN mine int",
            "DROP TABLE bf_slots",
            "TRUNCATE bf_slots",
            "CREATE ROLE mine",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)


def test_an_upgrade_is_left_to_the_owner_of_the_tables(
    server: Postgres, act: Callable[[str], None], batchfront: Run
) -> None:
    (stored,) = server.execute(
        "SELECT value FROM bf_meta WHERE key = 'schema'", database="batchfront"
    )
    older = "UPDATE bf_meta SET value = '{}' WHERE key = 'schema'"
    server.execute(older.format(int(stored[0]) - 1), database="batchfront")
    try:
        advised = batchfront("status")
        refused = batchfront("init", "--upgrade")
    finally:
        server.execute(older.format(stored[0]), database="batchfront")
    assert (advised.code, advised.err.count("\n")) == (1, 1)
    assert (
        "`batchfront init --upgrade` as the owner of its tables, role 'batchfront'" in advised.err
    )
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "only the owner of its tables, role 'batchfront', may change them" in refused.err
    assert batchfront("status").code == 0


def test_where_there_are_no_tables_it_says_who_makes_them(
    server: Postgres, act: Callable[[str], None], batchfront: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("CREATE DATABASE bare")
    url = make_url(server.url("bare")).set(username="worker", password=PASSWORDS["worker"])
    monkeypatch.setenv("BATCHFRONT_STORAGE", url.render_as_string(hide_password=False))
    refused = batchfront("init")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "has no tables yet, and role 'worker' may not make them: run `batchfront init` as" in (
        refused.err
    )


def test_run_again_it_changes_passwords_and_covers_the_tables_of_an_older_deployment(
    server: Postgres, roles: Roles, act: Callable[[str], None], batchfront: Run
) -> None:
    server.execute("DROP OWNED BY worker", "DROP ROLE worker", database="batchfront")
    assert "password authentication failed" in batchfront("status").err
    roles()
    assert batchfront("status").code == 0
    act("reader")
    assert batchfront("status").code == 0
    assert batchfront("work", "--quiet").code == 1
