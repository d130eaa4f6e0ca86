"""The folder of an export, in which an earlier one stays whole until the new one is."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from batchfront.errors import BatchfrontError, UsageError
from batchfront.exchange.tables import FILES, MANIFEST

_PART = re.compile(r"\.(\d+)-\w+\.part")
"""The name of a folder in which a process, by its id, has an export in the making."""


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Write a whole export into the folder that this gives, and find it in `folder` afterwards.

    An earlier export there is replaced, file by file and its manifest last, once the new one has
    been written and is on the disk. Left by an error, a full disk, or Ctrl-C, `folder` is as it
    was.

    Raises UsageError for a folder that holds anything else, BatchfrontError where it can't be
    written to.
    """
    with _named(folder):
        _require_room(folder)
        made = _make(folder)
        finished = False
        try:
            part = Path(tempfile.mkdtemp(".part", f".{os.getpid()}-", folder))
            try:
                yield part
                # Ctrl-C ends the wait for this thread, and not what it does.
                with ThreadPoolExecutor(1) as alone:
                    alone.submit(_move, part, folder).result()
                finished = True
            finally:
                shutil.rmtree(part, ignore_errors=True)
        finally:
            if not finished:
                _unmake(made)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise BatchfrontError(f"--output {folder}: can't be written: {why}") from error


def _require_room(folder: Path) -> None:
    """Remove what killed exports have left. Raises UsageError unless the folder is missing, empty,
    or an earlier export's."""
    try:
        there = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError(f"--output {folder}: is a file; name a folder") from None
    for name in sorted(there - FILES):
        part = _PART.fullmatch(name)
        if part is None:
            raise UsageError(
                f"--output {folder}: holds {name}, which is no part of an export; name a new folder"
            )
        if not psutil.pid_exists(int(part[1])):  # type: ignore[no-untyped-call]
            shutil.rmtree(folder / name, ignore_errors=True)


def _make(folder: Path) -> list[Path]:
    """Make a folder, and those above it that are missing. Returns what was made, topmost last."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _unmake(made: list[Path]) -> None:
    """Remove folders again in which there is nothing."""
    with suppress(OSError):
        for path in made:
            path.rmdir()


def _move(part: Path, folder: Path) -> None:
    """Move the files of a whole export to their places, once they are on the disk."""
    names = [path.name for path in part.iterdir()]
    for name in names:
        with (part / name).open("rb") as file:
            os.fsync(file.fileno())
    # It says that the files beside it are of one export, which from here on they aren't.
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == MANIFEST):
        (part / name).replace(folder / name)
    for name in FILES.difference(names):
        (folder / name).unlink(missing_ok=True)
