"""Tables of another version: refused with what to do, and brought to this one when asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import inspect, make_url, select, text, update

from batchfront.errors import StorageError
from batchfront.exchange.points import Taken, import_points
from batchfront.exchange.points_file import read_points
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.ledger import Ledger
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store import schema
from batchfront.store.database import Storage, shown
from batchfront.store.migrations import OPTUNA_SCHEMA
from batchfront.store.url import init_storage, open_storage
from batchfront.study.study import Filter
from tests.searches import worker
from tests.toy import SPEC, clouds

Refused = Callable[[], str]


@pytest.fixture
def refused(database: str) -> Refused:
    def attempt() -> str:
        for create in (True, False):
            with pytest.raises(StorageError) as error:
                open_storage(database, create=create)
        return str(error.value)

    return attempt


def set_version(database: str, version: int) -> None:
    storage = open_storage(database)
    with storage.write() as conn:
        row = update(schema.meta).where(schema.meta.c.key == "schema")
        conn.execute(row.values(value=str(version)))
    storage.close()


def as_of_version_9(storage: Storage) -> None:
    """Undo what has changed since."""
    with storage.write() as conn:
        for statement in (
            "ALTER TABLE bf_workers DROP COLUMN phase",
            "ALTER TABLE bf_workers DROP COLUMN metric",
            "UPDATE bf_meta SET value = '9' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_8(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_9(storage)
    with storage.write() as conn:
        for statement in (
            "DROP TABLE bf_timings",
            "DROP TABLE bf_probes",
            "UPDATE bf_meta SET value = '8' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_7(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_8(storage)
    with storage.write() as conn:
        for statement in (
            "DROP INDEX bf_slots_later",
            "ALTER TABLE bf_slots DROP COLUMN round",
            "ALTER TABLE bf_studies DROP COLUMN max_trials",
            "ALTER TABLE bf_studies DROP COLUMN until",
            "ALTER TABLE bf_studies DROP COLUMN settled",
            "ALTER TABLE bf_studies DROP COLUMN stopped_by",
            "UPDATE bf_meta SET value = '7' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_6(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_7(storage)
    with storage.write() as conn:
        for statement in (
            "ALTER TABLE bf_studies DROP COLUMN checksums",
            "ALTER TABLE bf_workers DROP COLUMN clock",
            "ALTER TABLE bf_workers DROP COLUMN about",
            "UPDATE bf_meta SET value = '6' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_5(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_6(storage)
    with storage.write() as conn:
        conn.execute(text("ALTER TABLE bf_slots DROP COLUMN seed"))
        if conn.dialect.name == "postgresql":
            for column in (
                "bf_studies.train_examples",
                "bf_slots.steps_to_target",
                "bf_slots.steps_lower",
            ):
                table, name = column.split(".")
                conn.execute(text(f"ALTER TABLE {table} ALTER {name} TYPE INTEGER"))
        conn.execute(text("UPDATE bf_meta SET value = '5' WHERE key = 'schema'"))


def as_of_version_4(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_5(storage)
    with storage.write() as conn:
        conn.execute(text("DROP TABLE bf_engines"))
        conn.execute(text("ALTER TABLE bf_workers DROP COLUMN seconds"))
        conn.execute(text("UPDATE bf_meta SET value = '4' WHERE key = 'schema'"))


def as_of_version_3(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_4(storage)
    with storage.write() as conn:
        for statement in (
            "DROP TABLE bf_pass_sizes",
            "ALTER TABLE bf_studies DROP COLUMN precision",
            "UPDATE bf_meta SET value = '3' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_2(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_3(storage)
    with storage.write() as conn:
        for row in conn.execute(text("SELECT id, identity FROM bf_studies")).all():
            identity = json.loads(row.identity)
            del identity["search"]["finishers"], identity["search"]["continuing"]
            mine = update(schema.studies).where(schema.studies.c.id == row.id)
            conn.execute(mine.values(identity=json.dumps(identity)))
        for statement in (
            "ALTER TABLE bf_studies DROP COLUMN purpose",
            "ALTER TABLE bf_studies DROP COLUMN finishers",
            "ALTER TABLE bf_studies DROP COLUMN continuing",
            "ALTER TABLE bf_studies DROP COLUMN extensions",
            "ALTER TABLE bf_slots DROP COLUMN repeats",
            "UPDATE bf_meta SET value = '2' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def as_of_version_1(storage: Storage) -> None:
    """Undo what has changed since."""
    as_of_version_2(storage)
    with storage.write() as conn:
        for statement in (
            "DROP INDEX bf_slots_free",
            "DROP INDEX bf_slots_held",
            "DROP INDEX bf_slots_won",
            "DROP INDEX bf_workers_at",
            "CREATE INDEX bf_slots_open ON bf_slots (state, study_id, steps)",
            "ALTER TABLE bf_slots ADD COLUMN lease_expires FLOAT",
            "ALTER TABLE bf_slots DROP COLUMN micro_batch",
            "ALTER TABLE bf_slots DROP COLUMN deaths",
            "ALTER TABLE bf_slots DROP COLUMN failed_by",
            "ALTER TABLE bf_slots DROP COLUMN failed_at",
            "ALTER TABLE bf_workers DROP COLUMN lease_expires",
            "ALTER TABLE bf_workers DROP COLUMN trials",
            "ALTER TABLE bf_workers DROP COLUMN steps",
            "ALTER TABLE bf_workers DROP COLUMN rate",
            "DELETE FROM bf_meta WHERE key = 'database'",
            "UPDATE bf_meta SET value = '1' WHERE key = 'schema'",
        ):
            conn.execute(text(statement))


def layout(storage: Storage) -> dict[str, tuple[set[str], set[str | None]]]:
    looked = inspect(storage.engine)
    return {
        table: (
            {column["name"] for column in looked.get_columns(table)},
            {index["name"] for index in looked.get_indexes(table)},
        )
        for table in schema.metadata.tables
        if looked.has_table(table)
    }


@pytest.mark.every_storage
def test_a_newer_database_wants_a_newer_batchfront(database: str, refused: Refused) -> None:
    set_version(database, schema.VERSION + 1)
    said = refused()
    assert f"has schema version {schema.VERSION + 1}, which is newer" in said
    assert "install a newer batchfront" in said
    with pytest.raises(StorageError, match="is newer"):
        init_storage(database, upgrade=True)


@pytest.mark.every_storage
def test_an_older_database_names_the_command_that_upgrades_it(
    database: str, refused: Refused
) -> None:
    set_version(database, schema.VERSION - 1)
    said = refused()
    assert f"has schema version {schema.VERSION - 1}, which is older" in said
    assert "stop all workers, back it up, and run `batchfront init --upgrade --storage " in said
    with pytest.raises(StorageError, match="is older"):
        init_storage(database)


@pytest.mark.every_storage
def test_tables_of_another_optuna_are_refused(
    database: str, storage: Storage, refused: Refused
) -> None:
    for version, word in (("v3.0.0.d", "older"), ("v9.0.0.a", "install a newer batchfront")):
        with storage.write() as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        said = refused()
        assert version in said
        assert OPTUNA_SCHEMA in said
        assert word in said


@pytest.mark.every_storage
def test_optunas_tables_are_those_that_it_makes_itself(storage: Storage) -> None:
    with storage.read() as conn:
        found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert found == OPTUNA_SCHEMA


@pytest.mark.every_storage
def test_a_database_of_version_1_is_upgraded_with_nothing_lost(
    database: str, storage: Storage
) -> None:
    plan(storage, SPEC, clouds(), SearchOptions(trials=4, batch_sizes=(4,), finishers=1))
    one = worker(storage, "one")
    assert one.claim(Filter(), lambda _: 2)
    with storage.write() as conn:
        conn.execute(update(schema.workers).values(seen_at=storage.now - 100))
    now = layout(storage)
    as_of_version_1(storage)
    assert layout(storage) != now

    assert init_storage(database, upgrade=True).endswith("upgraded from version 1 to 10")
    assert layout(storage) == now
    again = plan(storage, SPEC, clouds(), SearchOptions(trials=4, finishers=1, after_goal="stop"))
    assert (again.added, again.studies[0].finishers) == ((0,), 1)
    with open_storage(database).read() as conn:
        states = conn.execute(select(schema.slots.c.state)).scalars().all()
        assert conn.execute(select(schema.workers.c.state)).scalars().all() == ["stopped"]
    assert states == ["free"] * 4
    assert load_frontier(database, "clouds/mlp/momentum").points[0].outcomes == {"open": 4}
    two = worker(storage, "two")
    assert two.claim(Filter(), lambda _: 9)
    assert init_storage(database, upgrade=True).endswith("up to date")


@pytest.mark.every_storage
@pytest.mark.parametrize(
    ("older", "version"),
    [
        (as_of_version_2, 2),
        (as_of_version_3, 3),
        (as_of_version_4, 4),
        (as_of_version_5, 5),
        (as_of_version_6, 6),
        (as_of_version_7, 7),
        (as_of_version_8, 8),
        (as_of_version_9, 9),
    ],
)
def test_a_database_of_a_later_version_is_upgraded_too(
    database: str, storage: Storage, older: Callable[[Storage], None], version: int
) -> None:
    plan(storage, SPEC, clouds(), SearchOptions(trials=4, batch_sizes=(4,)))
    now = layout(storage)
    older(storage)
    assert init_storage(database, upgrade=True).endswith(f"upgraded from version {version} to 10")
    assert layout(storage) == now
    again = plan(storage, SPEC, clouds(), SearchOptions(trials=4))
    assert (again.added, again.studies[0].precision) == ((0,), None)


@pytest.mark.every_storage
def test_steps_measured_elsewhere_outlive_an_upgrade_and_large_numbers_fit_then(
    database: str, storage: Storage, tmp_path: Path
) -> None:
    def imported(rows: str) -> list[Taken]:
        file = tmp_path / "points.csv"
        file.write_text(f"workload,batch_size,seed,steps,train_examples\n{rows}")
        return import_points(storage, read_points(file))

    imported("a/b,8,7,900,1000\na/b,8,1,1000,\n")
    as_of_version_5(storage)
    init_storage(database, upgrade=True)
    (taken,) = imported(f"a/b,8,7,900,\na/b,8,1,1000,\na/b,8,3160192025,950.5,{2**40}\n")
    assert (taken.new, taken.replaced, taken.unchanged) == (1, 0, 2)
    (point,) = load_frontier(database, "a/b").points
    assert (point.steps, point.study.train_examples) == (950.5, 2**40)


@pytest.mark.postgresql
def test_an_upgrade_of_a_large_table_has_all_the_time_it_needs(postgres_database: str) -> None:
    storage = open_storage(postgres_database, create=True)
    plan(storage, SPEC, clouds(), SearchOptions(trials=4, batch_sizes=(4,)))
    as_of_version_5(storage)
    with storage.write() as conn:  # an index that is made anew with the table, if nothing hurries
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(
            text(
                "CREATE FUNCTION unhurried(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS "
                "$$ BEGIN ASSERT current_setting('statement_timeout') = '0'; RETURN $1; END $$"
            )
        )
        conn.execute(text("CREATE INDEX large ON bf_slots (unhurried(id))"))
    storage.close()
    assert init_storage(postgres_database, upgrade=True).endswith("upgraded from version 5 to 10")


@pytest.mark.every_storage
def test_nothing_is_upgraded_under_workers(database: str, storage: Storage) -> None:
    Ledger(storage, "one").register("here", 1, "cpu")
    as_of_version_1(storage)
    with pytest.raises(StorageError, match="while 1 workers are at work: stop them first"):
        init_storage(database, upgrade=True)
    with storage.read() as conn:
        assert conn.execute(select(schema.meta.c.value)).scalars().all() == ["1"]


@pytest.mark.every_storage
def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    database: str, storage: Storage
) -> None:
    as_of_version_1(storage)
    before = layout(storage)
    with storage.write() as conn:  # so that the last step finds its row there
        conn.execute(text("INSERT INTO bf_meta (key, value) VALUES ('database', 'x')"))
    with pytest.raises(StorageError, match=r"(?i)unique"):
        init_storage(database, upgrade=True)
    assert layout(storage) == before


@pytest.mark.every_storage
def test_init_makes_what_is_not_there_and_says_so(empty_database: str) -> None:
    name = f"database {shown(make_url(empty_database))}"
    assert init_storage(empty_database) == f"{name}: tables made"
    assert init_storage(empty_database) == f"{name}: tables are there"
    assert init_storage(empty_database, upgrade=True) == f"{name}: up to date"
    storage = open_storage(empty_database)
    with storage.read() as conn:
        version = select(schema.meta.c.value).where(schema.meta.c.key == "schema")
        assert conn.execute(version).scalar_one() == str(schema.VERSION)
    storage.close()


def test_every_database_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = set()
    for number in (1, 2):
        storage = open_storage(f"sqlite:///{tmp_path}/{number}.db", create=True)
        with storage.read() as conn:
            query = sqlalchemy.select(schema.meta.c.value).where(schema.meta.c.key == "database")
            names.add(conn.execute(query).scalar_one())
        storage.close()
    assert len(names) == 2
