"""What batchfront says beside its output, a line at a time: for a person, or as JSON.

    {"time": "2026-11-30T09:30:05.123Z", "level": "warning", "worker": "5f0c...",
     "study": "digits/mlp/momentum/b64", "trial": 3, "message": "..."}

is one line. `worker`, `study` and `trial` are there where they are known, `exception` with --debug.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from batchfront.printable import LINES, printable

_FACTS = ("worker", "study", "trial")

_about: ContextVar[dict[str, Any]] = ContextVar("about", default={})  # noqa: B039, never changed


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """What this thread says within the block is about this `study`, or `trial` of it."""
    token = _about.set({**_about.get(), **facts})
    try:
        yield
    finally:
        _about.reset(token)


class TextLines(logging.Formatter):
    """A line for a person, and below it the traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without anything that a terminal would act on."""
        before = getattr(record, "before", "batchfront: ")
        line = before + printable(_message(record))
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class JsonLines(logging.Formatter):
    """An object a line.

    worker -- whose lines these are, if they are a worker's
    """

    def __init__(self, worker: str | None = None) -> None:
        super().__init__()
        self.worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Returns the object, in ASCII."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
        }
        known = {"worker": self.worker, **_about.get(), **record.__dict__}
        line |= {name: known[name] for name in _FACTS if known.get(name) is not None}
        line["message"] = _message(record)
        if trace := _trace(self, record):
            line["exception"] = trace
        return ascii_json(line)


def json_line(line: str, worker: str | None) -> str:
    """A line of standard error as an object: one of ours as it is; of what others print there,
    such as a library, one at level info."""
    if (said := _of_ours(line)) is not None:
        return ascii_json(said)
    level = {"levelno": logging.INFO, "levelname": "INFO"}
    return JsonLines(worker).format(logging.makeLogRecord({"msg": line, **level}))


def message_of(line: str) -> str:
    """What a line of standard error says: the message of an object of ours, or all of it."""
    said = _of_ours(line)
    return line if said is None else str(said["message"])


def _of_ours(line: str) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        said = json.loads(line)
        if isinstance(said, dict) and {"time", "level", "message"} <= said.keys():
            return said
    return None


def ascii_json(plain: Any, **how: Any) -> str:
    """Plain data as JSON in characters that can all be seen; null for what isn't finite."""
    try:
        text = json.dumps(plain, allow_nan=False, **how)
    except ValueError:  # JSON knows neither infinity nor NaN
        finite = json.loads(json.dumps(plain, **how), parse_constant=lambda _: None)
        text = json.dumps(finite, **how)
    return text.replace("\x7f", "\\u007f")


def _message(record: logging.LogRecord) -> str:
    """In one line: what others wrote must not look like a line of ours."""
    return " ".join(record.getMessage().split())


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info:
        return ""
    return printable(formatter.formatException(record.exc_info), LINES)
