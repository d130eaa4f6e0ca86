"""A database that holds studies: its engine, transactions, clock and errors, for SQLite and
PostgreSQL."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    create_engine,
    event,
    literal_column,
    make_url,
)
from sqlalchemy import exc as errors
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)

from batchfront.errors import StorageError, Unreachable, UsageError
from batchfront.phase_timer import timed_as
from batchfront.store.sqlite import SqliteFile, write_ahead

DEFAULT_URL = "sqlite:///batchfront.db"
"""Of the database that commands work on unless they are told another."""

_PASSING = ("08", "53", "57", "58", "40", "55P03", "25006", "25P03")
"""SQLSTATEs (or classes of them) of what passes by itself: connections and servers that break
off or start up, resources that run short, an operating system's errors, deadlocks, locks,
statements and idle transactions timed out, a server that only reads until another has handed over
to it."""

_HANDING_OVER = ("recovery", "standby", "read-only")
"""Words of what a server says that isn't, or isn't yet, the one to write to, under whichever
SQLSTATE: "cannot set transaction read-write mode during recovery" comes as a feature that isn't
supported. Its connections are given up: the next may reach the server that has taken over."""

_LASTING = (
    "authentication failed",
    "certificate",
    "does not exist",
    "does not support SSL",
    "invalid integer value",  # of a parameter in the URL, such as a port
    "invalid sslmode value",
    "no password supplied",
    "permission denied for database",
    "pg_hba.conf",
    "unrecognized configuration parameter",
    "unsupported startup parameter",  # of a pooler's
)
"""Words of those failures to connect that no waiting mends; libpq gives them no SQLSTATE."""


_PUT_BACK = ("3D000", "42P01")
"""SQLSTATEs of a database, or a table, that isn't there: of one that was, because it is being put
back, as `dropdb`, `createdb` and `pg_restore` do. A failure to connect has words alone."""

_NO_DATABASE = r'database ".*" does not exist'


class Storage:
    """A database that holds studies. Reads and writes go through `read` and `write`."""

    def __init__(self, url: URL, *, create: bool = False) -> None:
        self.url = url
        self._file = None
        if url.get_backend_name() == "sqlite":
            self._file = SqliteFile(url, create=create)
            self.engine = _file_engine(url, self._file)
        else:
            self.engine = _server_engine(url)
        self._has_answered = False

    def __str__(self) -> str:
        return f"database {shown(self.url)}"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state from its first query to its last."""
        with (
            timed_as("storage"),
            self.errors_named(),
            self._watched(),
            self.engine.connect() as conn,
        ):
            if self.engine.dialect.name == "postgresql":
                conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield conn
        self._has_answered = True

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; on SQLite it takes the write lock at once, because a read
        that turns into a write fails immediately there when another process wrote in between."""
        with (
            timed_as("storage"),
            self.errors_named(),
            self._watched(),
            self.engine.connect() as plain,
        ):
            conn = plain.execution_options(batchfront_write=True)
            with conn.begin():
                yield conn
                self.check_file()  # or what is committed now would be lost with it
        self._has_answered = True

    @property
    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the database's clock, the only one that leases go by."""
        return now(self.engine)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def check_file(self) -> None:
        """Raise StorageLost if the database is a file and no longer the one that was opened."""
        if self._file is not None:
            self._file.check()

    def _watched(self) -> AbstractContextManager[None]:
        return nullcontext() if self._file is None else self._file.watched(self.engine)

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Raise the database's errors as ours: in one line, and Unreachable if they may pass."""
        try:
            yield
        except (DatabaseError, InterfaceError, errors.TimeoutError) as error:
            if _hands_over(error):
                self.engine.dispose()
            passes = _passes(error) or (self._has_answered and _is_put_back(error))
            kind = Unreachable if passes else StorageError
            raise kind(f"{self}: {_first_line(error)}{_advice(error)}") from error
        except ValueError as error:  # of a driver, about a text that is asked for or written
            if not (isinstance(error, UnicodeEncodeError) or "NUL (0x00)" in str(error)):
                raise
            raise StorageError(f"{self}: a text that no database keeps: {error}") from error


def parse_url(text: str) -> URL:
    """A storage URL; a bare `postgresql://` is taken as psycopg2."""
    try:
        url = make_url(text)
        if "@" in (url.host or ""):
            raise ArgumentError
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise UsageError(
            f"storage {_without_secrets(text)!r} is not a URL; write sqlite:///FILE.db or "
            "postgresql+psycopg2://USER@HOST/DATABASE, with %40 for an @ in a password"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageError(
            f"storage {shown(url)}: unknown scheme {url.drivername!r}; "
            "use sqlite:/// or postgresql+psycopg2://"
        )
    return url


def now(engine: Engine) -> ColumnElement[float]:
    """Seconds since 1970 by the clock of an engine's database."""
    if engine.dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float(53))
    # The same throughout a statement: what may change from row to row can't use an index.
    clock = "extract(epoch from statement_timestamp())::double precision"
    return literal_column(clock, Float(53))


def shown(url: URL) -> str:
    """The URL without its passwords, of which libpq takes some as parameters too."""
    secret = {name: "***" for name in url.query if re.search(_SECRET, name, re.IGNORECASE)}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


_SECRET = "pass|pwd|secret|token"
"""In the name of a parameter that holds a password: password, passwd, sslpassword, PWD."""

_NAMED = re.compile(rf"(\w*(?:{_SECRET})\w*\s*=\s*)('[^']*'?|[^\s&;]*)", re.IGNORECASE)

_PLACED = re.compile(r"((?:^|[/\s'\"])[^:/\s@]+):(?!/).*@")  # before the last @: it may hold others


def _without_secrets(text: str) -> str:
    """What was meant as a database's URL, with what looks like a password in it hidden."""
    return _NAMED.sub(r"\1***", _PLACED.sub(r"\1:***@", text))


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _advice(error: Exception) -> str:
    """What can be done about it, where that is known."""
    if "unsupported startup parameter" in str(error):
        return (
            "; leave that parameter out of the URL, or have pgbouncer pass over it by "
            "ignore_startup_parameters"
        )
    return ""


def _passes(error: Exception) -> bool:
    """Whether the same may work when tried again."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, errors.TimeoutError)  # no connection left in the pool
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    code, words = getattr(error.orig, "pgcode", None), str(error.orig)
    if code is not None:
        return str(code).startswith(_PASSING) or _hands_over(error)
    if not isinstance(error, OperationalError):
        return False
    if type(error.orig).__module__ == "sqlite3":
        return "locked" in words or "full" in words or "disk I/O" in words
    return not any(word in words for word in _LASTING)


def _is_put_back(error: Exception) -> bool:
    """Whether a PostgreSQL database that was there isn't, or not all of it."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(cause, "pgcode", None)
    if code is not None:
        return code in _PUT_BACK
    first = str(cause).partition("\n")[0]
    return isinstance(error, OperationalError) and bool(re.search(_NO_DATABASE, first))


def _hands_over(error: Exception) -> bool:
    """Whether a PostgreSQL server says that another is, or will be, the one that is written to."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if getattr(cause, "pgcode", None) is None:
        return False
    first = str(cause).splitlines()[0]
    return any(word in first for word in _HANDING_OVER)


def engine_options(url: URL) -> dict[str, Any]:
    """What an engine is told of a database that is there: how to connect to it above all."""
    if url.get_backend_name() == "sqlite":
        return {"creator": SqliteFile(url).connect}
    from batchfront.store import postgresql  # and its driver, which files don't need

    return {
        "connect_args": postgresql.connect_args(url),
        "pool_pre_ping": True,
        "use_native_hstore": False,  # no such column here, and it asks by a cursor of its own
    }


def _server_engine(url: URL) -> Engine:
    # A thousand workers keep a thousand connections, no more.
    return create_engine(url, pool_size=1, max_overflow=4, **engine_options(url))


def _file_engine(url: URL, file: SqliteFile) -> Engine:
    engine = create_engine(url, creator=file.connect)

    @event.listens_for(engine, "connect")
    def _on_connect(connection, _record):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # transactions begin where _on_begin says, not later

    @event.listens_for(engine, "begin")
    def _on_begin(conn: Connection) -> None:
        if not conn.get_execution_options().get("batchfront_write", False):
            conn.exec_driver_sql("BEGIN")
            return
        if not conn.info.get("write-ahead"):
            write_ahead(conn.exec_driver_sql)
            conn.info["write-ahead"] = True
        conn.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
