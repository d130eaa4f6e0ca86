"""Real servers in a thread, and real requests to them."""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.report.web.server import Server
from tests.waiting import LONG


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: HTTPMessage
    body: bytes

    def header(self, name: str) -> str:
        """All headers of this name."""
        return ", ".join(self.headers.get_all(name, []))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Application:
    """Answers everything with "done", and remembers all that it was told."""

    def __init__(self) -> None:
        self.told: list[WSGIEnvironment] = []

    @property
    def reached(self) -> list[str]:
        """What was asked, such as `GET /`."""
        return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}" for environ in self.told]

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        self.told.append(environ)
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"done"]


@contextmanager
def served(app: WSGIApplication, host: str = "127.0.0.1") -> Iterator[str]:
    """The address at which an application is served meanwhile."""
    server = Server(app, host, 0)
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join(LONG)
        assert not thread.is_alive()


def ask(
    address: str,
    path: str = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> Answer:
    """One request, its path and headers sent as given; a body goes as JSON."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=LONG)
    try:
        connection.putrequest(method, path, skip_host="Host" in (headers or {}))
        sent = b"" if body is None else json.dumps(body).encode()
        if sent:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(sent)))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders(sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def send(address: str, *lines: str, body: str = "") -> Answer:
    """One request as it is written here: its first line, its headers, and no others."""
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), LONG) as connection:
        head = "".join(f"{line}\r\n" for line in (*lines, ""))
        connection.sendall(f"{head}{body}".encode("latin-1"))
        answer = HTTPResponse(connection, method=lines[0].partition(" ")[0])
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())
