"""A database that is put back to an earlier state while workers run, as after a failover to a
standby that lagged behind: what was acknowledged in between is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batchfront.store.database import Storage
from tests.postgres import ROLE, Postgres


class Backup:
    """The state of a database when this was made."""

    def __init__(self, storage: Storage, server: Postgres | None, folder: Path) -> None:
        self._storage, self._server = storage, server
        self._name = str(storage.url.database)
        self._file = folder / "backup.db"
        storage.close()
        if server is None:
            _copy(self._name, str(self._file))
        else:
            self._taken = server.create(template=self._name)

    def put_back(self) -> None:
        """Lose all that has been committed since."""
        self._storage.close()
        if self._server is None:
            _copy(str(self._file), self._name)
            return
        self._server.drop(self._name)
        made = f"CREATE DATABASE {self._name} TEMPLATE {self._taken} OWNER {ROLE}"
        self._server.execute(made)

    def forget(self) -> None:
        """Remove the copy."""
        if self._server is not None:
            self._server.drop(self._taken)


@contextmanager
def backup(storage: Storage, server: Postgres | None, folder: Path) -> Iterator[Backup]:
    """A database as it is now, to be put back to it within the block."""
    made = Backup(storage, server, folder)
    yield made
    made.forget()


def _copy(source: str, target: str) -> None:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)
