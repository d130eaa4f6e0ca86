"""Copies of a server: a standby that streams its changes and can be promoted, and a backup that can
be put in its place."""

import subprocess
import time

from tests.postgres import Postgres
from tests.postgres_programs import NoPostgres

_CAUGHT_UP_SECONDS = 60.0


class Backup(Postgres):
    """What a server held when this was made, to be started as a server of its own.

    through -- the port at which the server is reached, if not its own
    """

    _streams = False

    def __init__(self, of: Postgres, through: int | None = None) -> None:
        self._of, self._through = of, through or of.port
        super().__init__()

    def _initialize(self) -> None:
        self.secret, self.password = self._of.secret, self._of.password
        program = self._bin / "pg_basebackup"
        if not program.exists():
            raise NoPostgres(f"there is no pg_basebackup in {self._bin}")
        where = {
            "host": "127.0.0.1",
            "port": self._through,
            "user": "postgres",
            "password": f"'{self.password}'",
        }
        command = [str(program), "-d", " ".join(f"{key}={value}" for key, value in where.items())]
        command += ["-D", str(self._data), "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        command += ["--write-recovery-conf"] * self._streams
        ran = subprocess.run(command, capture_output=True, text=True, **self._identity)
        if ran.returncode:
            raise RuntimeError(f"pg_basebackup failed: {ran.stderr}")


class Standby(Backup):
    """A server that follows another, reads meanwhile, and takes over when it is promoted.

    It is asynchronous: what the other commits is there a little later, or never, if the connection
    between them has stalled and the other is then gone.
    """

    _streams = True

    def _initialize(self) -> None:
        super()._initialize()
        self.start()
        deadline = time.monotonic() + _CAUGHT_UP_SECONDS
        while not self.execute("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"):
            if time.monotonic() > deadline:
                raise RuntimeError("the standby does not stream")
            time.sleep(0.02)

    def promote(self) -> None:
        """Take over: from now on this is a server that writes."""
        if self.execute("SELECT pg_promote()") != [(True,)]:
            raise RuntimeError("the standby was not promoted")
