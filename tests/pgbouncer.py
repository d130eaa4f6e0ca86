"""A real pgbouncer before the tests' PostgreSQL, which gives its connections out by transaction."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg2
from sqlalchemy import make_url

from tests.ports import free_port
from tests.postgres import ROLE, Postgres

_READY_SECONDS = 60.0


class NoPgbouncer(Exception):
    """Why there is none here."""


class Pgbouncer:
    """One pooler on loopback; `settings` are pgbouncer's own.

    target -- the port of the server that it leads to
    """

    def __init__(self, server: Postgres, target: int | None = None, **settings: str) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            raise NoPgbouncer("there is no pgbouncer on the PATH")
        self.port = free_port()
        self._server = server
        self._folder = Path(tempfile.mkdtemp(prefix="bf-pgb-"))
        users = self._folder / "users"
        users.write_text(f'"{ROLE}" "{server.password}"\n')
        told = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(users),
            "pool_mode": "transaction",
            "server_login_retry": "1",
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in told.items()]
        where = f"* = host=127.0.0.1 port={target or server.port}"
        file = self._folder / "pgbouncer.ini"
        file.write_text("\n".join(["[databases]", where, "[pgbouncer]", *lines, ""]))
        command = [program, "-q", str(file)]
        if os.geteuid() == 0:  # it refuses to run as root
            command[1:1] = ["-u", "nobody"]
            nobody = pwd.getpwnam("nobody")
            for path in (self._folder, users, file):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log)
        self._wait()

    def __enter__(self) -> "Pgbouncer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, database: str, **options: str) -> str:
        """The URL of a database through the pooler."""
        url = make_url(self._server.url(database, **options)).set(port=self.port)
        return url.render_as_string(hide_password=False)

    def close(self) -> None:
        """End it, and leave nothing."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                psycopg2.connect(self.url("postgres").replace("+psycopg2", "")).close()
                return
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    said = (self._folder / "log").read_text()[-2000:]
                    self.close()
                    raise RuntimeError(f"pgbouncer did not start: {error}\n{said}") from error
                time.sleep(0.02)
