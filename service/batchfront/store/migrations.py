"""The tables of a database: made once, checked whenever it is opened, upgraded when asked to."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Connection, func, insert, inspect, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError

from batchfront.errors import StorageError
from batchfront.store import schema
from batchfront.store.commands import EXAMPLE, command
from batchfront.store.database import Storage
from batchfront.vocabulary import WorkerState

OPTUNA_SCHEMA = "v3.2.0.a"
"""The version of Optuna's tables that service/batchfront/store/optuna_tables.py writes (alembic's
name for it)."""

_LOCK = 0x62667363  # any fixed number: PostgreSQL's advisory lock while tables are made or changed

_QUIET_SECONDS = 60.0  # since a worker was last heard of, before tables may change under it


def check_schema(storage: Storage) -> None:
    """Raise StorageError unless the tables are there, and of this batchfront's version."""
    version = _version(storage)
    if version is None:
        raise StorageError(
            f"{storage} holds no batchfront studies: {command(storage, 'run', EXAMPLE)}, say, "
            "makes some"
        )
    if version > schema.VERSION:
        raise StorageError(
            f"{storage} has schema version {version}, which is newer than this batchfront's "
            f"{schema.VERSION}: install a newer batchfront"
        )
    with storage.read() as conn:
        optuna = _optuna_version(conn)
    if version < schema.VERSION or optuna < OPTUNA_SCHEMA:
        have, want = (
            (f"version {version}", schema.VERSION)
            if version < schema.VERSION
            else (f"Optuna's version {optuna}", OPTUNA_SCHEMA)
        )
        owner = _foreign_owner(storage)
        raise StorageError(
            f"{storage} has schema {have}, which is older than this batchfront's {want}: stop "
            f"all workers, back it up, and run {command(storage, 'init', '--upgrade')}"
            + (f" as the owner of its tables, role {owner!r}" if owner else "")
        )
    if optuna > OPTUNA_SCHEMA:
        raise StorageError(
            f"{storage} has Optuna's schema version {optuna}, and this batchfront works with "
            f"{OPTUNA_SCHEMA}: install a newer batchfront"
        )


def make_schema(storage: Storage) -> bool:
    """Make Optuna's tables and ours unless they are there, and check them.

    Several processes may meet the same empty database: they queue on PostgreSQL's advisory lock,
    and on SQLite the losers find the tables made.

    Returns whether it made them. Raises StorageError as `check_schema` does, and for a role that
    may make none.
    """
    made = False
    with _alone(storage):
        if _version(storage) is None:
            _require_schema(storage)
        for pause in (0.05, 0.2, 0.5, 1.0, 2.0, None):
            try:
                if _version(storage) is None:
                    _make_tables(storage)
                    made = True
                break
            except (DBAPIError, StorageError):
                if _version(storage) is not None:
                    break
                if pause is None:
                    raise
                time.sleep(pause)
    check_schema(storage)
    return made


def upgrade_schema(storage: Storage) -> tuple[int, int]:
    """Bring older tables to this version, whole or not at all.

    Returns the versions before and after. Raises StorageError while workers are at work, which know
    the old tables, and for a role that doesn't own them.
    """
    before = _version(storage)
    if before is None:
        make_schema(storage)
        return schema.VERSION, schema.VERSION
    with _alone(storage):
        with storage.read() as conn:
            old_optuna = _optuna_version(conn) < OPTUNA_SCHEMA
        if before < schema.VERSION or old_optuna:
            _require_owner(storage)
            _refuse_at_work(storage)
        if old_optuna:
            _upgrade_optuna(storage)
        with storage.write() as conn:
            _without_limits(conn)
            for version in range(_version_in(conn) or before, schema.VERSION):
                _UPGRADES[version](conn)
                conn.execute(
                    update(schema.meta)
                    .where(schema.meta.c.key == "schema")
                    .values(value=str(version + 1))
                )
    check_schema(storage)
    return before, schema.VERSION


@contextmanager
def _alone(storage: Storage) -> Iterator[None]:
    if storage.engine.dialect.name != "postgresql":
        yield
        return
    with storage.engine.connect() as conn, conn.begin():
        _without_limits(conn)  # whoever holds it may be at it for a while
        conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
        conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield


def _without_limits(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        from batchfront.store.postgresql import without_limits

        without_limits(conn)


def _version(storage: Storage) -> int | None:
    if not inspect(storage.engine).has_table(schema.meta.name):
        return None
    with storage.read() as conn:
        return _version_in(conn)


def _version_in(conn: Connection) -> int | None:
    query = select(schema.meta.c.value).where(schema.meta.c.key == "schema")
    found = conn.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def database_name(storage: Storage) -> str:
    """The name that the database was given when it was made: no other has the same."""
    query = select(schema.meta.c.value).where(schema.meta.c.key == "database")
    with storage.read() as conn:
        return str(conn.execute(query).scalar_one())


def _optuna_version(conn: Connection) -> str:
    return str(conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _make_tables(storage: Storage) -> None:
    from optuna.storages import RDBStorage  # takes a second to import; only needed here

    url = storage.url.render_as_string(hide_password=False)
    try:
        RDBStorage(url).engine.dispose()
    except RuntimeError as error:  # Optuna's word for tables of another Optuna
        raise StorageError(f"{storage}: {error}") from error
    schema.metadata.create_all(storage.engine)
    with storage.write() as conn:
        named = {"schema": str(schema.VERSION), "database": uuid4().hex}
        conn.execute(insert(schema.meta), [{"key": k, "value": v} for k, v in named.items()])


def _upgrade_optuna(storage: Storage) -> None:
    from optuna.storages import RDBStorage

    url = storage.url.render_as_string(hide_password=False)
    theirs = RDBStorage(url, skip_compatibility_check=True)
    theirs.upgrade()
    theirs.engine.dispose()


def _require_schema(storage: Storage) -> None:
    """Raise StorageError for a role that may not make the tables that are missing."""
    if storage.engine.dialect.name != "postgresql":
        return
    may = func.has_schema_privilege(func.current_schema(), "CREATE")
    with storage.read() as conn:
        role, allowed = conn.execute(select(literal_column("current_user"), may)).one()
    if allowed is False:  # NULL: no schema, of which the database says more
        raise StorageError(
            f"{storage} has no tables yet, and role {role!r} may not make them: "
            f"run {command(storage, 'init')} as the owner of the database"
        )


def _require_owner(storage: Storage) -> None:
    """Raise StorageError for a role that may not change the tables."""
    owner = _foreign_owner(storage)
    if owner is not None:
        raise StorageError(
            f"{storage} can't be upgraded by this role: only the owner of its tables, role "
            f"{owner!r}, may change them; nothing has been changed"
        )


def _foreign_owner(storage: Storage) -> str | None:
    """The role that owns the tables, where this one may not act as it."""
    if storage.engine.dialect.name != "postgresql":
        return None
    query = text(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(:table) "
        "AND NOT pg_has_role(relowner, 'USAGE')"
    )
    with storage.read() as conn:
        owner = conn.execute(query, {"table": schema.meta.name}).scalar_one_or_none()
    return None if owner is None else str(owner)


def _refuse_at_work(storage: Storage) -> None:
    query = (
        select(func.count())
        .select_from(schema.workers)
        .where(schema.workers.c.state != WorkerState.STOPPED)
        .where(schema.workers.c.seen_at.between(storage.now - _QUIET_SECONDS, storage.now))
    )
    with storage.read() as conn:
        at_work = conn.execute(query).scalar_one()
    if at_work:
        raise StorageError(
            f"{storage} can't be upgraded while {at_work} workers are at work: stop them first"
        )


def _from_1(conn: Connection) -> None:
    """Leases belong to workers, no longer to each slot."""
    for statement in (
        "DROP INDEX bf_slots_open",
        "UPDATE bf_slots SET state = 'free', worker_id = NULL WHERE state = 'leased'",
        "ALTER TABLE bf_slots DROP COLUMN lease_expires",
        "ALTER TABLE bf_slots ADD COLUMN micro_batch INTEGER",
        "ALTER TABLE bf_slots ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE bf_slots ADD COLUMN failed_by VARCHAR(64)",
        "ALTER TABLE bf_slots ADD COLUMN failed_at FLOAT",
        "ALTER TABLE bf_workers ADD COLUMN lease_expires FLOAT NOT NULL DEFAULT 0",
        "ALTER TABLE bf_workers ADD COLUMN trials INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE bf_workers ADD COLUMN steps INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE bf_workers ADD COLUMN rate FLOAT NOT NULL DEFAULT 0",
        "UPDATE bf_workers SET state = 'stopped'",
    ):
        conn.execute(text(statement))
    if conn.dialect.name == "postgresql":
        conn.execute(text("ALTER TABLE bf_workers SET (fillfactor = 50)"))
        foreign = "bf_measurements_slot_id_fkey"
        conn.execute(text(f"ALTER TABLE bf_measurements DROP CONSTRAINT IF EXISTS {foreign}"))
    for table in (schema.slots, schema.workers):
        for index in table.indexes:
            index.create(conn, checkfirst=True)
    conn.execute(insert(schema.meta).values(key="database", value=uuid4().hex))


def _from_2(conn: Connection) -> None:
    """Studies have a purpose, a race more than one finisher, and a search space can grow."""
    for statement in (
        "ALTER TABLE bf_studies ADD COLUMN purpose VARCHAR(16) NOT NULL DEFAULT 'search'",
        "ALTER TABLE bf_studies ADD COLUMN finishers INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE bf_studies ADD COLUMN continuing INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE bf_studies ADD COLUMN extensions TEXT",
        "ALTER TABLE bf_slots ADD COLUMN repeats INTEGER",
    ):
        conn.execute(text(statement))
    # A definition says how its trials race: as they did, so that it is the same as before.
    for row in conn.execute(text("SELECT id, identity FROM bf_studies")).all():
        identity = json.loads(row.identity)
        identity["search"] |= {"finishers": 1, "continuing": 0}
        changed = update(schema.studies).where(schema.studies.c.id == row.id)
        conn.execute(changed.values(identity=json.dumps(identity)))


def _from_3(conn: Connection) -> None:
    """A study may have a precision of the user's own; what fits into memory is remembered."""
    conn.execute(text("ALTER TABLE bf_studies ADD COLUMN precision VARCHAR(16)"))
    schema.pass_sizes.create(conn, checkfirst=True)


def _from_4(conn: Connection) -> None:
    """Workers say where their time goes; which engine is faster is remembered."""
    conn.execute(text("ALTER TABLE bf_workers ADD COLUMN seconds TEXT"))
    schema.engines.create(conn, checkfirst=True)


def _from_5(conn: Connection) -> None:
    """Steps that were measured elsewhere may be means; seeds and training sets may be large."""
    conn.execute(text("ALTER TABLE bf_slots ADD COLUMN seed BIGINT"))
    if conn.dialect.name == "postgresql":  # in SQLite a column takes numbers of any kind
        for statement in (
            "ALTER TABLE bf_studies ALTER train_examples TYPE BIGINT",
            "ALTER TABLE bf_slots ALTER steps_to_target TYPE DOUBLE PRECISION, "
            "ALTER steps_lower TYPE DOUBLE PRECISION",
        ):
            conn.execute(text(statement))


def _from_6(conn: Connection) -> None:
    """Studies know the checksums of the files that their workload's code is made of, which aren't
    known of those from before until they are planned again. Workers say what they are made of, and
    what time their own machine's clock has."""
    for statement in (
        "ALTER TABLE bf_studies ADD COLUMN checksums TEXT",
        "ALTER TABLE bf_workers ADD COLUMN clock DOUBLE PRECISION",
        "ALTER TABLE bf_workers ADD COLUMN about TEXT",
    ):
        conn.execute(text(statement))


def _from_7(conn: Connection) -> None:
    """Searches may sample all their batch sizes at once, in rounds, and share out their trials;
    what stopped a run is kept."""
    conn.execute(text("ALTER TABLE bf_slots ADD COLUMN round INTEGER"))
    added = "max_trials INTEGER", "until DOUBLE PRECISION", "settled TEXT", "stopped_by TEXT"
    for column in added:
        conn.execute(text(f"ALTER TABLE bf_studies ADD COLUMN {column}"))
    for index in schema.slots.indexes:  # one of those that wait
        index.create(conn, checkfirst=True)


def _from_8(conn: Connection) -> None:
    """What parts of training take is kept, and the gradient noise along a run."""
    for table in (schema.timings, schema.probes):
        table.create(conn, checkfirst=True)


def _from_9(conn: Connection) -> None:
    """Workers say which phase they are in, and what their best trial has shown last."""
    for column in ("phase VARCHAR(16)", "metric DOUBLE PRECISION"):
        conn.execute(text(f"ALTER TABLE bf_workers ADD COLUMN {column}"))


_UPGRADES: dict[int, Callable[[Connection], None]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
    5: _from_5,
    6: _from_6,
    7: _from_7,
    8: _from_8,
    9: _from_9,
}
"""Each brings the tables from the version that is its key to the next."""
