"""Follows the file that a program writes its evaluations to: lines, CSV, TensorBoard events."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from batchfront.errors import BatchfrontError
from batchfront.training.programs.event_file import EventFile
from batchfront.workload.program import Output

Told = str | Mapping[str, Any]
"""A line, or a row: what `OutputReader` takes."""

EVERY = 0.1
"""Seconds between two looks at a file."""

_START = 1024
"""Bytes at a file's beginning by which one that was written anew is known."""


class OutputFile(Protocol):
    """A file, or a folder of them, that grows."""

    def poll(self, *, ended: bool = False) -> Iterable[Told]:
        """What has come since the last call; nothing as long as there is no file. A line, or a
        record, that isn't complete is kept for the next call, unless the program has ended well."""


def output_file(output: Output, path: Path) -> OutputFile:
    """The file that a program of this output writes, by its name."""
    if output.kind == "pattern" or path.suffix in (".jsonl", ".json", ".ndjson"):
        return LineFile(path)
    if path.suffix in (".csv", ".tsv"):
        return CsvFile(path, "," if path.suffix == ".csv" else "\t")
    return EventFolder(path)


class Follower:
    """A thread that looks at a program's file as long as the program runs.

    on_told -- is given what has come, in order, one by one, by that thread
    broken  -- is told, in a line, what of the file can't be, after which it isn't looked at again
    """

    def __init__(
        self, file: OutputFile, on_told: Callable[[Told], None], broken: Callable[[str], None]
    ) -> None:
        self._file, self._on_told, self._broken, self._stop = file, on_told, broken, Event()
        self._whole = False
        self._thread = Thread(target=self._follow, name="output-file", daemon=True)
        self._thread.start()

    def end(self, *, whole: bool) -> None:
        """Read the rest, as the program has ended.

        whole -- whether a last line without an end is one, and not one that was cut off
        """
        self._whole = self._whole or whole
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        try:
            while not self._stop.wait(EVERY):
                self._tell(ended=False)
            self._tell(ended=self._whole)
        except BatchfrontError as error:
            self._broken(str(error))
        except OSError as error:
            self._broken(f"{error.filename} can't be read: {error.strerror}")

    def _tell(self, *, ended: bool) -> None:
        for told in self._file.poll(ended=ended):
            self._on_told(told)


class LineFile:
    """A file of lines.

    begun -- how often it was begun: again where it has been replaced, or was written anew
    """

    def __init__(self, path: Path) -> None:
        self._path, self.begun = path, 0
        self._read, self._rest, self._start, self._inode = 0, b"", b"", 0

    def poll(self, *, ended: bool = False) -> list[str]:
        """The lines that have come, without their ends."""
        new = self._new_bytes()  # which may empty the rest
        *lines, self._rest = (self._rest + new).split(b"\n")
        if ended and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").lstrip("\ufeff").rstrip("\r") for line in lines]

    def _begin(self) -> None:
        self._read, self._rest = 0, b""
        self.begun += 1

    def _new_bytes(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                inode, size = os.fstat(file.fileno()).st_ino, file.seek(0, os.SEEK_END)
                file.seek(0)
                start = file.read(_START)
                is_other = inode != self._inode or not start.startswith(self._start)
                if is_other or size < self._read:
                    self._begin()
                self._start, self._inode = start, inode
                file.seek(self._read)
                new = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return b""
        self._read += len(new)
        return new


class CsvFile:
    """A CSV whose first line names its columns. A row may have line ends within quotes."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._file, self._delimiter = LineFile(path), delimiter
        self._columns: list[str] = []
        self._open, self._begun = "", 0

    def poll(self, *, ended: bool = False) -> Iterator[Mapping[str, Any]]:
        """The rows that have come, by column."""
        lines = self._file.poll(ended=ended)
        if self._file.begun != self._begun:
            self._columns, self._open, self._begun = [], "", self._file.begun
        for line in lines:
            self._open = f"{self._open}\n{line}" if self._open else line
            if self._open.count('"') % 2 == 0:
                text, self._open = self._open, ""
                yield from self._row(text)

    def _row(self, text: str) -> Iterator[Mapping[str, Any]]:
        fields = [field for row in csv.reader([text], delimiter=self._delimiter) for field in row]
        if not any(field.strip() for field in fields):
            return
        if self._columns:
            yield dict(zip(self._columns, fields, strict=False))
        else:
            self._columns = [field.strip() for field in fields]


class EventFolder:
    """The event files of TensorBoard in a folder and those below it, or one of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[Path, EventFile] = {}

    def poll(self, *, ended: bool = False) -> Iterator[Mapping[str, Any]]:
        """The scalars that have come, each as a row: its step, and its value by its tag."""
        there = [self._path] if self._path.is_file() else self._path.rglob("*tfevents*")
        for path in sorted(there):
            if path not in self._files:
                self._files[path] = EventFile(path)
            for scalar in self._files[path].poll():
                yield {"step": scalar.step, scalar.tag: scalar.value}
