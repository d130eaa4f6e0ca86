"""Where a command that serves listens, whom it answers, and what it says of that."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from batchfront.cli.commands import same_command
from batchfront.cli.options import option
from batchfront.cli.output.lines import say, warn
from batchfront.errors import UsageError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from batchfront.report.web.server import Server
    from batchfront.report.web.token import Token
    from batchfront.store.database import Storage

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Listening:
    """Where a server listens, the names that it may be asked for by, and who it is shown to.

    allowed -- names, as `parse_host` gives them
    token   -- what is asked for; None: whoever reaches it is answered
    """

    host: str
    port: int
    allowed: tuple[str, ...]
    token_file: Path | None
    token: "Token | None"

    def require_names(self) -> None:
        """Raise UsageError for a server that may write, is reached by other machines, and doesn't
        know its names: another site's page could make itself one of them."""
        from batchfront.report.web.hosts import is_every_address, is_loopback

        if not self.allowed and not is_loopback(self.host):
            everywhere = not self.host or is_every_address(self.host)
            name = socket.gethostname() if everywhere else self.host
            raise UsageError(
                f"--allow-changes on --host {self.host} needs the name that it is asked "
                "for by, or another site's page may change it: "
                f"{same_command('--allowed-host', name)}"
            )

    def open(self, app: "WSGIApplication", storage: "Storage", what: str, may: str) -> "Server":
        """Open the server, and say what it serves, where, and what whoever reaches it may do.

        Raises UsageError where it can't listen.
        """
        from batchfront.report.web.guards import guarded
        from batchfront.report.web.health import with_health
        from batchfront.report.web.hosts import is_loopback
        from batchfront.report.web.login import behind_login
        from batchfront.report.web.server import Server

        shown = app if self.token is None else behind_login(app, self.token)
        all_ = guarded(with_health(shown, storage), self.host, self.allowed)
        server = Server(all_, self.host, self.port)
        if self.token is not None and self.token.weak:
            warn(f"a token as short as that of {self._file} can be guessed")
        if not is_loopback(self.host) and self.token is None:
            warn(
                f"whoever reaches {self.host} can {may}: there is no authentication; "
                "use 127.0.0.1, --token-file, or a proxy that has one"
            )
        elif not is_loopback(self.host):
            warn(f"{self.host}: the token and the pages travel unencrypted; use a proxy with TLS")
        whom = "" if self.token is None else f", to who has the token of {self._file}"
        say(f"{what} on {server.address}{whom} (Ctrl-C ends it)")
        return server

    @property
    def _file(self) -> str:
        return str(self.token_file)


def listening(default_port: int) -> Callable[[F], F]:
    """The options of a server; the command takes what they say as `at`, a Listening."""

    def decorate(command: F) -> F:
        @wraps(command)
        def taking(
            host: str,
            port: int,
            allowed_host: tuple[str, ...],
            token_file: Path | None,
            **rest: Any,
        ) -> Any:
            from batchfront.report.web.hosts import parse_host
            from batchfront.report.web.token import read_token

            allowed = tuple(map(parse_host, allowed_host))
            token = None if token_file is None else read_token(token_file)
            return command(at=Listening(host, port, allowed, token_file, token), **rest)

        decorated: Any = taking
        for one in reversed(_options(default_port)):
            decorated = one(decorated)
        return cast(F, decorated)

    return decorate


def _options(default_port: int) -> list[Callable[[F], F]]:
    return [
        option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            help="Address to listen on. Only this machine reaches the default.",
        ),
        option(
            "--port",
            type=click.IntRange(0, 65535),
            default=default_port,
            show_default=True,
            help="Port to listen on; 0 takes a free one.",
        ),
        option(
            "--allowed-host",
            multiple=True,
            metavar="NAME",
            help="A name that it is asked for by, beside localhost; can be repeated. Other names "
            "are refused.",
        ),
        option(
            "--token-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Show it to who has the token in this file, and to nobody else.",
        ),
    ]
