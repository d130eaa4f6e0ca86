"""The database as workers reach it, and what befalls it: crashes, failovers, backups put back,
connections that go silent, read-only spells; a pooler stands before it for half of the workers."""

import random
from collections.abc import Callable
from contextlib import ExitStack

from sqlalchemy import make_url

from tests.chaos.stranger import Stranger
from tests.pgbouncer import Pgbouncer
from tests.postgres import Postgres
from tests.postgres_standby import Backup, Standby
from tests.stalling_proxy import StallingProxy

TROUBLES = ("crash", "stall", "stall", "read only", "read only", "back up", "restore", "promote")
"""What befalls the database in each seed, at some share of the work each. A backup is made before
it is put back."""

LOSING = ("restore", "promote")
"""Those that lose what was acknowledged."""


class Service:
    """One server at a time behind a port that stays; `current` is that server.

    wait -- lets so many seconds pass, in which workers come and go
    """

    def __init__(
        self,
        server: Postgres,
        database: str,
        dice: random.Random,
        wait: Callable[[float], None],
    ) -> None:
        self.current, self._database, self._dice, self._wait = server, database, dice, wait
        self._made = ExitStack()
        self._front = self._made.enter_context(StallingProxy(server.port))
        self._pooler = self._made.enter_context(Pgbouncer(server, self._front.port))
        self._backup: Backup | None = None
        self._stranger = Stranger(server.url(database))
        self.counts = dict.fromkeys((*TROUBLES, "connections", "lost"), 0)

    @property
    def urls(self) -> tuple[str, ...]:
        """The ways to the database: straight, and by the pooler."""
        straight = make_url(self.current.url(self._database)).set(port=self._front.port)
        return straight.render_as_string(hide_password=False), self._pooler.url(self._database)

    def due(self) -> list[tuple[float, str]]:
        """When what is to befall it, by the share of the slots that are done."""
        shares = {name: [] for name in TROUBLES}
        for name in TROUBLES:
            shares[name].append(self._dice.uniform(0.05, 0.8))
        made, put_back = self._dice.uniform(0.05, 0.3), self._dice.uniform(0.4, 0.7)
        shares |= {"back up": [made], "restore": [put_back]}
        return sorted((share, name) for name, found in shares.items() for share in found)

    def befall(self, trouble: str) -> None:
        """Have one of these happen to it."""
        self.counts[trouble] += 1
        getattr(self, f"_{trouble.replace(' ', '_')}")()

    def interfere(self) -> None:
        """Let another user of Optuna, with a study of its own there, do something."""
        self._stranger.act()

    def done(self, where: str) -> int:
        """How many slots are as said; what isn't answered is asked again."""
        query = f"SELECT count(*) FROM bf_slots WHERE {where}"
        return int(self.current.execute(query, database=self._database)[0][0])

    def close(self) -> None:
        """End all that stands between the workers and the server, and other servers than that."""
        self._stranger.close()
        self._made.close()

    def _crash(self) -> None:
        self.current.crash()
        self._wait(self._dice.uniform(0.5, 5.0))
        self.current.start()

    def _stall(self) -> None:
        self.counts["connections"] += self._front.stall()

    def _read_only(self) -> None:
        for value in ("on", "off"):
            change = f"ALTER SYSTEM SET default_transaction_read_only = {value}"
            self.current.execute(change, "SELECT pg_reload_conf()")
            if value == "on":
                self._wait(self._dice.uniform(0.5, 5.0))

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
        before = self.done("state = 'done'")
        self.current.crash()
        self._wait(self._dice.uniform(0.0, 3.0))
        ready()
        self.current = server
        self._stranger.move(server.url(self._database))
        self._front.target = server.port
        self._front.cut()
        self.counts["lost"] += max(0, before - self.done("state = 'done'"))


