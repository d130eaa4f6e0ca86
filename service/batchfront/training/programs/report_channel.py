"""The worker's end of `batchfront.report`: hears what a program reports, and lets it go on.

A socket for each start of a program, by whose path (`SOCKET` of `batchfront.reporting`) it is
found. A line is a JSON object:

    program -> worker   {"step": 10, "value": 0.4, "loss": 0.5, "examples": 320,
                         "measures": {"perplexity": 1.6}}
    worker -> program   {"go": true}, once the trial may go on
                        {"go": false, "reason": "..."}, as it is over
                        {"error": "..."}, at once: this is no report, and counts for nothing

One process of a program reports. It is the one whose report came first, until its connection ends
with it: values of two trainings would otherwise become one trial's.
"""

import json
import os
import selectors
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

from batchfront.reporting import SOCKET

_PATH_LIMIT = 107  # bytes of a socket's path
_LINE_LIMIT = 64 * 1024  # bytes
_PEER = struct.Struct("3i")  # process, user and group at a socket's other end
_NOT_ONE = "not a report: a line is a JSON object with a whole number `step` and a number `value`"


class Report(NamedTuple):
    """What a program has reported.

    step     -- the updates that it has done
    value    -- the goal metric there
    loss     -- the mean training loss since its last report, if it has told that
    examples -- those that it has trained on so far, if it has told that
    measures -- what else it has measured, by name
    """

    step: int
    value: float
    loss: float | None
    examples: int | None
    measures: Mapping[str, float] = {}


class ReportChannel:
    """Where one start of a program reports to.

    on_report -- told each report, by a thread of this object's: the program waits in it until `go`
                 or `end`

    All that has been made here is gone after `close`.
    """

    def __init__(self, on_report: Callable[[Report], None]) -> None:
        self._on_report = on_report
        self._lock = Lock()
        self._reporter: socket.socket | None = None
        self._waiting = False
        self._step = -1
        self._reason: str | None = None
        self._folder = _short_folder()
        self._path = self._folder / "report"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(os.fspath(self._path))
        self._server.listen()
        self._bell, self._bell_rope = socket.socketpair()
        self._thread = Thread(target=self._serve, name=f"reports-{self._folder.name}", daemon=True)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What the program finds it by."""
        return {SOCKET: os.fspath(self._path)}

    def go(self) -> None:
        """Let the program go on that waits in a report. Nothing happens where none does."""
        self._answer({"go": True})

    def end(self, reason: str) -> None:
        """Tell the program that its trial is over, in the report that it waits in and in any later
        one."""
        with self._lock:
            self._reason = reason
        self._answer({"go": False, "reason": reason})

    def close(self) -> None:
        """Hang up: a program that still reports takes its trial for over."""
        self._bell_rope.close()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, word: dict[str, Any]) -> None:
        with self._lock:
            if self._waiting and self._reporter is not None:
                self._waiting = False
                _say(self._reporter, word)

    def _serve(self) -> None:
        """Accept connections and take their lines, until the bell rings."""
        begun: dict[socket.socket, bytes] = {}
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self._bell, selectors.EVENT_READ)
                selector.register(self._server, selectors.EVENT_READ)
                while True:
                    for source in [key.fileobj for key, _ in selector.select()]:
                        assert isinstance(source, socket.socket)
                        if source is self._bell:
                            return
                        if source is self._server:
                            connection, _ = self._server.accept()
                            connection.setblocking(False)
                            begun[connection] = b""
                            selector.register(connection, selectors.EVENT_READ)
                        elif not self._take(source, begun):
                            selector.unregister(source)
                            self._forget(source)
                            del begun[source]
            finally:
                for each in (self._server, self._bell, *begun):
                    self._forget(each)

    def _take(self, connection: socket.socket, begun: dict[socket.socket, bytes]) -> bool:
        """Take what has come of a connection. Returns whether more may come."""
        try:
            data = connection.recv(_LINE_LIMIT)
        except OSError:
            return False
        *lines, rest = (begun[connection] + data).split(b"\n")
        for line in lines:
            self._hear(connection, line)
        begun[connection] = rest
        if len(rest) > _LINE_LIMIT:
            _say(connection, {"error": _NOT_ONE})
            return False
        return bool(data)

    def _hear(self, connection: socket.socket, line: bytes) -> None:
        report = _parsed(line)
        with self._lock:
            refused = _NOT_ONE if report is None else self._refused(connection, report)
            if refused is not None or self._reason is not None:
                over = {"go": False, "reason": self._reason}
                _say(connection, over if refused is None else {"error": refused})
                return
            assert report is not None
            self._reporter, self._waiting, self._step = connection, True, report.step
        self._on_report(report)

    def _refused(self, connection: socket.socket, report: Report) -> str | None:
        """Why a report doesn't count, if it doesn't."""
        if self._reporter is not None and self._reporter is not connection:
            return (
                f"step {report.step} is reported by process {_process(connection)}, but process "
                f"{_process(self._reporter)} reports this trial: call it in one of them"
            )
        if self._waiting:
            return f"step {report.step} is reported while step {self._step} still is"
        if report.step <= self._step:
            return f"step {report.step} is reported after step {self._step}; steps have to rise"
        return None

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            if connection is self._reporter:
                self._reporter, self._waiting = None, False
            connection.close()


def _short_folder() -> Path:
    """A new folder, its user's alone, in which a socket's path is as short as it has to be."""
    folder = Path(tempfile.mkdtemp(prefix="batchfront-"))
    if len(os.fsencode(folder / "report")) > _PATH_LIMIT:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="batchfront-", dir="/tmp"))
    return folder


def _parsed(line: bytes) -> Report | None:
    try:
        told = json.loads(line)
        step, value, loss, examples, measures = [told.get(name) for name in Report._fields]
        counts = [step, *([] if examples is None else [examples])]
        measures = {} if measures is None else measures
        numbers = [value, *([] if loss is None else [loss]), *measures.values()]
        if any(type(count) is not int or count < 0 for count in counts):
            return None
        if any(type(number) not in (int, float) for number in numbers):
            return None
        found = {name: float(one) for name, one in measures.items()}
        return Report(step, float(value), None if loss is None else float(loss), examples, found)
    except (ValueError, AttributeError, RecursionError, OverflowError):
        return None


def _process(connection: socket.socket) -> int:
    """The process at the other end."""
    of_peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    process, _, _ = _PEER.unpack(of_peer)
    return int(process)


def _say(connection: socket.socket, word: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(word).encode() + b"\n")
    except OSError:  # it has gone, or reads nothing
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
