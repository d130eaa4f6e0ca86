"""Lines of output and lines beside it, as every command prints them.

All of it passes through `printable`, as names and errors in it may be anybody's.
"""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOBase
from threading import Lock
from typing import Any, TextIO

from batchfront.cli.streams import fitting
from batchfront.log_lines import JsonLines, TextLines, ascii_json
from batchfront.printable import LINES, printable, printable_output

_lines: logging.Formatter = TextLines()


class _Lines(logging.Formatter):
    """Whichever form is asked for by then."""

    def format(self, record: logging.LogRecord) -> str:
        return _lines.format(record)


LOG_LINES: logging.Formatter = _Lines()
"""How the log's lines are written: as all else on standard error is."""


def speak_json(worker: str | None = None) -> None:
    """From now on, standard error is JSON, an object a line; of this worker, if it is one's. What
    others print there, such as a loop or a library, is told by such lines, too."""
    global _lines
    _lines = JsonLines(worker)
    if sys.stderr is not None and not isinstance(sys.stderr, _Others):
        sys.stderr = _Others(sys.stderr)


def speaks_json() -> bool:
    """Whether standard error is JSON."""
    return isinstance(_lines, JsonLines)


def put(line: object = "") -> None:
    """Write a line of what was found."""
    print(printable(str(line)), flush=True)


def put_json(plain: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Write plain data as JSON.

    default -- makes plain data of what is none
    """
    print(ascii_json(plain, indent=2, default=default), flush=True)


def say(line: str, *, before: str = "", level: int = logging.INFO, **facts: Any) -> None:
    """Say something on standard error.

    before -- what stands before it for a person
    facts  -- what it is about, for JSON: `study`, `trial`
    """
    about = {"msg": line, "levelno": level, "levelname": logging.getLevelName(level)}
    record = logging.makeLogRecord({**about, "before": before, **facts})
    _tell(_lines.format(record))


def _tell(line: str) -> None:
    stream = sys.stderr.beneath if isinstance(sys.stderr, _Others) else sys.stderr
    print(line, file=stream, flush=True)


class _Others(TextIOBase):
    """Standard error as others find it that know nothing of JSON."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath, self.buffer = beneath, beneath.buffer
        self._begun, self._lock = "", Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line := line.rstrip().rpartition("\r")[2]:  # of a progress bar, its last state
                say(line)
        return len(text)

    def fileno(self) -> int:
        return self.beneath.fileno()

    def writable(self) -> bool:
        return True


def complain(line: str, *, level: int = logging.WARNING, **facts: Any) -> None:
    """Say on standard error what is wrong."""
    say(line, before="batchfront: ", level=level, **facts)


def warn(line: str) -> None:
    """Warn on standard error."""
    say(line, before="batchfront: warning: ", level=logging.WARNING)


def pass_on(line: str, worker: str) -> None:
    """Say on standard error what a worker has said there; colours in it are its program's."""
    if not speaks_json():
        _tell(printable_output(line))
    elif (said := _object(line)) is not None:
        _tell(ascii_json(said))
    else:
        say(line, worker=worker)


def _object(line: str) -> dict[str, Any] | None:
    """The object that a worker's line is, if it is one."""
    with suppress(ValueError, RecursionError):
        said = json.loads(line)
        return said if isinstance(said, dict) and {"time", "message"} <= said.keys() else None
    return None


def shown(text: str) -> str:
    """Text of a table as a terminal can show it."""
    return fitting(printable(text))


def shown_lines(text: str) -> str:
    """The same of several lines."""
    return fitting(printable(text, LINES))
