"""Decoded images of one size, kept in a file that all processes of a machine share.

Validation images are looked at hundreds of times, and to read one back takes a quarter of the CPU
time of decoding it (0.9 against 3.6 ms, for JPEGs of 500x375). They are kept as they are decoded,
each with a checksum, so that nothing has to be prepared, processes need not agree on who writes,
and what a crash or a full disk left half written is decoded again.
"""

import errno
import logging
import os
import shutil
import weakref
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from batchfront_studies.datasets.derived import places

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

_CHECK = 8  # bytes after each image: 0 where there is none, else its CRC-32 and a bit

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class PixelCache:
    """`count` places for images of `shape` in the file `path`, which is made where it is missing.

    It is read by the system's page cache, as a memory-mapped file would be; but a full disk or a
    file cut short is an error here, where with a mapping it ends the process.

    Raises OSError if the file can't be made, or is not whole and can't be written.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self._place = int(np.prod(shape)) + _CHECK
        self._file, self._writable = _opened(path, count * self._place)
        self._close = weakref.finalize(self, os.close, self._file)

    def read(self, number: int, pixels: Pixels) -> bool:
        """Fill `pixels` (contiguous, of `shape`) with image `number`; False if it is not there."""
        check = bytearray(_CHECK)
        views = [pixels.data.cast("B"), memoryview(check)]
        try:
            whole = os.preadv(self._file, views, number * self._place) == self._place
        except OSError:
            return False
        return whole and bytes(check) == _check(number, pixels)

    def write(self, number: int, pixels: Pixels) -> None:
        """Keep image `number`, if there is room."""
        if not self._writable:
            return
        views = [pixels.data.cast("B"), memoryview(_check(number, pixels))]
        try:
            os.pwritev(self._file, views, number * self._place)
        except OSError as error:
            self._writable = False
            log.warning("decoded images are no longer kept in %s: %s", self.path, error)


def pixel_cache(source: Path, name: str, count: int, shape: tuple[int, ...]) -> PixelCache | None:
    """The cache `name` of images of the folder `source`; None, and a line in the log, where there
    is no room for it: they are then decoded each time."""
    size = count * (int(np.prod(shape)) + _CHECK)
    problems = []
    for place in places(source):
        try:
            place.mkdir(parents=True, exist_ok=True)
            path = place / name
            free = shutil.disk_usage(place).free
            if free < size - _taken(path):
                problems.append(f"{place} has {free / 1e9:.1f} GB free")
                continue
            cache = PixelCache(path, count, shape)
        except OSError as error:
            problems.append(str(error))
            continue
        log.info("decoded images are kept in %s, %.1f GB when all are", path, size / 1e9)
        return cache
    log.warning(
        "decoded images of %s are not kept, but decoded at each look: they need %.1f GB (%s)",
        source,
        size / 1e9,
        "; ".join(problems),
    )
    return None


def _opened(path: Path, size: int) -> tuple[int, bool]:
    """The file, of `size` bytes without room taken yet, and whether it can be written."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        # Where holes would stay holes, another place is better.
        if error.errno not in _READ_ONLY or not path.exists() or _taken(path) < size:
            raise
        return os.open(path, os.O_RDONLY), False
    try:
        os.ftruncate(file, size)  # changes nothing for a file that has this size already
    except OSError:
        os.close(file)
        raise
    return file, True


def _taken(path: Path) -> int:
    """Bytes of disk that a file takes already."""
    return path.stat().st_blocks * 512 if path.exists() else 0


def _check(number: int, pixels: Pixels) -> bytes:
    return (1 << 32 | crc32(pixels.data, number)).to_bytes(_CHECK, "little")
