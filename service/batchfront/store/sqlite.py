"""A SQLite file: opened as it is, watched while in use, and read where nothing can be written."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import URL, Engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from batchfront.errors import StorageError, StorageLost, Unreachable

_BUSY_SECONDS = 60  # how long SQLite waits for another process's write to end


class SqliteFile:
    """The file of a database, which is the same one for as long as it is in use.

    Readers change nothing, neither in a file that holds studies nor in one that doesn't. Where
    nothing can be written, as on a read-only mount, the file is read as one that doesn't change,
    and what was read is refused if it did.

    create -- make it if there is none
    """

    def __init__(self, url: URL, *, create: bool = False) -> None:
        (name,), given = SQLiteDialect_pysqlite().create_connect_args(url)
        self.path = Path(str(name)).absolute()
        self._options = {"timeout": _BUSY_SECONDS, **given, "uri": True}
        self._create = create
        self._opened: tuple[int, int] | None = None  # device and inode
        self._unchanging: object = None  # its state, where it was opened as such

    def connect(self) -> sqlite3.Connection:
        """Open it. Raises StorageLost if it is another file than before."""
        mode = "rwc" if self._create and self._opened is None else "rw"
        connection = self._connect(f"mode={mode}")
        try:
            connection = self._readable(connection)
            if self._create:
                write_ahead(connection.execute)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            if self._opened is None:
                self._opened = self._identity()
            self.check()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def watched(self, engine: Engine) -> Iterator[None]:
        """While it is read or written.

        Raises StorageLost if it is no longer the file that was opened, and Unreachable if it was
        read as one that doesn't change, and changed.
        """
        self.check()
        if self._changed():  # whoever changes it now has made what others read it by
            engine.dispose()
            self._unchanging = None
        yield
        self.check()
        if self._changed():
            raise Unreachable(f"database {self.path}: it was changed while it was read; try again")

    def check(self) -> None:
        """Raise StorageLost if it is no longer the file that was opened."""
        found = self._identity()
        if self._opened not in (None, found):
            happened = "was removed" if found is None else "was replaced by another file"
            raise StorageLost(f"database {self.path} {happened} while it was in use")

    # -- how

    def _connect(self, how: str) -> sqlite3.Connection:
        opened: sqlite3.Connection = sqlite3.connect(f"{self.path.as_uri()}?{how}", **self._options)
        return opened

    def _readable(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The connection, or one that takes the file for unchanging where it can't be read else."""
        try:
            connection.execute(_ANYTHING)
        except sqlite3.OperationalError as error:
            # In write-ahead mode, readers share two files beside it, which can't be made here.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
                raise
            connection.close()
            log = self._beside("-wal")
            with suppress(FileNotFoundError):
                if log.stat().st_size:
                    raise StorageError(
                        f"database {self.path}: {log.name} holds changes that can't be read where "
                        "nothing can be written; copy both to a folder that can be"
                    ) from None
            self._unchanging = self._state()
            connection = self._connect("mode=ro&immutable=1")
            connection.execute(_ANYTHING)
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _changed(self) -> bool:
        return self._unchanging is not None and self._unchanging != self._state()

    def _state(self) -> object:
        """What is another whenever somebody writes to it, or may have."""
        found = self.path.stat()
        beside = [self._beside(end).exists() for end in ("-wal", "-shm", "-journal")]
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, beside

    def _beside(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)


def write_ahead(execute: Callable[[str], object]) -> None:
    """Turn a file, for good, into one that can be read while it is written to.

    SQLite doesn't wait here by itself: of two that would change the mode at once, one is told that
    the database is locked, whatever its timeout.
    """
    end = monotonic() + _BUSY_SECONDS
    while True:
        try:
            execute("PRAGMA journal_mode=WAL")
            return
        except (sqlite3.OperationalError, DBAPIError) as error:
            code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
            if code & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
        sleep(0.05)


_ANYTHING = "SELECT 1 FROM sqlite_master LIMIT 1"
