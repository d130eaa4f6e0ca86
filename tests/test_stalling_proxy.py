"""The proxy that other tests stall connections with."""

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from tests.stalling_proxy import StallingProxy
from tests.waiting import eventually


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        while data := connection.recv(100):
            connection.sendall(data)
        connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            Thread(target=answer, args=(connection,), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"hello")
    return connection.recv(100)


def test_it_passes_on_goes_silent_and_cuts(echo: int) -> None:
    with StallingProxy(echo) as proxy:
        one = socket.create_connection(("127.0.0.1", proxy.port), timeout=0.2)
        assert ask(one) == b"hello"
        assert proxy.stall() == 1
        with pytest.raises(TimeoutError):
            ask(one)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as two:
            assert ask(two) == b"hello"  # only what was there is silent
            assert proxy.connections == 1
            proxy.cut()
            assert two.recv(100) == b""
        assert one.recv(100) == b""
        one.close()
        eventually(lambda: proxy.connections == 0)


def test_new_connections_are_silent_or_cut_until_it_is_healed(echo: int) -> None:
    with StallingProxy(echo) as proxy:
        proxy.stall(new=True)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.2) as one:
            with pytest.raises(TimeoutError):
                ask(one)
            proxy.cut(new=True)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as two:
            assert two.recv(100) == b""
        proxy.heal()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as three:
            assert ask(three) == b"hello"


def test_it_leads_to_another_server_once_told(echo: int) -> None:
    with StallingProxy(1) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as one:
            assert one.recv(100) == b""  # nobody answers there
        proxy.target = echo
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as two:
            assert ask(two) == b"hello"
