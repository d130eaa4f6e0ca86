"""What is wrong with a database is found by looking, and nothing is written to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchfront.doctor import database as looked_at
from batchfront.doctor.database import clock_finding, examine_database
from batchfront.doctor.finding import Level
from batchfront.store.url import Storage, open_storage
from tests.batchfront.doctor.findings import about, bad
from tests.postgres import ROLE, Postgres


@pytest.mark.every_storage
def test_nothing_is_wrong_with_a_good_one(storage: Storage) -> None:
    findings = list(examine_database(storage))
    assert about(findings, "database")
    assert not [one for one in bad(findings) if one.about != "database"]  # slow on a busy machine


def test_a_clock_that_is_far_from_the_databases_is_told_with_its_side() -> None:
    assert clock_finding("the clock of a", 1.0).level is Level.OK
    assert "3,600 s ahead of" in clock_finding("the clock of a", 3600.0).says
    assert "60 s behind" in clock_finding("the clock of a", -60.0).says


@pytest.mark.postgresql
def test_a_role_that_can_only_read_or_not_even_that_is_told(
    postgres: Postgres, postgres_database: str
) -> None:
    name = postgres_database.rpartition("/")[2].partition("?")[0]
    role = f"looker_{name}"
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", database=name)
    storage = open_storage(f"postgresql+psycopg2://{role}:x@127.0.0.1:{postgres.port}/{name}")
    try:
        (only_reads,) = about(examine_database(storage), "rights")
        assert (only_reads.level, "can't write" in only_reads.says) == (Level.WARNING, True)
        grant = f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        postgres.execute(grant, database=name)
        (no_sequences,) = about(examine_database(storage), "rights")
        assert no_sequences.level is Level.WARNING
        grant = f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
        postgres.execute(grant, database=name)
        (may,) = about(examine_database(storage), "rights")
        assert may.level is Level.OK
        postgres.execute(f"REVOKE SELECT ON bf_engines FROM {role}", database=name)
        (lacks,) = about(examine_database(storage), "rights")
        assert (lacks.level, "bf_engines" in lacks.says) == (Level.FAILURE, True)
    finally:
        storage.close()
        postgres.execute(f"DROP OWNED BY {role}", database=name)
        postgres.execute(f"DROP ROLE {role}")


@pytest.mark.postgresql
def test_a_server_that_only_reads_is_told(postgres: Postgres, postgres_database: str) -> None:
    name = postgres_database.rpartition("/")[2].partition("?")[0]
    postgres.execute(f"ALTER ROLE {ROLE} IN DATABASE {name} SET default_transaction_read_only = on")
    storage = open_storage(postgres_database)
    (server,) = about(examine_database(storage), "server")
    storage.close()
    assert (server.level, "read_only" in server.says) == (Level.FAILURE, True)


def test_a_damaged_file_is_told(database: str, storage: Storage) -> None:
    file = Path(storage.url.database or "")
    storage.close()  # and the last connection takes the log into the file
    with closing(sqlite3.connect(file)) as conn:
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'bf_slots_won'"
        page = int(conn.execute(root).fetchone()[0])
    content = bytearray(file.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = bytes(4096)
    file.write_bytes(content)
    damaged = open_storage(database)
    (found,) = about(examine_database(damaged), "file")
    damaged.close()
    assert (found.level, "backup" in found.says) == (Level.FAILURE, True)


def test_a_file_on_a_network_file_system_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looked_at, "filesystem", lambda _: "nfs4")
    (found,) = about(examine_database(storage), "file system")
    assert (found.level, "nfs4" in found.says) == (Level.FAILURE, True)


def test_the_file_system_of_a_path_is_that_of_its_innermost_mount() -> None:
    assert looked_at.filesystem(Path("/proc/self")) == "proc"
