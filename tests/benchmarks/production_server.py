"""A PostgreSQL that keeps what it is told, as one in production does, and what it costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import psutil

from batchfront.store.database import Storage
from batchfront.store.url import open_storage
from tests.postgres import ROLE, TEMPLATE, Postgres

SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "log_connections": "off",
}
"""What differs from the server of the tests; all else is PostgreSQL's default."""


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of CPU by all of the server's processes together."""

    wall: float
    cpu: float


class Server:
    """One server, and what it costs."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self._made: set[str] = set()

    def fresh(self, name: str = "loaded") -> Storage:
        """An empty database with all tables, in place of the last of that name, reached through
        TCP, as a worker on another machine would."""
        if not self._made:
            open_storage(self.postgres.url(TEMPLATE), create=True).close()
        if name in self._made:
            self.postgres.drop(name)
        self.postgres.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {ROLE}")
        self._made.add(name)
        return open_storage(self.postgres.url(name))

    def url(self, name: str = "loaded") -> str:
        """Of a database of that name."""
        return self.postgres.url(name)

    def analyze(self, name: str = "loaded") -> None:
        """What autovacuum does within a minute or so."""
        self.postgres.execute("VACUUM ANALYZE", database=name)

    def connections(self) -> int:
        """How many of the role that workers come as are open."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        return int(self.postgres.execute(query)[0][0])

    def memory(self) -> int:
        """Bytes of the server's processes together, what they share counted once."""
        return sum(map(_memory, self.postgres._processes()))

    def cpu(self) -> float:
        """CPU seconds so far of the server's processes, those that have ended included."""
        return sum(_cpu(process) for process in self.postgres._processes())

    @contextmanager
    def watched(self) -> Iterator[list[Spent]]:
        """Fills the list, when it ends, with what was spent inside."""
        spent: list[Spent] = []
        began, cpu = perf_counter(), self.cpu()
        yield spent
        spent.append(Spent(perf_counter() - began, self.cpu() - cpu))


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    """A server for as long as this lasts, with some settings of its own."""
    postgres = Postgres(**{**SETTINGS, **settings})
    try:
        yield Server(postgres)
    finally:
        postgres.remove()
