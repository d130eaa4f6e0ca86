"""What takes long to make from a data set's files: made once, and kept beside them."""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

from batchfront.errors import DataError
from batchfront_studies.datasets.directory import data_directory, to_disk, user_directory

log = logging.getLogger(__name__)

_ABANDONED = 3600.0
"""Seconds without a byte written after which nobody is making it any more. A lock doesn't tell:
on some file systems that machines share, each machine has locks of its own."""

CACHE = "cache"
"""The folder of everything kept, in the data directory or the user's cache folder."""


def kept(name: str, of: Any, make: Callable[[Path], None]) -> Path:
    """The folder with what `make(folder)` wrote into it, however many processes ask at once.

    name -- what it is, for a person: the first part of the folder's name
    of   -- what it is made from, as JSON can say it: of another it is made anew

    It lies in `cache` in the data directory, or in the user's cache folder where nothing may be
    written there. It appears whole or not at all; who asks while another makes it waits.

    Raises DataError if it can be kept nowhere, and whatever `make` raises.
    """
    digest = blake2b(json.dumps(of, sort_keys=True).encode(), digest_size=8).hexdigest()
    places = [root / CACHE / f"{name}-{digest}" for root in (data_directory(), user_directory())]
    for place in places:
        if place.is_dir():
            return place
    for place in places:
        if _may_write(place.parent):
            _make_once(place, make)
            return place
    there = " and ".join(dict.fromkeys(str(place.parent) for place in places))
    raise DataError(f"{name}: can't be kept, as nothing may be written to {there}")


def fingerprint(files: Iterable[Path]) -> list[list[str | int]]:
    """Names, sizes and times of files: what is kept of them is made anew if any changes."""
    stats = ((path.name, path.stat()) for path in files)
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _may_write(folder: Path) -> bool:
    """Whether we may write there, by its permissions too, which don't bind a superuser."""
    above = next(path for path in (folder, *folder.parents) if path.exists())
    return above.is_dir() and os.access(above, os.W_OK) and bool(above.stat().st_mode & 0o222)


def _make_once(place: Path, make: Callable[[Path], None]) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place.parent / f".{place.name}.lock") as alone:
            if place.is_dir():
                return
            if alone:
                _clear_what_crashes_left(place)
            log.info("making %s, once", place)
            with TemporaryDirectory(dir=place.parent, prefix=f".making-{place.name}-") as scratch:
                folder = Path(scratch) / "whole"
                folder.mkdir()
                make(folder)
                for file in folder.iterdir():
                    to_disk(file)
                if not place.is_dir():  # where locks don't work, another may have been faster
                    folder.rename(place)
    except OSError as e:
        raise DataError(f"{place.name}: can't be kept in {place.parent} ({e})") from e


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """While the block runs, no other process is in such a block; False where files can't be
    locked."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            yield False
        else:
            yield True


def _clear_what_crashes_left(place: Path) -> None:
    for left in place.parent.glob(f".making-{place.name}-*"):
        if time() - _last_written(left) > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _last_written(folder: Path) -> float:
    """When; now, where it is just being moved or removed."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time()
