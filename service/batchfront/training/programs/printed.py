"""What a program prints: its lines, the last of them, and the log that keeps all of it."""

import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

log = logging.getLogger(__name__)

LONGEST_LINE = 64 * 1024
"""Bytes of a line that are read; the rest of it is left out."""

_LONGEST_LAST = 1000  # characters of a line among the last ones

LOG = "output.log"

_ESCAPES = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, movements of the cursor
    r"|[\]PX^_].*?(?:\x07|\x1b\\|$)"  # strings: titles, links
    r"|[ -/]+[0-~]|[0-~])"
)
_OF_NUMBERS = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.+-"


class Line(NamedTuple):
    """A line without its end; over -- whether it is written over its stream's line before."""

    text: str
    over: bool = False


class Lines:
    """Cuts one stream into lines, which `\\n`, `\\r\\n` or `\\r` ends; empty ones are left out."""

    def __init__(self) -> None:
        self._begun = b""
        self._over = False
        self._skipping = False  # the rest of a line that is too long

    def take(self, data: bytes) -> Iterator[Line]:
        """The lines that this ends."""
        for piece in data.splitlines(keepends=True):  # of bytes: at \n, \r and \r\n alone
            ended = piece[-1:] in b"\r\n"
            if self._skipping:
                self._skipping = not ended
                continue
            self._begun += piece
            if (cut := len(self._begun) > LONGEST_LINE) or ended:
                line = self._begun
                if cut:  # not in a number, or it would be another one
                    line = line[:LONGEST_LINE].rstrip(_OF_NUMBERS)
                if text := _text(line):
                    yield Line(text, self._over)
                if text or not piece.endswith(b"\r"):
                    self._over = piece.endswith(b"\r")
                self._begun, self._skipping = b"", not ended

    @property
    def begun(self) -> str:
        """The line that hasn't ended."""
        return _text(self._begun)


def _text(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip("\r\n")
    return _ESCAPES.sub("", text) if "\x1b" in text else text


class LastLines:
    """The last lines of several streams, as a screen would show them: of a progress bar that is
    written over itself there is only the last state."""

    def __init__(self, most: int) -> None:
        self._lines: deque[tuple[str, object]] = deque(maxlen=most)
        self._lock = Lock()

    def add(self, line: Line, stream: object) -> None:
        """A stream's next line."""
        with self._lock:
            if line.over and self._lines and self._lines[-1][1] is stream:
                self._lines.pop()
            self._lines.append((line.text[:_LONGEST_LAST], stream))

    def last(self, number: int) -> list[str]:
        """So many, the latest last, without what no terminal shows and not every database takes."""
        with self._lock:
            texts = [text for text, _ in self._lines][-number:]
        return ["".join(map(_fit_to_show, text)) for text in texts]


def _fit_to_show(character: str) -> str:
    return character if character.isprintable() or character == "\t" else "\ufffd"


_GAP = b"\n[batchfront: from here on only what was printed last is kept]\n"


class Log:
    """A file with everything that was printed, as it came, of which not more than a certain size is
    kept: the first third, in `output.log.1`, and the last, in `output.log.2` and `output.log`.

    What is in between is deleted, and said to be: a program that prints too much prints the same
    over and over, while how it was set up and why it ended stand at its ends.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._path, self._third = folder / LOG, max(limit // 3, 1)
        for file in log_files(folder):
            file.unlink()
        self._file = self._opened()
        self._size, self._gap = 0, False

    def write(self, data: bytes) -> None:
        """Keep what was printed. A disk that is full, or gone, is told once, and ends the log."""
        if self._file is None:
            return
        try:
            os.write(self._file, data)
            self._size += len(data)
            if self._size >= self._third:
                self._rotate()
        except OSError as error:
            log.warning("%s: %s; what a program prints isn't kept any more", self._path, error)
            self.close()

    def close(self) -> None:
        """No more is written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int | None:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def _rotate(self) -> None:
        first, before = (self._path.with_name(f"{LOG}.{n}") for n in (1, 2))
        self.close()
        if not first.exists():
            self._path.replace(first)
        else:
            if before.exists() and not self._gap:
                self._gap = True
                with first.open("ab") as file:
                    file.write(_GAP)
            self._path.replace(before)
        self._file, self._size = self._opened(), 0


def log_files(folder: Path) -> list[Path]:
    """The files of a program's log that there are, from its beginning to its end."""
    names = (f"{LOG}.1", f"{LOG}.2", LOG)
    return [folder / name for name in names if (folder / name).exists()]
