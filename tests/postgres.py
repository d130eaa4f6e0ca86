"""A real PostgreSQL for the tests: started by them, restarted, crashed or frozen at will, and
gone when they end, however they end."""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from sqlalchemy import URL

from tests.ports import free_port
from tests.postgres_programs import NoPostgres, identity, programs

ROLE = "batchfront"
TEMPLATE = "made"  # a database with all tables and no studies

_READY_SECONDS = 60.0
_SETTINGS = {
    "fsync": "off",  # a crash of the machine is no part of any test; one of the server is
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "120",
    "log_connections": "on",
}
# Waits for a word on standard input, then stops the server. When the input closes without one,
# as it does when the tests are killed, the server's folder goes too. SIGTERM comes first because
# a shell starts its background jobs deaf to the other two, until they listen themselves.
_GUARD = """
folder=$1; shift
"$@" >>"$folder/log" 2>&1 &
read word
kill -TERM $!
if [ "$word" = fast ]; then kill -INT $!; else kill -QUIT $!; kill -CONT $!; fi
wait $!
[ -n "$word" ] || rm -rf "$folder"
"""


class Postgres:
    """One server with a database for whoever asks, on loopback TCP and on a socket.

    settings -- PostgreSQL's own, where they are to be others than suit the tests
    """

    def __init__(self, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self.secret = secrets.token_hex(8)  # as it is in the password however that is quoted
        self.password = self.secret + "@/:%"
        self.port = free_port()
        self._databases = 0
        self._guard: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="bf-pg-"))
        self._data = self.folder / "data"
        try:
            self._identity = identity(self.folder)
            self._bin = programs(self.folder)
            self._initialize()
        except BaseException:
            self.remove()
            raise

    # -- its life

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {**self._settings, "port": self.port, "unix_socket_directories": self.folder}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(self._bin / "postgres"), "-D", str(self._data), *options]
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.folder), *command],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the tests, which then end this
            **self._identity,
        )
        started = time.monotonic()
        while True:
            try:
                return self.connect("postgres").close()
            except psycopg2.OperationalError as error:
                waited = time.monotonic() - started
                if waited > _READY_SECONDS or (waited > 2 and not self._processes()):
                    said = (self.folder / "log").read_text()[-2000:]
                    self.crash()
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{said}") from error
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop in good order: sessions are ended, and everything is written."""
        self._end(b"fast\n")

    def crash(self) -> None:
        """Stop at once, as if its power had failed; the next start recovers."""
        self._end(b"immediate\n")

    def remove(self) -> None:
        """Stop for good, and leave nothing behind."""
        self._end(b"")
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self) -> None:
        """Let no process of the server run; its connections stay open and silent."""
        for _ in range(2):  # its first process may just have been making another
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server run on."""
        self._signal(signal.SIGCONT)

    def make_sure(self) -> None:
        """Have it up and running again, whatever a test has done to it."""
        if self._guard is None:
            self.start()
        else:
            self.thaw()

    # -- its databases

    def create(self, template: str = TEMPLATE) -> str:
        """Make a database that belongs to the role of the tests; its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str, *, by_socket: bool = False, **options: str) -> str:
        """The URL of a database, with the role and the password of the tests; `options` are
        libpq's, such as sslmode."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        if by_socket:
            options |= {"host": str(self.folder), "port": str(self.port)}
            where = {}
        url = URL.create(
            "postgresql+psycopg2", ROLE, self.password, database=database, query=options, **where
        )
        return url.render_as_string(hide_password=False)

    def connect(self, database: str) -> Any:
        """A connection of the superuser's, each statement a transaction of its own."""
        connection = psycopg2.connect(
            user="postgres",
            password=self.password,
            host=str(self.folder),
            port=self.port,
            dbname=database,
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser; what the last one returns."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def tls(self) -> Iterator[Path]:
        """Serve TLS on 127.0.0.1 for as long as this lasts; the certificate that vouches for it.

        Raises NoPostgres if this server was built without, or there is no openssl to make one.
        """
        program = shutil.which("openssl")
        if program is None:
            raise NoPostgres("there is no openssl to make a certificate with")
        made = self.folder / "server.crt"
        command = [program, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(self._data / "server.key"), "-out", str(made)]
        subprocess.run(command, check=True, capture_output=True, **self._identity)
        shutil.copy(made, self._data)
        try:
            self._set_tls("on")
        except psycopg2.Error as error:
            raise NoPostgres(f"this PostgreSQL serves no TLS: {error}") from error
        yield made
        self._set_tls("off")

    # -- how

    def _initialize(self) -> None:
        file = self.folder / "password"
        file.write_text(self.password)
        file.chmod(0o644)  # in a folder that only the server's user can enter
        command = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "--no-sync"]
        command += ["--auth=scram-sha-256", f"--pwfile={file}", "--encoding=UTF8", "--locale=C"]
        ran = subprocess.run(command, capture_output=True, text=True, **self._identity)
        if ran.returncode:
            raise RuntimeError(f"initdb failed: {ran.stderr}")
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'")
        self.execute(f"CREATE DATABASE {TEMPLATE} OWNER {ROLE}")

    def _set_tls(self, value: str) -> None:
        self.execute(f"ALTER SYSTEM SET ssl = {value}", "SELECT pg_reload_conf()")
        deadline = time.monotonic() + _READY_SECONDS
        while self.execute("SHOW ssl") != [(value,)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not turn TLS {value}")
            time.sleep(0.02)

    def _end(self, word: bytes) -> None:
        if self._guard is not None:
            guard, self._guard = self._guard, None
            guard.communicate(word)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # sessions come and go
                process.send_signal(number)

    def _processes(self) -> Sequence[psutil.Process]:
        guard = self._guard
        return psutil.Process(guard.pid).children(recursive=True) if guard else []
