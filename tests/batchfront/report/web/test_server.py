"""Where a server listens, how many it serves at once, and how it ends."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Timer
from time import sleep
from unittest.mock import Mock
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from batchfront.errors import UsageError
from batchfront.report.web.server import Server, serve
from tests.waiting import LONG
from tests.web import ask, served


def done(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"done"]


def test_several_viewers_are_served_at_once() -> None:
    together = Barrier(6)

    def waiting(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        together.wait(LONG)
        return done(environ, start)

    with served(waiting) as address, ThreadPoolExecutor(6) as viewers:
        assert [a.status for a in viewers.map(ask, [address] * 6)] == [200] * 6


def test_two_hundred_connections_that_ask_for_nothing_keep_nobody_out() -> None:
    with served(done) as address, ExitStack() as silent:
        port = int(address.rstrip("/").rpartition(":")[2])
        for _ in range(200):
            one = silent.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert ask(address).status == 200


def test_a_server_does_not_say_what_it_is_made_of() -> None:
    with served(done) as address:
        assert "Server" not in ask(address).headers


def test_an_answer_larger_than_a_page_with_its_scripts_needs_no_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = Mock(wraps=tempfile.TemporaryFile)
    monkeypatch.setattr(tempfile, "TemporaryFile", files)
    body = bytes(range(256)) * (1 << 15)

    def large(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with served(large) as address:
        assert ask(address).body == body
    files.assert_not_called()


def test_a_server_that_ends_closes_the_file_that_it_was_sending(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 26))  # more than sockets hold
    sent = (tmp_path / "large").open("rb")

    def sending(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", str(1 << 26))])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](sent)
        return wrapped

    with ExitStack() as client:
        with served(sending) as address:
            port = int(address.rstrip("/").rpartition(":")[2])
            slow = client.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            before = 0
            while sent.tell() != before or not before:  # until the sockets hold no more
                before = sent.tell()
                sleep(0.05)
        assert sent.closed


def test_a_port_in_use_is_one_line() -> None:
    with served(done) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(UsageError, match=f"--port {port}: can't listen there: .*in use"):
            Server(done, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "", "192.0.2.1"])
def test_an_address_that_is_none_of_this_machine_is_one_line(host: str) -> None:
    with pytest.raises(UsageError, match="can't listen there"):
        Server(done, host, 0)


def test_an_ipv6_address_is_written_as_one() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with served(done, "::1") as address:
        assert address.startswith("http://[::1]:")
        assert ask(address).status == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_and_its_handler_goes_with_it(number: int, code: int) -> None:
    before = signal.getsignal(number)
    server = Server(done, "127.0.0.1", 0)
    asked = []

    def ask_then_end() -> None:
        asked.append(ask(server.address).status)
        os.kill(os.getpid(), number)

    Timer(0, ask_then_end).start()
    assert serve(server) == code
    assert asked == [200]
    assert signal.getsignal(number) is before
