"""A SQLite database that is still to be made: by the first write, and by nothing before it."""

import sqlite3
from contextlib import AbstractContextManager
from threading import RLock, get_ident
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine

from batchfront.store import schema
from batchfront.store.database import Storage
from batchfront.store.migrations import make_schema
from batchfront.store.optuna_tables import trials


class Unmade(Storage):
    """Until it is written to, it is read as one without studies, and there is no file: what is
    refused leaves none behind."""

    _made = False
    _making: int | None = None  # the thread that does, which reads and writes what it has made
    _empty: Engine | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one_makes_it = RLock()

    def read(self) -> AbstractContextManager[Connection]:  # type: ignore[override]
        """A transaction that only reads, and finds nothing where there is nothing yet."""
        if not self._is_there() and self._file is not None and self._file.path.exists():
            self._make()  # somebody has, meanwhile
        return super().read() if self._is_there() else self._without_studies().connect()

    def write(self) -> AbstractContextManager[Connection]:  # type: ignore[override]
        """A transaction that writes, in a database that is there from now on."""
        if not self._is_there():
            self._make()
        return super().write()

    def close(self) -> None:
        """Give all connections back."""
        super().close()
        if self._empty is not None:
            self._empty.dispose()

    def _is_there(self) -> bool:
        return self._made or self._making == get_ident()

    def _make(self) -> None:
        with self._one_makes_it:
            if self._made:
                return
            self._making = get_ident()
            try:
                with self.errors_named():
                    make_schema(self)
                self._made = True
            finally:
                self._making = None

    def _without_studies(self) -> Engine:
        """A database in memory, with tables and nothing in them."""
        if self._empty is None:
            self._empty = create_engine(  # by this one's URL, which messages name
                self.url,
                creator=lambda: sqlite3.connect(":memory:", check_same_thread=False),
                poolclass=StaticPool,
            )
            for tables in (trials.metadata, schema.metadata):
                tables.create_all(self._empty)
        return self._empty
