"""Files that are written whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from batchfront.errors import BatchfrontError, UsageError


def require_place(path: Path, told: str = "report", *, folders: bool = False) -> None:
    """Raise UsageError if a file can't be written there, before what it is to show is read or run.

    told    -- what the path is called
    folders -- whether it may be one
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{told} {path}: the folder {path.parent} does not exist")
    if path.is_dir() and not folders:
        raise UsageError(f"{told} {path}: is a folder; name a file")


@contextmanager
def writing(path: Path, told: str) -> Iterator[Path]:
    """Write the file that this gives, beside its place, into which it is renamed in one step:
    whoever reads the place finds the file from before, or all of the new one. What is no plain
    file, such as /dev/stdout, is itself written to.

    told -- what the path is called, such as an option

    Raises BatchfrontError where it can't be written; then nothing of it is left.
    """
    place = Path(os.path.realpath(path))  # of a link, the file that it leads to is replaced
    if place.is_symlink():  # which none is that leads anywhere
        raise BatchfrontError(f"{told} {path}: can't be written: {os.strerror(errno.ELOOP)}")
    beside = place.with_name(f".{uuid4().hex[:12]}.part")  # however long the name
    if place.exists() and not place.is_file():
        beside = place
    try:
        yield beside
        if beside != place:
            if place.exists():
                shutil.copymode(place, beside)
            beside.replace(place)
    except OSError as error:
        why = error.strerror or error
        raise BatchfrontError(f"{told} {path}: can't be written: {why}") from error
    finally:
        if beside != place:
            with suppress(OSError):  # of a disk that can't even be removed from
                beside.unlink(missing_ok=True)


def write_files(files: Mapping[Path, bytes], told: str) -> None:
    """Write files, each whole, and none of them before the last can be. Raises BatchfrontError as
    `writing` does."""
    with ExitStack() as all_written:
        for path, data in files.items():
            all_written.enter_context(writing(path, told)).write_bytes(data)
