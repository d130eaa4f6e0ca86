"""The database as workers reach it, and what befalls it: crashes, failovers, backups put back,
connections that go silent, read-only spells; a pooler stands before it for half of the workers."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from sqlalchemy import make_url

from batchfront.store.schema import LEASE_SECONDS
from tests.chaos.stranger import Stranger
from tests.pgbouncer import Pgbouncer
from tests.postgres import Postgres
from tests.postgres_standby import Backup, Standby
from tests.stalling_proxy import StallingProxy

Wait = Callable[[float], None]
"""Lets so many seconds pass, in which workers come and go."""


TROUBLES = ("crash", "stall", "stall", "stall", "read only", "read only", "promote")
"""What befalls the service, besides a backup that is made and later put back."""


class Crashing:
    """A server that crashes twice; `current` is that server."""

    def __init__(self, server: Postgres, database: str, dice: random.Random, wait: Wait) -> None:
        self.current, self._database, self._dice, self._wait = server, database, dice, wait
        self.counts: Counter[str] = Counter()

    @property
    def urls(self) -> tuple[str, ...]:
        """The ways to the database."""
        return (self.current.url(self._database),)

    def due(self) -> list[tuple[float, str]]:
        """When what is to befall it, by the share of the slots that are done."""
        return [(0.15, "crash"), (0.45, "crash")]

    def befall(self, trouble: str) -> None:
        """Have one of these happen to it."""
        self.counts[trouble] += 1
        getattr(self, f"_{trouble.replace(' ', '_')}")()

    def interfere(self) -> None:
        """Let another user of the database do something."""

    def count(self, where: str) -> int:
        """How many slots are as said."""
        return int(self._query(f"SELECT count(*) FROM bf_slots WHERE {where}")[0][0])

    def pids(self) -> set[int]:
        """The processes of the workers that are in the list."""
        return {pid for (pid,) in self._query("SELECT pid FROM bf_workers")}

    def close(self) -> None:
        """End all that stands between the workers and the server, and other servers than that."""

    def _crash(self) -> None:
        """Stop the server at once, and start it after a while, in which faults go on."""
        self.current.crash()
        self._wait(self._dice.uniform(0.5, 2 * LEASE_SECONDS))
        self.current.start()

    def _query(self, query: str) -> list[tuple[int, ...]]:
        return self.current.execute(query, database=self._database)


class Service(Crashing):
    """One server at a time behind a port that stays, and behind a pooler as well."""

    def __init__(self, server: Postgres, database: str, dice: random.Random, wait: Wait) -> None:
        super().__init__(server, database, dice, wait)
        self._made = ExitStack()
        self._front = self._made.enter_context(StallingProxy(server.port))
        self._pooler = self._made.enter_context(Pgbouncer(server, self._front.port))
        self._stranger = Stranger(server.url(database))
        self._backup: Backup | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The ways to the database: straight, and by the pooler."""
        straight = make_url(self.current.url(self._database)).set(port=self._front.port)
        return straight.render_as_string(hide_password=False), self._pooler.url(self._database)

    def due(self) -> list[tuple[float, str]]:
        """When what is to befall it, by the share of the slots that are done."""
        found = [(self._dice.uniform(0.05, 0.8), trouble) for trouble in TROUBLES]
        found += [(self._dice.uniform(0.05, 0.3), "back up")]
        found += [(self._dice.uniform(0.4, 0.7), "restore")]
        return sorted(found)

    def interfere(self) -> None:
        """Let another user of Optuna, with a study of its own there, do something."""
        self._stranger.act()

    def close(self) -> None:
        """End all that stands between the workers and the server, and other servers than that."""
        self._stranger.close()
        self._made.close()

    def _stall(self) -> None:
        self.counts["connections"] += self._front.stall()

    def _read_only(self) -> None:
        for value in ("on", "off"):
            change = f"ALTER SYSTEM SET default_transaction_read_only = {value}"
            self.current.execute(change, "SELECT pg_reload_conf()")
            if value == "on":
                self._wait(self._dice.uniform(0.5, 2 * LEASE_SECONDS))

    def _back_up(self) -> None:
        self._backup = Backup(self.current)
        self._made.callback(self._backup.remove)

    def _restore(self) -> None:
        assert self._backup is not None
        self._change_to(self._backup, self._backup.start)

    def _promote(self) -> None:
        between = StallingProxy(self.current.port)
        standby = Standby(self.current, between.port)
        self._made.callback(standby.remove)
        self._wait(self._dice.uniform(0.2, 1.0))
        between.stall(new=True)
        self._wait(self._dice.uniform(0.5, 3.0))  # whose commits are lost
        between.close()
        self._change_to(standby, standby.promote)

    def _change_to(self, server: Postgres, ready: Callable[[], object]) -> None:
        """Another takes the place of the server, which is gone."""
        before = self.count("state = 'done'")
        self.current.crash()
        self._wait(self._dice.uniform(0.0, 3.0))
        ready()
        self.current = server
        self._stranger.move(server.url(self._database))
        self._front.target = server.port
        self._front.cut()
        self.counts["lost"] += max(0, before - self.count("state = 'done'"))
