"""A small web server: bounded threads, one line for a port in use, a clean end on a signal."""

import logging
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.server import create_server

from batchfront.errors import UsageError

_THREADS = 8

_SILENT_SECONDS = 60  # after which a client that says nothing is dropped

_CONNECTIONS = 900  # at once; those that say nothing yet are among them

_LARGEST_REQUEST = 1 << 20  # bytes

_LARGEST_ANSWER = 1 << 30  # bytes; it is in memory already, so it need not pass through a file


class Server:
    """Serves an application on one address, from when it is made until it is closed.

    host, port -- where it listens; port 0 takes a free one
    address    -- its URL

    Raises UsageError for an address that it can't listen on.
    """

    def __init__(self, app: WSGIApplication, host: str, port: int) -> None:
        # It warns of every request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        listening = _listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{listening.getsockname()[1]}/"
        self._open: dict[int, Any] = {}  # sockets, the listening one among them
        self._server = create_server(  # type: ignore[no-untyped-call]
            app,
            map=self._open,
            sockets=[listening],
            threads=_THREADS,
            channel_timeout=_SILENT_SECONDS,
            connection_limit=_CONNECTIONS,
            asyncore_use_poll=True,  # select knows 1,024 files
            max_request_body_size=_LARGEST_REQUEST,
            # Waitress leaves the files to which it spills unclosed.
            inbuf_overflow=_LARGEST_REQUEST + 1,
            outbuf_overflow=_LARGEST_ANSWER,
            ident=None,
        )

    def run(self) -> None:
        """Serve until `stop`, or until a signal's handler raises SystemExit."""
        try:
            self._server.run()
        finally:
            self._close()
            self._server.task_dispatcher.shutdown()

    def stop(self) -> None:
        """Make `run` return, in whatever thread it is."""
        with suppress(OSError):  # it may have woken by itself, and have ended before the call
            self._server.trigger.pull_trigger(self._close)

    def _close(self) -> None:
        # Closing a socket leaves open the file that is being sent through it.
        for channel in [*self._server.active_channels.values()]:
            channel.handle_close()
        wasyncore.close_all(self._open)  # type: ignore[no-untyped-call]


def serve(server: Server) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code, 130 or 0."""
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> NoReturn:
        ended.append(number)
        raise SystemExit

    before = {n: signal.signal(n, end) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 130 if ended[:1] == [signal.SIGINT] else 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not host:  # which would mean every address there is
            raise OSError("no address")
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--host {host} --port {port}: can't listen there: {reason}") from None
