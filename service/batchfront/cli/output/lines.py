"""Lines of output and lines beside it, as every command prints them.

All of it passes through `printable`, as names and errors in it may be anybody's.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from batchfront.cli.streams import fitting, width_of, wrap_errors
from batchfront.log_lines import JsonLines, TextLines, ascii_json, json_line
from batchfront.printable import LINES, printable, printable_output
from batchfront.wrapping import wrapped

_lines: logging.Formatter = TextLines()


def _print(line: str) -> None:
    print(_fitted(line, sys.stderr), file=sys.stderr, flush=True)


_write: Callable[[str], None] = _print


@contextmanager
def said_by(write: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, have what is said on standard error, by the log too, written so: above
    a display, say, that it would tear."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before


class LogHandler(logging.Handler):
    """Says the log's lines as all else on standard error is said."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one."""
        try:
            _write(self.format(record))
        except Exception:
            self.handleError(record)


class _Lines(logging.Formatter):
    """Whichever form is asked for by then."""

    def format(self, record: logging.LogRecord) -> str:
        text = _lines.format(record)
        return text if record.exc_info else _fitted(text, sys.stderr)


LOG_LINES: logging.Formatter = _Lines()
"""How the log's lines are written: as all else on standard error is."""


def speak_json(worker: str | None = None, *, launched: bool = False) -> None:
    """From now on, standard error is JSON, an object a line; of this worker, if it is one's.

    launched -- whether its launcher makes objects of what others print there
    """
    global _lines
    _lines = JsonLines(worker)
    if not launched:
        wrap_errors([sys.executable, "-P", "-m", "batchfront.cli.json_pipe", worker or ""])


def speaks_json() -> bool:
    """Whether standard error is JSON."""
    return isinstance(_lines, JsonLines)


def put(line: object = "") -> None:
    """Write a line of what was found."""
    print(_fitted(printable(str(line)), sys.stdout), flush=True)


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
    _write(_lines.format(record))


def complain(line: str, *, level: int = logging.WARNING, **facts: Any) -> None:
    """Say on standard error what is wrong."""
    say(line, before="batchfront: ", level=level, **facts)


def warn(line: str) -> None:
    """Warn on standard error."""
    say(line, before="batchfront: warning: ", level=logging.WARNING)


def pass_on(line: str, worker: str) -> None:
    """Say on standard error what a worker has said there; colours in it are its program's."""
    said = json_line(line, worker) if speaks_json() else printable_output(line)
    _write(said)


def _fitted(line: str, stream: TextIO) -> str:
    """A line as a stream's terminal has room for it; an object of JSON stays one line."""
    width = None if stream is sys.stderr and speaks_json() else width_of(stream)
    return "\n".join(wrapped(line, width))


def shown(text: str) -> str:
    """Text of a table as a terminal can show it."""
    return fitting(printable(text))


def shown_lines(text: str) -> str:
    """The same of several lines."""
    return fitting(printable(text, LINES))
