"""Lines of output and lines beside it, as every command prints them.

All of it passes through `printable`, as names and errors in it may be anybody's.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

from batchfront.cli.streams import fitting, wrap_errors
from batchfront.log_lines import JsonLines, TextLines, ascii_json, json_line
from batchfront.printable import LINES, printable, printable_output

_lines: logging.Formatter = TextLines()


class _Lines(logging.Formatter):
    """Whichever form is asked for by then."""

    def format(self, record: logging.LogRecord) -> str:
        return _lines.format(record)


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
    print(_lines.format(record), file=sys.stderr, flush=True)


def complain(line: str, *, level: int = logging.WARNING, **facts: Any) -> None:
    """Say on standard error what is wrong."""
    say(line, before="batchfront: ", level=level, **facts)


def warn(line: str) -> None:
    """Warn on standard error."""
    say(line, before="batchfront: warning: ", level=logging.WARNING)


def pass_on(line: str, worker: str) -> None:
    """Say on standard error what a worker has said there; colours in it are its program's."""
    said = json_line(line, worker) if speaks_json() else printable_output(line)
    print(said, file=sys.stderr, flush=True)


def shown(text: str) -> str:
    """Text of a table as a terminal can show it."""
    return fitting(printable(text))


def shown_lines(text: str) -> str:
    """The same of several lines."""
    return fitting(printable(text, LINES))
