"""One URL to one database: engine, transactions, clock and schema, for SQLite and PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    create_engine,
    event,
    insert,
    inspect,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, NoSuchModuleError

from service import schema
from service.errors import StorageError, UsageError

DEFAULT_URL = "sqlite:///batchfront.db"

_BUSY_SECONDS = 60  # how long SQLite waits for another process's write to end
_SCHEMA_LOCK = 0x62667363  # any fixed number: PostgreSQL's advisory lock while creating tables


class Storage:
    """A database that holds studies. Reads and writes go through `read` and `write`."""

    def __init__(self, url: URL, engine: Engine) -> None:
        self.url = url
        self.engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._errors_named(), self.engine.connect() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; on SQLite it takes the write lock at once, because a read
        that turns into a write fails immediately there when another process wrote in between."""
        with self._errors_named(), self.engine.connect() as plain:
            conn = plain.execution_options(batchfront_write=True)
            with conn.begin():
                yield conn

    @property
    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the database's clock, the only one that leases go by."""
        if self.engine.dialect.name == "sqlite":
            return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float(53))
        return literal_column("extract(epoch from clock_timestamp())::double precision", Float(53))

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise StorageError(f"database {shown(self.url)}: {_first_line(error)}") from error


def shown(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def parse_url(text: str) -> URL:
    """A storage URL; a bare `postgresql://` is taken as psycopg2."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise UsageError(
            f"storage {text!r} is not a URL; write sqlite:///FILE.db or "
            "postgresql+psycopg2://USER@HOST/DATABASE"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageError(
            f"storage {shown(url)}: unknown scheme {url.drivername!r}; "
            "use sqlite:/// or postgresql+psycopg2://"
        )
    return url


def open_storage(text: str, *, create: bool = False) -> Storage:
    """The database at a URL, with its schema checked, or made first if `create`.

    Raises UsageError for a URL that can't be meant, StorageError for a database that is missing,
    unwritable, corrupt, or of another version.
    """
    url = parse_url(text)
    file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if url.get_backend_name() == "sqlite" and (file is None or url.database == ":memory:"):
        raise UsageError("storage sqlite:// in memory can't be shared with workers; name a file")
    if file is not None and not file.exists() and not create:
        raise StorageError(f"no database {file}: `batchfront run` or `batchfront plan` makes one")
    if file is not None and create and not file.parent.is_dir():
        raise StorageError(f"database {file}: the folder {file.parent} does not exist")
    try:
        engine = _engine(url)
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(
            f"storage {shown(url)}: its database driver can't be loaded ({error}); "
            "use sqlite:/// or postgresql+psycopg2://"
        ) from None
    storage = Storage(url, engine)
    try:
        _prepare(storage, create)
    except DatabaseError as error:
        raise StorageError(f"database {shown(url)}: {_first_line(error)}") from error
    return storage


def _first_line(error: DatabaseError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().splitlines()[0]


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=3)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _on_connect(connection, _record):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # transactions begin where _on_begin says, not later
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        write = conn.get_execution_options().get("batchfront_write", False)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _prepare(storage: Storage, create: bool) -> None:
    version = _version(storage)
    if version is None:
        if not create:
            raise StorageError(
                f"database {shown(storage.url)} holds no batchfront studies: "
                "`batchfront run` or `batchfront plan` makes some"
            )
        _create_schema(storage)
        version = _version(storage)
    if version != schema.VERSION:
        raise StorageError(
            f"database {shown(storage.url)} has schema version {version}, "
            f"this batchfront works with version {schema.VERSION}"
        )


def _version(storage: Storage) -> int | None:
    if not inspect(storage.engine).has_table(schema.meta.name):
        return None
    with storage.read() as conn:
        query = select(schema.meta.c.value).where(schema.meta.c.key == "schema")
        found = conn.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def _create_schema(storage: Storage) -> None:
    """Optuna's tables and ours. Several processes may meet the same empty database: they queue
    on PostgreSQL's advisory lock, and on SQLite the losers find the tables made."""
    with storage.engine.connect() as conn:
        if storage.engine.dialect.name == "postgresql":
            conn.exec_driver_sql(f"SELECT pg_advisory_lock({_SCHEMA_LOCK})")
        for pause in (0.05, 0.2, 0.5, 1.0, 2.0, None):
            try:
                _create_tables(storage)
                return
            except (DBAPIError, StorageError):
                if _version(storage) is not None:
                    return
                if pause is None:
                    raise
                time.sleep(pause)


def _create_tables(storage: Storage) -> None:
    if _version(storage) is not None:
        return
    from optuna.storages import RDBStorage  # takes a second to import; only needed here

    url = storage.url.render_as_string(hide_password=False)
    try:
        RDBStorage(url).engine.dispose()
    except RuntimeError as error:  # Optuna's word for tables of another Optuna
        raise StorageError(f"database {shown(storage.url)}: {error}") from error
    schema.metadata.create_all(storage.engine)
    with storage.write() as conn:
        conn.execute(insert(schema.meta).values(key="schema", value=str(schema.VERSION)))
