"""A TCP proxy on loopback between clients and a server: it passes everything on, goes silent while
every connection stays open, or cuts them all.

While it is silent its kernel still acknowledges what it is sent, so that TCP notices nothing:
what a firewall that forgets, a frozen machine or a load balancer does to a connection.
"""

import selectors
import socket
from contextlib import suppress
from threading import Lock, Thread
from types import TracebackType

_CHUNK = 1 << 16


class StallingProxy:
    """One port on loopback that leads to another.

    target -- the port that new connections are led to; it may be set to another
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._lock = Lock()
        self._pairs: list[_Pair] = []
        self._refusing = self._silent = False
        Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> "StallingProxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many are open and not stalled."""
        with self._lock:
            return sum(not pair.stalled for pair in self._alive())

    def stall(self, *, new: bool = False) -> int:
        """Go silent on every connection there is, for good; how many these were.

        new -- and on those that come, until `heal`
        """
        with self._lock:
            self._silent = new
            alive = [pair for pair in self._alive() if not pair.stalled]
            for pair in alive:
                pair.stalled = True
            return len(alive)

    def heal(self) -> None:
        """Pass new connections on again. Those that stalled stay silent."""
        self._silent = self._refusing = False

    def cut(self, *, new: bool = False) -> None:
        """Close every connection.

        new -- and those that come, at once, until `heal`
        """
        with self._lock:
            self._refusing = new
            for pair in self._pairs:
                pair.close()
            self._pairs.clear()

    def close(self) -> None:
        """Close the port, and every connection."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes whoever waits there
        self._listening.close()
        self.cut(new=True)

    def _alive(self) -> list["_Pair"]:
        self._pairs = [pair for pair in self._pairs if not pair.over]
        return self._pairs

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._refusing:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._pairs.append(_Pair(client, server, stalled=self._silent))


class _Pair:
    """A client's connection and the one to the server that it is passed on to."""

    def __init__(self, client: socket.socket, server: socket.socket, *, stalled: bool) -> None:
        self.stalled, self.over = stalled, False
        self._ends = {client: server, server: client}
        Thread(target=self._pass_on, name="proxy-pair", daemon=True).start()

    def close(self) -> None:
        """End both connections."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as ready:
            for end in self._ends:
                ready.register(end, selectors.EVENT_READ)
            with suppress(OSError):
                while not self.over:
                    for key, _ in ready.select():
                        end = key.fileobj
                        assert isinstance(end, socket.socket)
                        data = end.recv(_CHUNK)
                        if not data:  # a stalled connection that one side has left is still over
                            self.over = True
                        elif not self.stalled:
                            self._ends[end].sendall(data)
        self.over = True
        for end in self._ends:
            end.close()
