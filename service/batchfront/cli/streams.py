"""Standard output and error, wherever they lead: closed, full, without a reader, or in ASCII.

What a command has found goes to standard output, so a failure there fails the command, in one line.
What it says beside that goes to standard error, and is done without where that can't be written to.
"""

import atexit
import codecs
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from select import select
from typing import Any, TextIO

from batchfront.errors import OutputLost

_SPELLED = "batchfront.spelled"

_UNWRAPPING_SECONDS = 1.0

_COLUMNS = 80  # of a terminal that doesn't say

_ASCII = {
    **{"\u00a0": " ", "·": "-", "–": "-", "−": "-", "’": "'", "“": '"', "”": '"'},
    **{
        "─": "-",
        "×": "x",
        "±": "+/-",
        "≤": "<=",
        "≥": ">=",
        "…": "...",
        "√": "sqrt ",
        "α": "alpha",
        "→": "->",
    },
}


class _Output(FileIO):
    """Raises OutputLost."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        try:
            while (written := super().write(data)) is None:  # type: ignore[arg-type]
                select([], [self], [])  # another, who shares it, has told it not to wait
            return written
        except OSError as error:
            raise OutputLost(error) from error


class _Lenient(FileIO):
    """Takes what can't be written as written."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        with suppress(OSError):
            return super().write(data) or size  # type: ignore[arg-type]
        return size


def open_streams() -> bool:
    """Have this process's standard streams fail in one way, or not at all, and say in ASCII what
    their encoding lacks. Returns whether they are its own: those of a notebook or a test stay."""
    _fill_in()
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return False
    sys.stdout = _text(_Output(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Lenient(2, "wb", closefd=False), sys.stderr, at_once=True)
    return True


def wrap_errors(command: Sequence[str]) -> None:
    """Have a process of its own stand between standard error and where that leads: it gets what
    libraries write there, too, and a crash's last words. Not a thread of this process, which may
    not get its turn while they write, so that they would wait for each other for ever."""
    if not isinstance(_raw(sys.stderr), _Lenient):  # another's
        return
    sys.stderr.flush()
    between = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, stderr=subprocess.DEVNULL)
    assert between.stdin is not None
    os.dup2(between.stdin.fileno(), 2)
    between.stdin.close()
    atexit.register(_unwrap, between)


def _unwrap(between: "subprocess.Popen[bytes]") -> None:
    """Let it write what it has. What this process has started may still have the other end."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(subprocess.TimeoutExpired):
        between.wait(_UNWRAPPING_SECONDS)
    between.returncode = between.returncode or 0  # it ends by itself; Popen needn't warn of it


def forgive_output() -> None:
    """Do without standard output where it can't be written to, as nothing of this command goes
    there, but what its loops print."""
    if isinstance(_raw(sys.stdout), _Output):
        sys.stdout = _text(_Lenient(1, "wb", closefd=False), sys.stdout)


@contextmanager
def others_aside() -> Iterator[None]:
    """Have what a workload's code prints, and what that starts, go to standard error: standard
    output is for what a command has found."""
    with redirect_stdout(sys.stderr), ExitStack() as back:
        if isinstance(_raw(sys.stderr), _Lenient):  # these are this process's own
            mine = os.dup(1)
            back.callback(os.close, mine)
            back.callback(os.dup2, mine, 1)
            os.dup2(2, 1)
        yield


def close_output() -> None:
    """Write what standard output still holds. Raises OutputLost where that can't be."""
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up_output() -> None:
    """Let go of standard output, which would be tried again as the process ends."""
    if isinstance(_raw(sys.stdout), _Output):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream leads to; None where it leads to none."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    columns = int(told) if told.isdecimal() else 0
    with suppress(OSError, ValueError):
        columns = columns or os.get_terminal_size(stream.fileno()).columns
    return columns or _COLUMNS


def fitting(text: str) -> str:
    """The text as the encoding of standard output can say it, so that its width is known."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, _SPELLED).decode(encoding)


def _fill_in() -> None:
    """Put something in the place of streams that are closed: a file that is opened later, such as
    the database, would be in it, and get what others print. Output fails there; it is for reading.
    """
    for number, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, way)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


def _raw(stream: TextIO) -> Any:
    return getattr(getattr(stream, "buffer", None), "raw", None)


def _text(raw: FileIO, before: TextIO | None, *, at_once: bool = False) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    at_once = at_once or raw.isatty() or getattr(before, "write_through", False)  # python -u
    return TextIOWrapper(BufferedWriter(raw), encoding, _SPELLED, line_buffering=at_once)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(one) or _escaped(one) for one in lacking), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


codecs.register_error(_SPELLED, _spelled)
