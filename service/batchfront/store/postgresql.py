"""Connections to PostgreSQL on which nothing is waited for without end."""

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from threading import Lock, Thread
from time import sleep
from typing import Any
from weakref import WeakSet

import sqlalchemy
from psycopg2 import Error, OperationalError
from psycopg2 import extensions as psycopg2
from sqlalchemy import URL

log = logging.getLogger(__name__)

_PARAMETERS = {  # libpq's; each can be set otherwise in the URL
    "application_name": "batchfront",
    "connect_timeout": 5,  # seconds
    # A host that vanishes leaves its connections open: ask every so often whether it is there.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}

_LIMITS = {
    # Milliseconds. Transactions here take a few; what waits this long will not get through.
    "statement_timeout": 60_000,
    "lock_timeout": 20_000,
    "idle_in_transaction_session_timeout": 60_000,
}
"""Of every transaction. They go along with its first statement, since a pooler that hands its
connections out by transaction takes no such parameters of a session."""

SILENT_SECONDS = 10
"""Without an answer, after which that is said."""

PING_SECONDS = 10
"""In which a connection that was idle has to answer before it is used again."""

ANSWER_SECONDS = 75
"""In which a statement is answered, or its connection is given up: the server's own limit comes
first wherever there is a server that answers."""

_TICK = 1  # second


def connect_args(url: URL) -> dict[str, Any]:
    """What every connection to a server is told that its URL leaves open."""
    options = str(url.query.get("options", ""))
    limits = {name: value for name, value in _LIMITS.items() if name not in options}
    factory = partial(
        Connection,
        name=url.render_as_string(hide_password=True),
        limits="".join(f"SET LOCAL {name} = {value}; " for name, value in limits.items()),
    )
    left = {name: value for name, value in _PARAMETERS.items() if name not in url.query}
    return {**left, "connection_factory": factory}


def without_limits(conn: sqlalchemy.Connection) -> None:
    """Let this transaction take whatever time it needs: a large table isn't rewritten in the minute
    that other statements have."""
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        conn.exec_driver_sql(f"SET LOCAL {limit} = 0")
    connection: Any = conn.connection.dbapi_connection
    connection.within = None


class Connection(psycopg2.connection):
    """A connection that is given up when the server doesn't answer.

    TCP notices a host that has gone, but not one that only forwards nothing any more, or hangs: so
    another thread looks at the time, and shuts the socket down.

    name   -- of the database, as it is told
    limits -- SQL before the first statement of each transaction
    within -- seconds in which the statements of this transaction are to be answered; None: without
              end
    """

    def __init__(self, *arguments: Any, name: str, limits: str) -> None:
        super().__init__(*arguments)
        self.cursor_factory = Cursor
        self.name, self.limits = name, limits
        self.within: float | None = ANSWER_SECONDS
        self._lock = Lock()
        self._waited: float | None = None  # seconds so far; None: nothing is asked
        self._given_up = False
        _watched.add(self)

    def commit(self) -> None:
        """Commit the transaction."""
        with self.answered():
            super().commit()
        self.within = ANSWER_SECONDS

    def rollback(self) -> None:
        """Roll the transaction back."""
        with self.answered():
            super().rollback()
        self.within = ANSWER_SECONDS

    @contextmanager
    def answered(self) -> Iterator[None]:
        """A wait for the server."""
        self.heard()
        try:
            yield
        except Error as error:
            if not self._given_up:
                raise
            said = f"no answer for {self._waited:.0f} s; the connection is given up"
            raise OperationalError(said) from error
        finally:
            with self._lock:
                self._waited = None

    def heard(self) -> None:
        """Begin to wait, or begin anew."""
        with self._lock:
            self._waited = 0.0

    def tick(self, seconds: float) -> None:
        """Count so many seconds that have gone by, from the thread that looks at the time."""
        with self._lock:
            if self._waited is None or self._given_up:
                return
            before = self._waited
            self._waited += seconds
            # Between transactions, it is only asked whether anybody is there.
            within = PING_SECONDS if self.autocommit else self.within
            if within is not None and self._waited >= within:
                self._given_up = True
                self._shut_down()
            silent = before < SILENT_SECONDS <= self._waited
        if silent:
            log.warning("database %s has not answered for %d s", self.name, SILENT_SECONDS)

    def _shut_down(self) -> None:
        with suppress(OSError, Error), socket.socket(fileno=os.dup(self.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)  # which wakes the thread that waits for the server


class Cursor(psycopg2.cursor):
    """A cursor whose waits for the server are bounded."""

    connection: Connection

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 -- psycopg2's name
        """Execute a statement, the limits before it if it is a transaction's first."""
        if self._begins():
            if self.name is None and isinstance(query, str):
                query = self.connection.limits + query
            else:
                self._limit()
        with self.connection.answered():
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Execute a statement with each of these values."""
        if self._begins():
            self._limit()
        with self.connection.answered():
            super().executemany(query, self._one_by_one(vars_list))

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Execute a COPY from or to a file."""
        if self._begins():
            self._limit()
        with self.connection.answered():
            super().copy_expert(sql, file, size)

    def fetchone(self) -> Any:
        """The next row, which a cursor with a name asks the server for."""
        with self.connection.answered() if self.name else nullcontext():
            return super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, which a cursor with a name asks the server for."""
        size = self.arraysize if size is None else size
        with self.connection.answered() if self.name else nullcontext():
            found: list[Any] = super().fetchmany(size)
        return found

    def fetchall(self) -> list[Any]:
        """All other rows, which a cursor with a name asks the server for."""
        with self.connection.answered() if self.name else nullcontext():
            found: list[Any] = super().fetchall()
        return found

    def _one_by_one(self, values: Iterable[Any]) -> Iterator[Any]:
        for each in values:
            self.connection.heard()  # all before this one were answered
            yield each

    def _begins(self) -> bool:
        connection = self.connection
        ready = connection.status == psycopg2.STATUS_READY
        return bool(ready and not connection.autocommit and connection.limits)

    def _limit(self) -> None:
        with self.connection.cursor() as plain, self.connection.answered():
            psycopg2.cursor.execute(plain, self.connection.limits)


class _Watched:
    """The connections of this process, and the thread that looks at the time for them.

    It counts the seconds in which it runs itself: those in which the whole process was frozen are
    nobody's silence.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: WeakSet[Connection] = WeakSet()
        self._thread: Thread | None = None

    def add(self, connection: Connection) -> None:
        """Look at the time for this one, too."""
        with self._lock:
            self._connections.add(connection)
            if self._thread is None:
                self._thread = Thread(target=self._look, name="silence", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """Begin anew, in a fork: the connections there are the parent's, and its thread has stayed
        behind, perhaps with the lock."""
        self.__init__()  # type: ignore[misc]

    def _look(self) -> None:
        while True:
            sleep(_TICK)
            with self._lock:
                found: Sequence[Connection] = [c for c in self._connections if not c.closed]
                if not found:
                    self._thread = None
                    return
            for connection in found:
                connection.tick(_TICK)
            del found, connection  # or the last one would never be collected


_watched = _Watched()

os.register_at_fork(after_in_child=_watched.forget)
